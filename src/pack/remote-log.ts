import type { LogWatcher, OpenedLog } from "../blob/log-watcher.ts";
import {
  FIRST_FRAME_OFFSET,
  type LogPosition,
  type SegmentHeader,
  type Superblock,
} from "../blob/segment-format.ts";
import type { Segment } from "../blob/segment-space.ts";
import { crc32 } from "node:zlib";
import type { Clock } from "./clock.ts";
import type { Head } from "./head.ts";
import type { PartFrames } from "./pack-format.ts";
import type { PackedDisk, SegmentFile } from "./packed-disk.ts";
import { endOf, type PackPart, type RemoteSegment } from "./remote-segment.ts";

/** Moments closer to each other count as one: what `lag` says may be this much too long. */
const LAG_STEP_MS = 50;

const NO_FRAMES = { lastSequence: 0, lastChecksum: 0 };

/** A segment of the local log, as far as it is durable. */
export interface LocalSegment {
  readonly number: number;
  readonly file: SegmentFile;
  end: number;
  lastSequence: number;
  isSealed: boolean;
  /** Where the part that is sent next begins. */
  sentEnd: number;
}

interface Checkpoint {
  readonly position: LogPosition;
  readonly endSequence: number;
}

/** What a head is to say, and what has changed with it. */
export interface TakenHead {
  readonly sequence: number;
  /** Of frames that no head before it covered. */
  readonly bytes: number;
  /** Segments that it does not name any more. */
  readonly dropped: readonly RemoteSegment[];
  readonly named: ReadonlyMap<number, RemoteSegment>;
}

interface Released {
  readonly number: number;
  /** With a head from here on the segment is not needed. */
  readonly sequence: number;
}

/**
 * What of the log is durable here, and what of it is in the object store. It moves nothing itself:
 * the watcher's calls and the Uploader's reports go in, and what a head may say comes out.
 */
export class RemoteLog implements LogWatcher {
  /** Called when there may be something to send. */
  onWork: () => void = () => {};
  superblock: Superblock | undefined;
  /** The last frame that is durable here. */
  durableSequence = 0;
  /** The last frame of which, and of all before, the packs are stored. */
  storedSequence = 0;
  /** The last frame that a stored head covers. */
  headSequence = 0;
  /** Bytes of frames that no stored head covers, durable here or not. */
  dirtyBytes = 0;
  /** Of segments whose packs are all stored. */
  readonly remote = new Map<number, RemoteSegment>();
  /** What the last stored head says: only that is found again after a crash. */
  #named: ReadonlyMap<number, RemoteSegment>;
  /** Segments that are not wholly sent, in the order of the log. */
  readonly local: LocalSegment[] = [];
  readonly #disk: () => PackedDisk;
  readonly #clock: Clock;
  readonly #checkpoints: Checkpoint[] = [];
  #released: Released[] = [];
  #storedBytes = 0;
  #firstHeadSequence = 0;
  readonly #moments: { sequence: number; atMs: number }[] = [];

