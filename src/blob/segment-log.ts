import { setImmediate as nextTurn } from "node:timers/promises";
import { systemErrorCode } from "../errors.ts";
import { MAX_BATCH_BYTES, StoreFault } from "./blob-store.ts";
import { FooterEntries } from "./footer-entries.ts";
import { FrameBuilder, frameShare, type IndexState } from "./frame-builder.ts";
import { ImageBatch } from "./image-batch.ts";
import { LogQueue, type QueuedCheckpoint } from "./log-queue.ts";
import type { LogTail } from "./log-recovery.ts";
import { emptyLogStatistics } from "./log-statistics.ts";
import type { LogWatcher } from "./log-watcher.ts";
import { queuedBatch, type QueuedBatch } from "./queued-batch.ts";
import {
  encodeSegmentHeader,
  FIRST_FRAME_OFFSET,
  footerBytes,
  type FrameHeader,
  FrameKind,
  type LogPosition,
  roundUp,
  SECTOR_BYTES,
} from "./segment-format.ts";
import { positionOf, type Segment, type SegmentSpace } from "./segment-space.ts";
import { isOutOfSpace, storeFault } from "./store-fault.ts";
import type { SuperblockFile } from "./superblock-file.ts";
import { ZeroAhead } from "./zero-ahead.ts";

/**
 * Where a frame takes longer, those who are told of it get a turn to bring more for the next one:
 * one large frame is better than two that wait for each other.
 */
const SLOW_FRAME_MS = 1;
const IMAGE_PIECE_BYTES = 1024 * 1024;
/** What a frame takes beside the shares of its batches, at most: header and alignment. */
const FRAME_OVERHEAD_BYTES = 256;

/**
 * The end of the log: one frame at a time, of all batches that arrived while the one before was
 * being written.
 *
 * A frame that fails leaves the tail where it was, and the next one overwrites it. Only when
 * batches were acknowledged that were not durable yet, and then a sync fails, has the disk lost
 * something that nobody can write again; then the log is `unavailable` from there on.
 */
export class SegmentLog {
  readonly statistics = emptyLogStatistics();
  readonly builder: FrameBuilder;
  /** The last append failed, and what it left behind the tail might be taken for a frame. */
  tailUncertain = false;
  readonly #space: SegmentSpace;
  readonly #superblock: SuperblockFile;
  readonly #queue = new LogQueue();
  readonly #epoch: number;
  readonly #storeId: Uint8Array;
  #active: Segment | undefined;
  #entries: FooterEntries;
  #nextSegmentNumber: number;
  #sequence: number;
  #syncedSequence: number;
  #previousChecksum: number;
  #running = false;
  #fault: StoreFault | undefined;
  readonly #zeroAhead: ZeroAhead;
  readonly #watcher: LogWatcher | undefined;
  /** The footer that is being written. */
  #sealing: Promise<void> | undefined;
  /** How long a frame takes, lately. */
  #frameMs = 0;

  constructor(
    space: SegmentSpace,
    superblock: SuperblockFile,
    state: IndexState,
    tail: LogTail,
    watcher?: LogWatcher,
  ) {
    this.#space = space;
    this.#watcher = watcher;
    this.#zeroAhead = new ZeroAhead(space.segmentBytes);
    this.#superblock = superblock;
    this.#epoch = superblock.current.epoch;
    this.#storeId = superblock.current.storeId;
    this.builder = new FrameBuilder(state, space.frameSeed);
    this.#active = tail.active;
    this.#entries = tail.entries;
    this.#sequence = tail.sequence;
    this.#syncedSequence = tail.sequence - 1;
    this.#previousChecksum = tail.previousChecksum;
    this.#nextSegmentNumber = tail.nextSegmentNumber;
  }

  get active(): Segment | undefined {
    return this.#active;
  }

