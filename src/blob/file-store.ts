import { UsageError } from "../errors.ts";
import { BlobIndex } from "./blob-index.ts";
import {
  AwaitedBatch,
  type BlobBatch,
  BlobFetch,
  type BlobStore,
  type DamagedBlob,
  FetchOutcome,
  type NoteReader,
  type ScrubProgress,
  StoreFault,
  type StoreStatistics,
  type SweepOptions,
  type SweepReport,
} from "./blob-store.ts";
import { DuplicateCheck } from "./duplicate-check.ts";
import { frameShare, type IndexState } from "./frame-builder.ts";
import { hashToHex } from "./hash.ts";
import type { LogDisk } from "./log-disk.ts";
import { LogRecovery } from "./log-recovery.ts";
import type { LogWatcher } from "./log-watcher.ts";
import { queuedBatch } from "./queued-batch.ts";
import { RecentHashes } from "./recent-hashes.ts";
import { MAX_SEGMENT_BYTES } from "./segment-format.ts";
import { SegmentLog } from "./segment-log.ts";
import { SegmentReader } from "./segment-reader.ts";
import { SegmentScrubber } from "./segment-scrubber.ts";
import { SEGMENT_NAME, SegmentSpace } from "./segment-space.ts";
import { SegmentSweeper } from "./segment-sweeper.ts";
import { SuperblockFile } from "./superblock-file.ts";

const RECENT_HASHES = 65536;

export interface FileStoreOptions {
  disk: LogDisk;
  /** Gets the last image and the notes after it while the store is opened. */
  reader: NoteReader;
  /** Of a new store; an old one keeps its own. */
  segmentBytes?: number;
  /** Lets go of the lock that the caller took on the store. */
  unlock?: () => Promise<void>;
  /** Keeps a copy of the log elsewhere. */
  watcher?: LogWatcher;
}

/** The BlobStore on a local disk: a log of segments; see docs/formats/segment-log.md. */
export class FileStore implements BlobStore {
  readonly description: string;
  readonly #state: IndexState;
  readonly #space: SegmentSpace;
  readonly #superblock: SuperblockFile;
  readonly #log: SegmentLog;
  readonly #reader: SegmentReader;
  readonly #duplicates: DuplicateCheck;
  readonly #sweeper: SegmentSweeper;
  readonly #scrubber: SegmentScrubber;
  readonly #unlock: (() => Promise<void>) | undefined;
  readonly #watcher: LogWatcher | undefined;

  private constructor(
    options: FileStoreOptions,
    state: IndexState,
    space: SegmentSpace,
    superblock: SuperblockFile,
    log: SegmentLog,
  ) {
    this.description = `file store ${options.disk.description}`;
    this.#state = state;
    this.#space = space;
    this.#superblock = superblock;
    this.#log = log;
    this.#reader = new SegmentReader(state, space, log.builder);
    this.#duplicates = new DuplicateCheck(state, this.#reader);
    this.#sweeper = new SegmentSweeper(state, space, log);
    this.#scrubber = new SegmentScrubber(state, space);
    this.#unlock = options.unlock;
    this.#watcher = options.watcher;
  }

  /** Opens the store, or makes a new one in an empty folder. */
  static async open(options: FileStoreOptions): Promise<FileStore> {
    const { disk, reader, segmentBytes = MAX_SEGMENT_BYTES } = options;
    let superblock = await SuperblockFile.open(disk);
    if (superblock === undefined) {
      const names = await disk.list();
      if (names.some((name) => SEGMENT_NAME.test(name))) {
        throw new UsageError(
          `the store ${disk.description} is damaged: its superblock cannot be read; ` +
            "restore it from a copy, or move it away to begin anew",
        );
      }
      superblock = await SuperblockFile.create(disk, segmentBytes);
    }
    const { storeId, epoch } = superblock.current;
    const space = new SegmentSpace(disk, superblock.current.segmentBytes, storeId);
    const state: IndexState = {
      index: new BlobIndex(),
      recent: new RecentHashes(RECENT_HASHES),
      removals: 0,
      protectPuts: false,
      duplicateBlobs: 0,
    };
    const recovery = new LogRecovery(space, superblock, state.index, reader);
    const tail = await recovery.run();
    await superblock.update({ epoch: epoch + 1, durableSequence: tail.sequence - 1 });
    const { watcher } = options;
    const log = new SegmentLog(space, superblock, state, tail, watcher);
    log.statistics.tailBytes = recovery.tailBytes;
    if (watcher !== undefined) {
      space.onRelease = (segment) => watcher.released(segment);
      const segments = space.inUse();
      const sequence = tail.sequence - 1;
      watcher.opened({ superblock: superblock.current, segments, active: tail.active, sequence });
    }
    return new FileStore(options, state, space, superblock, log);
  }

