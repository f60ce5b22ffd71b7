import { crc32 } from "node:zlib";
import {
  BLOB_ENTRY_BYTES,
  decodeSegmentHeader,
  type SegmentHeader,
} from "../blob/segment-format.ts";
import { objectFaultCode, type ObjectFault, type ObjectStore } from "../object/object-store.ts";
import type { Clock } from "./clock.ts";
import type { PackGarbage } from "./pack-garbage.ts";
import { decodeHead, encodeHead, type Head } from "./head.ts";
import type { IndexWriter } from "./index-writer.ts";
import { type Lease, LeaseLost } from "./lease.ts";
import {
  encodePack,
  framesOf,
  PACK_BODY_OFFSET,
  packRoom,
  type PartFrames,
} from "./pack-format.ts";
import { HEAD_KEY, type ObjectId, packKey } from "./pack-names.ts";
import { persistently } from "./persistence.ts";
import type { LocalSegment, RemoteLog } from "./remote-log.ts";
import { endOf, type PackPart } from "./remote-segment.ts";

export interface UploaderOptions {
  readonly objects: ObjectStore;
  readonly log: RemoteLog;
  readonly lease: Lease;
  readonly index: IndexWriter;
  readonly garbage: PackGarbage;
  readonly clock: Clock;
  readonly storeId: Uint8Array;
  readonly segmentBytes: number;
  readonly frameSeed: number;
  /** For people, in the head. */
  readonly writer: string;
  /** A pack is sent when it is this large, or its segment ends. */
  readonly packBytes: number;
  /** A smaller one is sent when its oldest frame is this old. */
  readonly intervalMs: number;
  readonly signal: AbortSignal;
  /** Told of each fault of the store that is tried again, and with undefined when it has passed. */
  readonly onTrouble: (fault: ObjectFault | undefined) => void;
  /** Told when a head is stored. */
  readonly onHead: (head: Head) => void;
  /** Told of what must not happen; the uploads have ended. */
  readonly onFailure: (error: Error) => void;
}

/** A part of a segment on its way. */
interface Upload {
  readonly entry: LocalSegment;
  readonly start: number;
  readonly end: number;
  done: StoredPart | undefined;
}

interface StoredPart {
  readonly part: PackPart;
  readonly frames: PartFrames;
  readonly header: SegmentHeader | undefined;
}

const MOST_UPLOADS = 2;
/** Small packs of one size class that become one of the next. */
const MERGE_PARTS = 16;
/** A sealed segment has at most so many packs. */
const MOST_PARTS_OF_SEALED = 4;

/**
 * Sends the durable part of the log to the object store, in packs, and then a head that names them.
 * Several packs may be on their way, but they count in the order of the log only, and a head is
 * written when all that it names is stored: what the store holds is a prefix of the log at any
 * moment.
 */
export class Uploader {
  readonly #options: UploaderOptions;
  readonly #uploads: Upload[] = [];
  #counter = 0;
  #head: { head: Head; etag: string } | undefined;
  #isWritingHead = false;
  #isMerging = false;
  #urgentSequence = 0;
  #isStopped = false;
  #isTimerSet = false;
  #idle: (() => void)[] = [];

  constructor(options: UploaderOptions, head: { head: Head; etag: string } | undefined) {
    this.#options = options;
    this.#head = head;
  }

  get head(): Head | undefined {
    return this.#head?.head;
  }

