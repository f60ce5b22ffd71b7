import type { LogDisk, LogFile } from "./log-disk.ts";
import { MAX_SEGMENT_SLOTS } from "./blob-index.ts";
import {
  encodeSegmentHeader,
  FIRST_FRAME_OFFSET,
  type FrameHeader,
  frameSeedOf,
  type LogPosition,
  SECTOR_BYTES,
} from "./segment-format.ts";

/** One file of the log. The slot names the file for good; the segment in it changes. */
export interface Segment {
  readonly slot: number;
  readonly file: LogFile;
  /** Counts the segments that were ever begun; 0 while the file is free. */
  number: number;
  firstSequence: number;
  /** Where the frames end; what follows means nothing. */
  framesEnd: number;
  /** Has a footer. */
  sealed: boolean;
  /** Reads under way; the file is not used again before they are done. */
  pins: number;
}

export const SEGMENT_NAME = /^segment-([0-9]{8})$/;

export function segmentName(slot: number): string {
  return `segment-${String(slot).padStart(8, "0")}`;
}

/**
 * Files kept for use again, which takes a third of the time of making a file longer; those beyond
 * are removed, and give their space back to others.
 */
const KEPT_FREE_FILES = 8;
/** The reserve of a store that is still small, and of one with more than one segment: whole. */
const SMALL_RESERVE_BYTES = 256 * 1024;
const ZERO_PIECE_BYTES = 1024 * 1024;

/**
 * The files of a segment log: which are in use, which are free, and one that is kept back as a
 * **reserve**, so that what frees space (a deletion, a sweep) has a place to be written when the
 * disk is full.
 */
export class SegmentSpace {
  readonly disk: LogDisk;
  readonly segmentBytes: number;
  readonly frameSeed: number;
  readonly segments: (Segment | undefined)[] = [];
  readonly #storeId: Uint8Array;
  readonly #free: Segment[] = [];
  #reserve: Segment | undefined;
  #growing: Promise<void> | undefined;
  #inUse = 0;
  /** Called when a segment is given back, before its file is used for another one. */
  onRelease: (segment: Segment) => void = () => {};
  /** Files were created whose names may not be durable: none is used before they are. */
  #hasNewNames = false;

  constructor(disk: LogDisk, segmentBytes: number, storeId: Uint8Array) {
    this.disk = disk;
    this.segmentBytes = segmentBytes;
    this.#storeId = storeId;
    this.frameSeed = frameSeedOf(storeId);
  }

  get diskBytes(): number {
    return this.segments.reduce((sum, segment) => sum + (segment?.file.sizeBytes ?? 0), 0);
  }

  /** A segment that recovery found; number 0 for a free file. */
  adopt(segment: Segment): void {
    this.segments[segment.slot] = segment;
    if (segment.number === 0) this.#free.push(segment);
    else this.#inUse++;
  }

  /** The segments that hold a part of the log, by number. */
  inUse(): Segment[] {
    return this.segments
      .filter((segment) => segment !== undefined)
      .filter((segment) => segment.number > 0)
      .toSorted((left, right) => left.number - right.number);
  }

  /** A file for the next segment: a free one, else a new one, else (if allowed) the reserve. */
  async take(privileged: boolean): Promise<Segment> {
    if (!privileged) await this.#ensureReserve();
    try {
      const segment = await this.#freeOrNew();
      this.#inUse++;
      if (!privileged) await this.#matchReserve(segment);
      return segment;
    } catch (error) {
      const reserve = privileged ? await this.takeReserve() : undefined;
      if (reserve === undefined) throw error;
      return reserve;
    }
  }