  get statistics(): StoreStatistics {
    const { index, duplicateBlobs } = this.#state;
    return {
      ...this.#log.statistics,
      ...this.#reader.statistics,
      blobs: index.count,
      blobBytes: index.totalBytes,
      indexBytes: index.memoryBytes,
      diskBytes: this.#space.diskBytes,
      duplicateBlobs,
    };
  }

  get appendFault(): StoreFault | undefined {
    return this.#log.fault;
  }

  get tailBytes(): number {
    return this.#log.statistics.tailBytes;
  }

  get maxBatchBytes(): number {
    return this.#log.maxBatchBytes;
  }

  append(batch: BlobBatch): void {
    // A frame must fit in a segment: one that does not would never be written.
    if (frameShare(batch) > 2 * this.maxBatchBytes) throw new Error("the batch is too large");
    this.#log.append(this.#duplicates.prepare(batch));
  }

  async put(hash: Uint8Array, data: Uint8Array): Promise<void> {
    const batch = new AwaitedBatch();
    batch.addBlob(hash, 0, data, 0, data.length);
    await batch.appendTo(this);
  }

  async barrier(): Promise<void> {
    const batch = new AwaitedBatch(0);
    this.#log.append(queuedBatch(batch));
    await batch.done;
  }

  fetch(request: BlobFetch): void {
    this.#reader.fetch(request);
  }

  submit(): void {
    this.#reader.submit();
  }

  async get(hash: Uint8Array): Promise<Uint8Array> {
    const fetch = new AwaitedFetch(hash, Math.max(0, this.storedBytes(hash, 0)));
    this.fetch(fetch);
    this.submit();
    return fetch.done;
  }

  async exists(hash: Uint8Array): Promise<boolean> {
    if (this.#state.recent.has(hash, 0)) return true;
    const fetch = new AwaitedFetch(hash, Math.max(0, this.storedBytes(hash, 0)));
    this.fetch(fetch);
    this.submit();
    return fetch.done.then(
      () => true,
      () => false,
    );
  }

  checkpoint(image: () => Uint8Array): Promise<void> {
    return this.#log.checkpoint(image);
  }

  beginMarking(protectPuts: boolean): void {
    this.#state.index.beginMarks();
    this.#state.protectPuts = protectPuts;
  }

  exchangeMark(hashes: Uint8Array, offset: number, mark: number): number {
    const { index } = this.#state;
    let before = -1;
    for (let found = index.find(hashes, offset); found; found = index.findNext()) {
      before = Math.max(before, index.markFound);
      index.markFound = mark;
    }
    return before;
  }

  storedBytes(hashes: Uint8Array, offset: number): number {
    const { index } = this.#state;
    let longest = -1;
    for (let found = index.find(hashes, offset); found; found = index.findNext()) {
      longest = Math.max(longest, index.lengthBytes);
    }
    return longest;
  }

  sweep(options: SweepOptions): Promise<SweepReport> {
    const { checkpoint, previousCheckpoint } = this.#superblock.current;
    const before = Math.min(
      checkpoint.segmentNumber,
      previousCheckpoint.segmentNumber,
      this.#watcher?.releasableBefore() ?? Infinity,
    );
    return this.#sweeper.sweep(before, options);
  }

  endMarking(): void {
    this.#state.index.endMarks();
    this.#state.protectPuts = false;
  }

  scrub(
    cursor: number,
    found: (blob: DamagedBlob) => void,
    progress: ScrubProgress,
  ): Promise<number> {
    return this.#scrubber.scrub(cursor, found, progress);
  }

  async close(): Promise<void> {
    try {
      await this.barrier();
      await this.#log.end();
    } finally {
      await this.#log.stop(new StoreFault("unavailable", `${this.description} is closed`));
      await this.#superblock.close();
      await this.#space.close();
      await this.#unlock?.();
    }
  }
}

class AwaitedFetch extends BlobFetch {
  readonly #result = Promise.withResolvers<Uint8Array>();

  constructor(hash: Uint8Array, capacityBytes: number) {
    super();
    this.hash.set(hash);
    this.capacityBytes = capacityBytes;
    this.target = new Uint8Array(capacityBytes);
  }

  get done(): Promise<Uint8Array> {
    return this.#result.promise;
  }

  fetched(): void {
    if (this.outcome === FetchOutcome.ok) {
      this.#result.resolve(this.target.subarray(0, this.lengthBytes));
      return;
    }
    const isMissing = this.outcome === FetchOutcome.missing;
    this.#result.reject(
      new StoreFault(
        isMissing ? "missing" : "damaged",
        `blob ${hashToHex(this.hash)} ${isMissing ? "is not stored" : "cannot be read"}`,
      ),
    );
  }
}