  /** A few frames of this size fit in a segment. */
  get maxBatchBytes(): number {
    return Math.min(MAX_BATCH_BYTES, this.#space.segmentBytes / 4);
  }

  append(queued: QueuedBatch): void {
    this.#queue.push(queued);
    if (!this.#running) void this.#run();
  }

  checkpoint(image: () => Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ image, resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  /** Set: nothing can be appended any more. */
  get fault(): StoreFault | undefined {
    return this.#fault;
  }

  /** No append is accepted any more, for this reason; resolves when no background write is left. */
  async stop(fault: StoreFault): Promise<void> {
    this.#fault ??= fault;
    await Promise.all([this.#zeroAhead.done, this.#sealing]);
  }

  /** The log ends here, in good order: opening it again will find all of it, or refuse. */
  async end(): Promise<void> {
    await Promise.all([this.#zeroAhead.done, this.#sealing]);
    await this.#superblock.update({ durableSequence: this.#syncedSequence });
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Batches that are handed over in the same turn share a frame.
    await Promise.resolve();
    for (let { first } = this.#queue; first !== undefined; first = this.#queue.first) {
      if ("image" in first) {
        this.#queue.acknowledge();
        this.#queue.shift();
        await this.#writeCheckpoint(first);
        continue;
      }
      if (!first.isReady) {
        this.#queue.acknowledge();
        await first.ready;
      }
      if (this.#frameMs > SLOW_FRAME_MS && this.#queue.acknowledge()) await nextTurn();
      if (first.batch.cancelled === undefined) await this.#writeBatches();
      else this.#queue.fail(first.batch, first.batch.cancelled);
    }
    this.#running = false;
  }

  async #writeBatches(): Promise<void> {
    const { batches, bytes } = this.#queue.takeBatches(this.maxBatchBytes);
    try {
      if (this.#fault !== undefined) throw this.#fault;
      const durable = batches.some(({ batch }) => batch.durable);
      const isEmpty = batches.every(({ batch }) => batch.blobCount + batch.notes.length === 0);
      if (isEmpty) await this.#sync();
      else await this.#writeFrame(batches, bytes, durable, FrameKind.data, false);
    } catch (error) {
      const fault = storeFault(error);
      this.#queue.acknowledge();
      for (const { batch } of batches) batch.failed(fault);
      return;
    }
    this.#queue.written(batches);
  }

  async #writeFrame(
    batches: QueuedBatch[],
    bytes: number,
    durable: boolean,
    kind: FrameKind,
    isLast: boolean,
  ): Promise<LogPosition> {
    const privileged = batches.every(({ batch }) => batch.privileged);
    if (!privileged && !this.#space.hasReserve) {
      this.#queue.acknowledge();
      await this.#space.ensureReserve();
    }
    try {
      return await this.#tryFrame(batches, bytes, durable, kind, isLast);
    } catch (error) {
      const reserve =
        isOutOfSpace(error) && privileged ? await this.#space.takeReserve() : undefined;
      if (reserve === undefined) throw error;
      if (this.#active !== undefined) await this.#seal(this.#active);
      await this.#begin(reserve);
      return this.#tryFrame(batches, bytes, durable, kind, isLast);
    }
  }

  async #tryFrame(
    batches: QueuedBatch[],
    bytes: number,
    durable: boolean,
    kind: FrameKind,
    isLast: boolean,
  ): Promise<LogPosition> {
    const privileged = batches.every(({ batch }) => batch.privileged);
    const blobs = batches.reduce((sum, { batch }) => sum + batch.blobCount, 0);
    const room = roundUp(bytes + FRAME_OVERHEAD_BYTES, SECTOR_BYTES);
    const segment = this.#activeFor(room, blobs) ?? (await this.#nextSegment(privileged));
    const isLonger = segment.framesEnd + room > segment.file.sizeBytes;
    if (isLonger && this.#zeroAhead.done !== undefined) {
      this.#queue.acknowledge();
      await this.#zeroAhead.done;
    }
    const header = this.#nextHeader(segment, kind, isLast);
    this.builder.build(batches, bytes, segment.slot, segment.framesEnd, header);
    try {
      // With the first frame the header may have been lost, too.
      const isFirst = segment.framesEnd === FIRST_FRAME_OFFSET;
      if (isFirst && this.tailUncertain) await this.#writeHeader(segment);
      await this.#put(segment, this.builder.frame, durable);
    } catch (error) {
      this.tailUncertain = true;
      this.builder.discard();
      throw error;
    }
    this.builder.committed();
    return this.#advance(segment, header, durable);
  }

  async #put(segment: Segment, frame: Uint8Array, durable: boolean): Promise<void> {
    const isOneStep = durable && this.statistics.unsyncedBytes === 0;
    if (isOneStep) this.statistics.syncs++;
    const beganMs = performance.now();
    const writing = isOneStep
      ? segment.file.writeDurably(frame, segment.framesEnd)
      : segment.file.write(frame, segment.framesEnd);
    this.#queue.acknowledge();
    await writing;
    if (durable && !isOneStep) await this.#syncFile(segment);
    this.#frameMs += (performance.now() - beganMs - this.#frameMs) / 16;
  }

  #nextHeader(segment: Segment, kind: FrameKind, isLast: boolean): FrameHeader {
    return {
      segmentNumber: segment.number,
      sequence: this.#sequence,
      syncedSequence: this.#syncedSequence,
      epoch: this.#epoch,
      previousChecksum: this.#previousChecksum,
      frameBytes: 0,
      blobCount: 0,
      notesBytes: 0,
      kind,
      isLast,
      headerChecksum: 0,
    };
  }

  /** The frame is written: the tail moves behind it. */
  #advance(segment: Segment, header: FrameHeader, durable: boolean): LogPosition {
    const position = positionOf(segment, header);
    this.#entries.addFrame(this.builder.entries, segment.framesEnd);
    segment.framesEnd += header.frameBytes;
    this.#sequence = header.sequence + 1;
    this.#previousChecksum = header.headerChecksum;
    this.tailUncertain = false;
    this.statistics.frames++;
    this.statistics.appendedBytes += header.frameBytes;
    this.statistics.tailBytes += header.frameBytes;
    this.#watcher?.appended(header.frameBytes);
    if (durable) {
      this.#syncedSequence = header.sequence;
      this.statistics.unsyncedBytes = 0;
      this.#watcher?.durable(segment, header.sequence);
    } else {
      this.statistics.unsyncedBytes += header.frameBytes;
    }
    this.#zeroAhead.keep(segment, header.frameBytes);
    return position;
  }

  async #sync(): Promise<void> {
    if (this.statistics.unsyncedBytes === 0 || this.#active === undefined) return;
    await this.#syncFile(this.#active);
    this.#syncedSequence = this.#sequence - 1;
    this.statistics.unsyncedBytes = 0;
    this.#watcher?.durable(this.#active, this.#syncedSequence);
  }

  async #syncFile(segment: Segment): Promise<void> {
    this.statistics.syncs++;
    try {
      await segment.file.sync();
    } catch (error) {
      if (this.statistics.unsyncedBytes > 0) {
        this.#fault = new StoreFault(
          "unavailable",
          `${this.#space.disk.description}: the disk lost acknowledged writes ` +
            `(${systemErrorCode(error)}); the store takes no more until it is opened again`,
          { cause: error },
        );
      }
      throw error;
    }
  }

  /** The active segment, if it has room for the next frame. */
  #activeFor(room: number, blobs: number): Segment | undefined {
    const active = this.#active;
    const footer = footerBytes(this.#entries.count + blobs);
    const hasRoom =
      active !== undefined && active.framesEnd + room <= this.#space.segmentBytes - footer;
    return hasRoom ? active : undefined;
  }

  async #nextSegment(privileged: boolean): Promise<Segment> {
    this.#queue.acknowledge();
    if (this.#active !== undefined) await this.#seal(this.#active);
    return this.#begin(await this.#space.take(privileged));
  }

  async #begin(segment: Segment): Promise<Segment> {
    // A number is used once, even if its header may not have reached the disk.
    segment.number = this.#nextSegmentNumber++;
    segment.firstSequence = this.#sequence;
    segment.framesEnd = FIRST_FRAME_OFFSET;
    segment.sealed = false;
    try {
      await this.#writeHeader(segment);
    } catch (error) {
      this.#space.putBack(segment);
      throw error;
    }
    this.#entries = new FooterEntries();
    this.#active = segment;
    return segment;
  }

  /** Durable together with the first frame: the same file, the same sync. */
  #writeHeader(segment: Segment): Promise<void> {
    const header = encodeSegmentHeader(this.#storeId, {
      inUse: true,
      segmentNumber: segment.number,
      firstSequence: segment.firstSequence,
      previousChecksum: this.#previousChecksum,
      epoch: this.#epoch,
    });
    return segment.file.write(header, 0);
  }

  /**
   * Ends the active segment. What is in it becomes durable before the next one begins; its footer
   * is written while the next one takes frames already.
   */
  async #seal(segment: Segment): Promise<void> {
    await this.#zeroAhead.done;
    await this.#sync();
    await this.#sealing;
    this.#sealing = this.#writeFooter(segment, this.#entries);
    this.#active = undefined;
    // Who keeps a copy takes the segment as a whole.
    if (this.#watcher !== undefined) await this.#sealing;
    this.#watcher?.sealed(segment);
  }

  /** It only saves time: a disk that has no room for it does not matter. */
  async #writeFooter(segment: Segment, entries: FooterEntries): Promise<void> {
    const { segmentBytes } = this.#space;
    segment.pins++;
    try {
      await entries.writeFooter(segment, segmentBytes, this.#sequence - 1, this.#previousChecksum);
      segment.sealed = true;
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
    } finally {
      segment.pins--;
    }
  }

  async #writeCheckpoint(queued: QueuedCheckpoint): Promise<void> {
    try {
      if (this.#fault !== undefined) throw this.#fault;
      await this.#sync();
      const position = await this.#writeImage(queued.image());
      const endSequence = this.#sequence - 1;
      await this.#superblock.update({ checkpoint: position, durableSequence: endSequence });
      this.#watcher?.checkpointed(position, endSequence);
      this.statistics.tailBytes = 0;
    } catch (error) {
      queued.reject(storeFault(error));
      return;
    }
    queued.resolve();
  }

  /** An image larger than a frame goes into several, of which the last is marked. */
  async #writeImage(image: Uint8Array): Promise<LogPosition> {
    const piece = Math.min(IMAGE_PIECE_BYTES, this.maxBatchBytes);
    let first: LogPosition | undefined;
    for (let at = 0; first === undefined || at < image.length; at += piece) {
      const isLast = at + piece >= image.length;
      const part = image.subarray(at, Math.min(at + piece, image.length));
      const kind = first === undefined ? FrameKind.checkpointStart : FrameKind.checkpointMore;
      const queued = queuedBatch(new ImageBatch(part));
      const share = frameShare(queued.batch);
      const written = await this.#writeFrame([queued], share, true, kind, isLast);
      first ??= written;
    }
    return first;
  }
}
