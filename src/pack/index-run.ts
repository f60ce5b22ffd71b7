import { crc32 } from "node:zlib";
import { BLOB_ENTRY_BYTES, SECTOR_BYTES } from "../blob/segment-format.ts";
import { ObjectFault, type ObjectStore } from "../object/object-store.ts";
import type { Clock } from "./clock.ts";
import type { RunReference } from "./head.ts";
import { runKey } from "./pack-names.ts";
import { persistently } from "./persistence.ts";
import {
  entryCountOf,
  type RemoteSegment,
  segmentOfText,
  type SegmentText,
  segmentText,
} from "./remote-segment.ts";

/**
 * An index object, a **run**: what a head says of several sealed segments, and the entries of all
 * their blobs. See docs/formats/packs.md.
 */
const VERSION = 1;
const MAGIC = Buffer.from("aoed log index\n\x1a");
const CHECKSUM_OFFSET = SECTOR_BYTES - 4;
/** The description of the segments of a run nearly always ends before this. */
const DESCRIPTION_GUESS_BYTES = 64 * 1024;
/** Runs in memory at once while a store is opened. */
const KEPT_RUNS = 3;

export interface RunContent {
  readonly segment: RemoteSegment;
  readonly entries: Uint8Array;
}

export function encodeRun(storeId: Uint8Array, contents: readonly RunContent[]): Uint8Array {
  const text = JSON.stringify(contents.map(({ segment }) => segmentText(segment)));
  const description = Buffer.from(text);
  const sector = Buffer.alloc(SECTOR_BYTES);
  MAGIC.copy(sector);
  sector.writeUInt32LE(VERSION, 16);
  sector.writeUInt32LE(description.length, 20);
  sector.set(storeId, 24);
  sector.writeUInt32LE(crc32(description), 40);
  sector.writeUInt32LE(crc32(sector.subarray(0, CHECKSUM_OFFSET)), CHECKSUM_OFFSET);
  return Buffer.concat([sector, description, ...contents.map(({ entries }) => entries)]);
}

interface RunDescription {
  readonly segments: readonly RemoteSegment[];
  /** Where the entries begin in the object. */
  readonly entriesOffset: number;
}

/** "more": the description goes on behind these bytes. */
function describeRun(bytes: Uint8Array): RunDescription | { more: number } | undefined {
  if (bytes.length < SECTOR_BYTES || !MAGIC.every((byte, at) => bytes[at] === byte)) {
    return undefined;
  }
  const sector = Buffer.from(bytes.buffer, bytes.byteOffset, SECTOR_BYTES);
  if (sector.readUInt32LE(CHECKSUM_OFFSET) !== crc32(sector.subarray(0, CHECKSUM_OFFSET))) {
    return undefined;
  }
  if (sector.readUInt32LE(16) !== VERSION) return undefined;
  const entriesOffset = SECTOR_BYTES + sector.readUInt32LE(20);
  if (bytes.length < entriesOffset) return { more: entriesOffset };
  const description = Buffer.from(bytes.subarray(SECTOR_BYTES, entriesOffset));
  if (crc32(description) !== sector.readUInt32LE(40)) return undefined;
  const texts = JSON.parse(description.toString()) as SegmentText[];
  return { segments: texts.map(segmentOfText), entriesOffset };
}

interface KnownRun {
  readonly reference: RunReference;
  readonly description: RunDescription;
}

/** The runs of a head: which segments are in them, and their entries when they are needed. */
export class RunLibrary {
  readonly #objects: ObjectStore;
  readonly #clock: Clock;
  readonly #patienceMs: number;
  readonly #signal: AbortSignal;
  /** By the number of a segment. */
  readonly #runs = new Map<number, KnownRun>();
  readonly #kept = new Map<string, Promise<Uint8Array>>();

  constructor(objects: ObjectStore, clock: Clock, patienceMs: number, signal: AbortSignal) {
    this.#objects = objects;
    this.#clock = clock;
    this.#patienceMs = patienceMs;
    this.#signal = signal;
  }

  /** The segments of these runs that are still wanted. @throws ObjectFault */
  async open(references: readonly RunReference[]): Promise<RemoteSegment[]> {
    const found = await Promise.all(references.map(async (reference) => this.#open(reference)));
    return found.flat();
  }

  async #open(reference: RunReference): Promise<RemoteSegment[]> {
    let lengthBytes = DESCRIPTION_GUESS_BYTES;
    for (;;) {
      const description = describeRun(await this.#get(reference, lengthBytes));
      if (description === undefined) {
        throw new ObjectFault("corrupt", `${runKey(reference)} is damaged`);
      }
      if ("more" in description) {
        lengthBytes = description.more;
        continue;
      }
      const wanted = new Set(reference.segments);
      const segments = description.segments.filter(({ number }) => wanted.has(number));
      for (const { number } of segments) this.#runs.set(number, { reference, description });
      return segments;
    }
  }

  async #get(reference: RunReference, lengthBytes?: number): Promise<Uint8Array> {
    const deadlineMs = this.#clock.nowMs() + this.#patienceMs;
    const persistence = { clock: this.#clock, signal: this.#signal, deadlineMs };
    const range = lengthBytes === undefined ? undefined : { offsetBytes: 0, lengthBytes };
    const { data } = await persistently(persistence, async () =>
      this.#objects.get(runKey(reference), range),
    );
    return data;
  }

  /** Undefined when the segment is in no run. */
  async entriesOf(segment: RemoteSegment): Promise<Uint8Array | undefined> {
    const run = this.#runs.get(segment.number);
    if (run === undefined) return undefined;
    const { segments, entriesOffset } = run.description;
    let at = entriesOffset;
    for (const other of segments) {
      const lengthBytes = entryCountOf(other) * BLOB_ENTRY_BYTES;
      if (other.number === segment.number) {
        return (await this.#whole(run.reference)).slice(at, at + lengthBytes);
      }
      at += lengthBytes;
    }
    return undefined;
  }

  #whole(reference: RunReference): Promise<Uint8Array> {
    const key = runKey(reference);
    const kept = this.#kept.get(key) ?? this.#get(reference);
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > KEPT_RUNS && oldest !== undefined) this.#kept.delete(oldest);
    return kept;
  }

  /** Lets go of what is in memory. */
  forget(): void {
    this.#kept.clear();
  }
}