  /** More segments need a larger reserve; without it the one just taken goes back. */
  async #matchReserve(taken: Segment): Promise<void> {
    try {
      await this.#ensureReserve();
    } catch (error) {
      this.putBack(taken);
      throw error;
    }
  }

  /** The reserve, or any free segment, for an append that must not fail. */
  async takeReserve(): Promise<Segment | undefined> {
    await this.#growing;
    const segment = this.#reserve ?? this.#free.pop();
    this.#reserve = undefined;
    if (segment !== undefined) this.#inUse++;
    return segment;
  }

  /** A segment that was taken, but could not be begun. */
  putBack(segment: Segment): void {
    segment.number = 0;
    this.#inUse--;
    this.#free.push(segment);
  }

  get hasReserve(): boolean {
    return this.#reserve !== undefined;
  }

  /** Before an append that may fail: fails with ENOSPC when there is no room for a reserve. */
  async ensureReserve(): Promise<void> {
    if (this.#reserve === undefined) await this.#ensureReserve();
  }

  async #ensureReserve(): Promise<void> {
    if (this.#reserve === undefined) {
      const reserve = await this.#freeOrNew();
      try {
        const targetBytes = Math.min(SMALL_RESERVE_BYTES, this.segmentBytes);
        if (await fillWithZeros(reserve.file, targetBytes)) await reserve.file.sync();
      } catch (error) {
        this.#free.push(reserve);
        throw error;
      }
      this.#reserve = reserve;
    }
    if (this.#inUse > 1) this.#growing ??= this.#growReserve(this.#reserve);
  }

  /** In the background: it takes a while, and a reserve that is not yet whole is one, too. */
  async #growReserve(reserve: Segment): Promise<void> {
    try {
      if (await fillWithZeros(reserve.file, this.segmentBytes)) await reserve.file.sync();
    } catch {
      // The disk is full; what it is now has to do.
    } finally {
      this.#growing = undefined;
    }
  }

  async #freeOrNew(): Promise<Segment> {
    const segment = this.#free.pop() ?? (await this.#create());
    if (!this.#hasNewNames) return segment;
    try {
      await this.disk.syncNames();
    } catch (error) {
      this.#free.push(segment);
      throw error;
    }
    this.#hasNewNames = false;
    return segment;
  }

  async #create(): Promise<Segment> {
    let slot = 0;
    while (this.segments[slot] !== undefined) slot++;
    if (slot >= MAX_SEGMENT_SLOTS) throw Object.assign(new Error("no slots"), { code: "ENOSPC" });
    const file = await this.disk.create(segmentName(slot));
    this.#hasNewNames = true;
    const segment = newSegment(slot, file);
    this.segments[slot] = segment;
    return segment;
  }

  /**
   * Gives a segment back. Its header says so before the file is used again: else, after a crash
   * that lost the next header but not the frames behind it, the old blobs would seem to be there.
   */
  async release(segment: Segment): Promise<void> {
    await segment.file.write(
      encodeSegmentHeader(this.#storeId, {
        inUse: false,
        segmentNumber: 0,
        firstSequence: 0,
        previousChecksum: 0,
        epoch: 0,
      }),
      0,
    );
    await segment.file.sync();
    this.onRelease(segment);
    Object.assign(segment, { number: 0, framesEnd: 0, sealed: false });
    this.#inUse--;
    if (this.#free.length < KEPT_FREE_FILES) {
      this.#free.push(segment);
      return;
    }
    this.segments[segment.slot] = undefined;
    await segment.file.close();
    await this.disk.remove(segmentName(segment.slot));
  }

  async close(): Promise<void> {
    await this.#growing;
    for (const segment of this.segments) await segment?.file.close();
  }
}

/** Where a frame is that comes next in a segment. */
export function positionOf(
  { slot, number, framesEnd }: Segment,
  { sequence, previousChecksum }: FrameHeader,
): LogPosition {
  return { slot, segmentNumber: number, offset: framesEnd, sequence, previousChecksum };
}

export function newSegment(slot: number, file: LogFile): Segment {
  return {
    slot,
    file,
    number: 0,
    firstSequence: 0,
    framesEnd: FIRST_FRAME_OFFSET,
    sealed: false,
    pins: 0,
  };
}

/**
 * Writes zeros from the end of the file on: once they are synced, a write within the file commits
 * sooner than one that makes it longer, and it cannot run out of space.
 *
 * @returns whether anything was written
 */
export async function fillWithZeros(file: LogFile, targetBytes: number): Promise<boolean> {
  if (file.sizeBytes >= targetBytes) return false;
  const zeros = new Uint8Array(Math.min(ZERO_PIECE_BYTES, targetBytes - file.sizeBytes));
  while (file.sizeBytes < targetBytes) {
    const at = file.sizeBytes - (file.sizeBytes % SECTOR_BYTES);
    await file.write(zeros.subarray(0, Math.min(zeros.length, targetBytes - at)), at);
  }
  return true;
}