  /** An id for an object of this writer. */
  nextId(): ObjectId {
    return { epoch: this.#options.lease.epoch, counter: ++this.#counter };
  }

  /** Frames up to this one are wanted in the store at once. */
  hurry(sequence: number): void {
    this.#urgentSequence = Math.max(this.#urgentSequence, sequence);
    this.work();
  }

  /** Resolves when nothing is on its way, and nothing more can be sent now. */
  async settled(): Promise<void> {
    while (!this.#isStopped && this.#isBusy) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  get #isBusy(): boolean {
    const { log } = this.#options;
    return (
      this.#uploads.length > 0 ||
      this.#isWritingHead ||
      this.#isMerging ||
      (log.wantsHead && !this.#isStopped) ||
      log.headSequence < this.#urgentSequence
    );
  }

  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  #wake(): void {
    const idle = this.#idle;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }

  /** Begins whatever can be begun. */
  work(): void {
    if (this.#isStopped) return;
    while (this.#uploads.length < MOST_UPLOADS) {
      const upload = this.#next();
      if (upload === undefined) break;
      this.#uploads.push(upload);
      upload.entry.sentEnd = upload.end;
      this.#run(this.#send(upload));
    }
    if (!this.#isWritingHead && this.#options.log.wantsHead) {
      this.#isWritingHead = true;
      this.#run(
        this.#writeHead().finally(() => {
          this.#isWritingHead = false;
        }),
      );
    }
    if (!this.#isBusy) this.#wake();
  }

  #run(work: Promise<void>): void {
    work.then(
      () => this.work(),
      (error: unknown) => {
        if (this.#isStopped || this.#options.signal.aborted) return;
        this.stop();
        this.#options.onFailure(error as Error);
      },
    );
  }

  /** The next part of the log that is worth a pack. */
  #next(): Upload | undefined {
    const { log, packBytes, intervalMs } = this.#options;
    const entry = log.local.find(({ sentEnd, end, isSealed }) => sentEnd < end || !isSealed);
    if (entry === undefined || entry.sentEnd >= entry.end) return undefined;
    const start = entry.sentEnd;
    const isFull = entry.end - start >= packBytes;
    if (!isFull && !entry.isSealed) {
      // Small packs one after the other: what arrives meanwhile shares the next one.
      if (this.#uploads.length > 0) return undefined;
      const isDue = log.lagMs >= intervalMs || log.headSequence < this.#urgentSequence;
      if (!isDue) {
        this.#waitUntilDue(intervalMs - log.lagMs);
        return undefined;
      }
    }
    return { entry, start, end: entry.end, done: undefined };
  }

  #waitUntilDue(durationMs: number): void {
    const { clock, signal } = this.#options;
    if (this.#isTimerSet) return;
    this.#isTimerSet = true;
    void clock.sleep(Math.max(1, durationMs), signal).then(() => {
      this.#isTimerSet = false;
      this.work();
    });
  }

  async #send(upload: Upload): Promise<void> {
    const { entry, start, end } = upload;
    upload.done = await this.#sendPart(entry, start, end);
    // In the order of the log: an upload that was faster waits for those before it.
    while (this.#uploads[0]?.done !== undefined) {
      const first = this.#uploads.shift() as Upload;
      const { part, frames, header } = first.done as StoredPart;
      this.#options.log.stored(first.entry, header, part, frames);
      this.#completeFirst();
    }
    this.#mergeSmall(entry);
  }

  async #sendPart(entry: LocalSegment, start: number, end: number): Promise<StoredPart> {
    const { storeId, frameSeed } = this.#options;
    const room = packRoom(end - start);
    const body = room.subarray(PACK_BODY_OFFSET, PACK_BODY_OFFSET + end - start);
    const count = await entry.file.read(body, start);
    const frames = framesOf(body, start, entry.number, frameSeed, entry.lastSequence);
    if (count < body.length || frames === undefined) {
      throw new Error(
        `segment ${entry.number} of the local log is damaged between ${start} and ${end}`,
      );
    }
    const header = start === 0 ? decodeSegmentHeader(storeId, body) : undefined;
    const entryCount = frames.entries.length / BLOB_ENTRY_BYTES;
    for (;;) {
      const id = this.nextId();
      const what = { storeId, segmentNumber: entry.number, start, ...id };
      const pack = encodePack(room, end - start, frames, what);
      const isStored = await this.#persistently(async () => this.#putPack(packKey(id), pack));
      if (isStored) return { part: { ...id, start, end, entryCount }, frames, header };
    }
  }