  constructor(
    head: Head | undefined,
    segments: RemoteSegment[],
    disk: () => PackedDisk,
    clock: Clock,
  ) {
    this.#disk = disk;
    this.#clock = clock;
    for (const segment of segments) this.remote.set(segment.number, segment);
    this.#named = new Map(this.remote);
    if (head === undefined) return;
    this.storedSequence = head.sequence;
    this.headSequence = head.sequence;
    this.#checkpoints.push(
      { position: head.previousCheckpoint, endSequence: 0 },
      { position: head.checkpoint, endSequence: 0 },
    );
  }

  opened({ superblock, segments, active, sequence }: OpenedLog): void {
    this.superblock = superblock;
    this.durableSequence = sequence;
    this.#adoptCheckpoints(superblock, sequence);
    segments.forEach((segment, place) => {
      const remote = this.remote.get(segment.number);
      if (remote?.isSealed === true && segment !== active) return;
      const next = segments[place + 1];
      const lastSequence = next === undefined ? sequence : next.firstSequence - 1;
      const entry = this.#track(segment, lastSequence);
      if (entry === undefined) return;
      // Without room for a footer it goes on after a restart.
      if (remote?.isSealed === true) this.#replace(entry, { ...remote, isSealed: false });
      entry.isSealed = segment !== active;
      entry.sentEnd = remote === undefined ? 0 : endOf(remote);
      this.dirtyBytes += entry.end - Math.max(entry.sentEnd, FIRST_FRAME_OFFSET);
    });
    // A frame that was given up elsewhere, and that this log goes on from, is in a pack already.
    if (this.local.length === 0) this.storedSequence = sequence;
    if (this.dirtyBytes > 0) this.#moments.push({ sequence, atMs: this.#clock.nowMs() });
  }

  /** Those of the local log may be newer than those of the head; when they end is not known. */
  #adoptCheckpoints({ checkpoint, previousCheckpoint }: Superblock, sequence: number): void {
    const [, known] = this.#checkpoints;
    if (known !== undefined) {
      if (checkpoint.sequence > known.position.sequence) {
        this.#checkpoints.push({ position: checkpoint, endSequence: sequence });
      }
      return;
    }
    this.#checkpoints.push({ position: previousCheckpoint, endSequence: 0 });
    this.#checkpoints.push({ position: checkpoint, endSequence: 0 });
    // A log that was local so far is in the store when all of it is: its checkpoints are not at
    // the beginning.
    if (checkpoint.sequence > 1) this.#firstHeadSequence = sequence;
  }

  #track(segment: Segment, lastSequence: number): LocalSegment | undefined {
    const known = this.local.at(-1);
    if (known?.number === segment.number) {
      known.end = segment.framesEnd;
      known.lastSequence = lastSequence;
      return known;
    }
    const file = this.#disk().file(segment.slot);
    if (file === undefined) return undefined;
    const { number, framesEnd } = segment;
    const entry = { number, file, end: framesEnd, lastSequence, isSealed: false, sentEnd: 0 };
    this.local.push(entry);
    return entry;
  }

  appended(bytes: number): void {
    this.dirtyBytes += bytes;
  }

  durable(segment: Segment, sequence: number): void {
    this.#track(segment, sequence);
    this.durableSequence = sequence;
    const last = this.#moments.at(-1);
    const nowMs = this.#clock.nowMs();
    if (last !== undefined && nowMs - last.atMs < LAG_STEP_MS) last.sequence = sequence;
    else this.#moments.push({ sequence, atMs: nowMs });
    this.onWork();
  }

  sealed(segment: Segment): void {
    const entry = this.local.at(-1);
    if (entry?.number === segment.number) entry.isSealed = true;
    this.onWork();
  }

  checkpointed(position: Readonly<LogPosition>, endSequence: number): void {
    this.#checkpoints.push({ position: { ...position }, endSequence });
  }

  released(segment: Segment): void {
    this.#released.push({ number: segment.number, sequence: this.durableSequence });
    const file = this.#disk().file(segment.slot);
    if (file !== undefined) file.remote = undefined;
  }

  /** What is not in packs yet must not be lost from the local log. */
  releasableBefore(): number {
    return this.local[0]?.number ?? Infinity;
  }

  /** For how long the oldest frame has waited for a head that covers it. */
  get lagMs(): number {
    const [oldest] = this.#moments;
    return oldest === undefined ? 0 : this.#clock.nowMs() - oldest.atMs;
  }

  /**
   * A part of a segment is in a pack; reported in the order of the log.
   * @param header of the segment, from its first part
   */
  stored(
    entry: LocalSegment,
    header: SegmentHeader | undefined,
    part: PackPart,
    frames: PartFrames,
  ): void {
    const before = this.remote.get(entry.number);
    const entriesChecksum = crc32(frames.entries, before?.entriesChecksum ?? 0);
    const { lastSequence, lastChecksum } = frames.lastSequence > 0 ? frames : (before ?? NO_FRAMES);
    const changes = { entriesChecksum, lastSequence, lastChecksum };
    if (before !== undefined) {
      this.#replace(entry, { ...before, ...changes, parts: [...before.parts, part] });
    } else if (header !== undefined) {
      this.#replace(entry, {
        number: entry.number,
        firstSequence: header.firstSequence,
        previousChecksum: header.previousChecksum,
        logEpoch: header.epoch,
        isSealed: false,
        parts: [part],
        ...changes,
      });
    } else {
      throw new Error("the first part of a segment has its header");
    }
    this.storedSequence = Math.max(this.storedSequence, lastSequence);
    this.#storedBytes += part.end - Math.max(part.start, FIRST_FRAME_OFFSET);
  }

  #replace(entry: LocalSegment, segment: RemoteSegment): void {
    this.remote.set(segment.number, segment);
    entry.file.remote = segment;
  }

  /** Several packs were put together into one; undefined when the segment has changed meanwhile. */
  merged(entry: LocalSegment, old: readonly PackPart[], part: PackPart): boolean {
    const segment = this.remote.get(entry.number);
    const place = segment?.parts.indexOf(old[0]) ?? -1;
    if (segment === undefined || place < 0) return false;
    const parts = [
      ...segment.parts.slice(0, place),
      part,
      ...segment.parts.slice(place + old.length),
    ];
    this.#replace(entry, { ...segment, parts });
    return true;
  }

  /** The oldest local segment is wholly in packs. */
  completed(entry: LocalSegment): void {
    this.local.shift();
    const segment = this.remote.get(entry.number);
    if (segment !== undefined) this.#replace(entry, { ...segment, isSealed: true });
  }

  /** What a head may say now; the segments that it no longer needs leave `remote`. */
  takeHead(): TakenHead {
    const sequence = this.storedSequence;
    const dropped: RemoteSegment[] = [];
    this.#released = this.#released.filter((released) => {
      if (released.sequence > sequence) return true;
      const segment = this.remote.get(released.number);
      if (segment !== undefined) dropped.push(segment);
      this.remote.delete(released.number);
      return false;
    });
    const bytes = this.#storedBytes;
    this.#storedBytes = 0;
    return { sequence, bytes, dropped, named: new Map(this.remote) };
  }

  /** The newest checkpoint of which everything is in the store, and the one before. */
  checkpoints(sequence: number): { checkpoint: LogPosition; previousCheckpoint: LogPosition } {
    while (this.#checkpoints.length > 2 && this.#checkpoints[2].endSequence <= sequence) {
      this.#checkpoints.shift();
    }
    const [first, second] = this.#checkpoints;
    const isSecondStored = second !== undefined && second.endSequence <= sequence;
    const checkpoint = isSecondStored ? second.position : first.position;
    return { checkpoint, previousCheckpoint: first.position };
  }

  /** A head is stored. */
  covered({ sequence, bytes, named }: TakenHead): void {
    this.#named = named;
    this.headSequence = sequence;
    this.dirtyBytes -= bytes;
    while (this.#moments.length > 0 && this.#moments[0].sequence <= sequence) {
      this.#moments.shift();
    }
  }

  /** Whether the local copy of a segment can be given up: a stored head names it as a whole. */
  isKept(number: number): boolean {
    return this.#named.get(number)?.isSealed === true;
  }

  /** Whether a head has something new to say. */
  get wantsHead(): boolean {
    const sequence = this.storedSequence;
    if (sequence < this.#firstHeadSequence) return false;
    return sequence > this.headSequence || this.#released.some((item) => item.sequence <= sequence);
  }
}