  /** False: something else has this name. */
  async #putPack(key: string, pack: Uint8Array): Promise<boolean> {
    const { objects, lease } = this.#options;
    await lease.whenValid();
    try {
      await objects.putIfAbsent(key, pack);
      return true;
    } catch (error) {
      if (objectFaultCode(error) !== "exists") throw error;
    }
    // Ours, when the answer of an attempt before this one was lost.
    const { data } = await objects.get(key);
    return Buffer.compare(data, pack) === 0;
  }

  #persistently<T>(action: () => Promise<T>): Promise<T> {
    const { clock, signal, onTrouble } = this.#options;
    return persistently({ clock, signal, onTrouble }, action);
  }

  /** Sealed segments of which everything is stored are done with. */
  #completeFirst(): void {
    const { log } = this.#options;
    for (;;) {
      const [entry] = log.local;
      if (entry === undefined || !entry.isSealed) return;
      const segment = log.remote.get(entry.number);
      if (segment === undefined || endOf(segment) < entry.end) return;
      if (segment.parts.length > MOST_PARTS_OF_SEALED) {
        this.#mergeSealed(entry);
        return;
      }
      log.completed(entry);
    }
  }

  /** Many small packs would cost many requests to read, and to name in each head. */
  #mergeSmall(entry: LocalSegment): void {
    const parts = this.#options.log.remote.get(entry.number)?.parts ?? [];
    if (this.#isMerging || entry.isSealed || parts.length < MERGE_PARTS) return;
    const level = levelOf(parts[parts.length - 1]);
    let first = parts.length;
    while (first > 0 && levelOf(parts[first - 1]) <= level) first--;
    if (parts.length - first >= MERGE_PARTS) this.#merge(entry, parts.slice(first));
  }

  #mergeSealed(entry: LocalSegment): void {
    const parts = this.#options.log.remote.get(entry.number)?.parts ?? [];
    if (!this.#isMerging) this.#merge(entry, parts);
  }

  #merge(entry: LocalSegment, parts: readonly PackPart[]): void {
    if (this.#isStopped) return;
    this.#isMerging = true;
    const merging = this.#sendMerged(entry, parts).finally(() => {
      this.#isMerging = false;
    });
    this.#run(merging.then(() => this.#completeFirst()));
  }

  async #sendMerged(entry: LocalSegment, parts: readonly PackPart[]): Promise<void> {
    const { log, garbage } = this.#options;
    const { part } = await this.#sendPart(entry, parts[0].start, parts[parts.length - 1].end);
    if (log.merged(entry, parts, part)) garbage.replaced(parts.map(packKey));
    else garbage.replaced([packKey(part)]);
  }

  /** Names everything that is stored; the packs that it no longer names are garbage after that. */
  async #writeHead(): Promise<void> {
    const { log, index, garbage, objects, lease, clock } = this.#options;
    const taken = log.takeHead();
    const { sequence } = taken;
    const removed = [
      ...taken.dropped.flatMap(({ parts }) => parts.map(packKey)),
      ...garbage.takeReplaced(),
    ];
    const { runs, segments, removedRuns } = index.describe();
    const head: Head = {
      storeId: Buffer.from(this.#options.storeId).toString("hex"),
      segmentBytes: this.#options.segmentBytes,
      epoch: lease.epoch,
      counter: (this.#head?.head.counter ?? 0) + 1,
      writer: this.#options.writer,
      written: new Date(clock.wallMs()).toISOString(),
      sequence,
      logEpoch: log.superblock?.epoch ?? 0,
      ...log.checkpoints(sequence),
      runs,
      segments,
    };
    const data = encodeHead(head);
    const etag = await this.#persistently(async () => {
      await lease.whenValid();
      return putHead(objects, head, data, this.#head?.etag);
    });
    this.#head = { head, etag };
    log.covered(taken);
    garbage.removed([...removed, ...removedRuns], head.counter);
    this.#options.onHead(head);
    await index.grow(() => this.nextId());
    this.#run(garbage.collect());
  }
}

/** Of every sixteen times the size one more. */
function levelOf({ start, end }: PackPart): number {
  return Math.floor(Math.log2(end - start) / 4);
}

/**
 * Puts a head in the place of the one with this etag.
 * @throws LeaseLost when another has written one
 */
export async function putHead(
  objects: ObjectStore,
  head: Head,
  data: Uint8Array,
  etag: string | undefined,
): Promise<string> {
  try {
    return etag === undefined
      ? await objects.putIfAbsent(HEAD_KEY, data)
      : await objects.putIfMatch(HEAD_KEY, data, etag);
  } catch (error) {
    const code = objectFaultCode(error);
    if (code !== "changed" && code !== "exists") throw error;
  }
  const found = await objects.get(HEAD_KEY);
  const other = decodeHead(found.data, objects.description);
  // The answer to an attempt before this one was lost.
  if (crc32(found.data) === crc32(data) && other.counter === head.counter) return found.etag;
  throw new LeaseLost(`${other.writer} has written to the store (epoch ${other.epoch})`);
}
