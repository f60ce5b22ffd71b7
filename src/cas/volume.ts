import type { BlobStore, StoreFault } from "../blob/blob-store.ts";
import { HASH_BYTES, isNullHash } from "../blob/hash.ts";
import {
  BlockOperation,
  BlockRequest,
  BlockStatus,
  type BlockStorage,
  type Durability,
  emptyStorageStatistics,
  SECTOR_BYTES,
  type StorageInfo,
  type StorageStatistics,
} from "../storage/block-storage.ts";
import { BlockCache } from "./block-cache.ts";
import { PageCache } from "./page-cache.ts";
import { type DamageListener, VolumeReader } from "./volume-reader.ts";
import type { VolumeState } from "./volume-state.ts";
import { VolumeWriter } from "./volume-writer.ts";
import type { WriteGroup } from "./write-group.ts";

const PHYSICAL_BLOCK_BYTES = 4096;
/** The share of the cache that holds leaves of the tree: each names 128 blocks. */
const PAGE_SHARE = 1 / 8;
/** Room of a group of writes: large enough for a fast writer, and named within a millisecond. */
const GROUP_BYTES = 1024 * 1024;

export interface VolumeOptions {
  /** Where the requests' data is: the arena. */
  readonly memory: Uint8Array;
  readonly durability?: Durability;
  readonly readOnly?: boolean;
  /** Memory for blocks and for leaves of the tree, in bytes. */
  readonly cacheBytes?: number;
  /** Under `writeback`: how long acknowledged data may not be durable, and how much of it. */
  readonly writebackIntervalMs?: number;
  readonly writebackLimitBytes?: number;
  readonly groupBytes?: number;
}

/** What the store that a volume is in wants to know of it. */
export interface VolumeEvents {
  /** A group of writes has taken effect. */
  committed(): void;
  /** A group of writes could not be stored. */
  failed(fault: StoreFault): void;
  damaged: DamageListener;
  closed(): Promise<void>;
}

/** A volume as BlockStorage. Made by CasStore. */
export class Volume implements BlockStorage {
  readonly statistics: StorageStatistics = emptyStorageStatistics();
  onResize: (() => void) | undefined;
  readonly state: VolumeState;
  readonly reader: VolumeReader;
  readonly writer: VolumeWriter;
  readonly #pages: PageCache;
  readonly #blocks: BlockCache;
  readonly #events: VolumeEvents;
  readonly #store: BlobStore;
  readonly #description: string;
  readonly #durability: Durability;
  readonly #readOnly: boolean;
  readonly #timer: NodeJS.Timeout | undefined;
  #info: StorageInfo;
  #first: BlockRequest | null = null;
  #last: BlockRequest | null = null;
  #isSubmitting = false;
  #closing: Promise<void> | undefined;
  /** What is handed over after this is refused. */
  #lastFlush: DrainRequest | undefined;
  #isClosed = false;

  constructor(
    state: VolumeState,
    store: BlobStore,
    description: string,
    options: VolumeOptions,
    events: VolumeEvents,
  ) {
    const cacheBytes = options.cacheBytes ?? 64 * 1024 * 1024;
    this.state = state;
    this.#store = store;
    this.#events = events;
    this.#description = description;
    this.#durability = options.durability ?? "durable";
    this.#readOnly = options.readOnly ?? false;
    this.#pages = new PageCache(cacheBytes * PAGE_SHARE);
    this.#blocks = new BlockCache(state.record.blockBytes, cacheBytes * (1 - PAGE_SHARE));
    this.writer = new VolumeWriter(state, store, options.memory, this.statistics, {
      remote: this.#durability === "remote",
      writeback: this.#durability === "writeback",
      writebackLimitBytes: options.writebackLimitBytes ?? 64 * 1024 * 1024,
      groupBytes: Math.min(options.groupBytes ?? GROUP_BYTES, (store.maxBatchBytes * 3) / 4),
    });
    this.reader = new VolumeReader(
      state,
      store,
      { blocks: this.#blocks, pages: this.#pages },
      options.memory,
      this.writer.groups,
      this.statistics,
      events.damaged,
    );
    this.writer.oldContent = (block, below, target, done) =>
      this.reader.oldContent(block, below, target, done);
    this.writer.onCommitted = (group) => this.#committed(group);
    this.writer.onFailed = (fault) => events.failed(fault);
    this.#info = this.#makeInfo();
    state.onBaseChanged = (areLeavesStale) => this.#baseChanged(areLeavesStale);
    if (this.#durability === "writeback") {
      const intervalMs = options.writebackIntervalMs ?? 1000;
      this.#timer = setInterval(() => this.writer.sync(), intervalMs);
      this.#timer.unref();
    }
  }

  #makeInfo(): StorageInfo {
    const { blockBytes, sizeBytes } = this.state.record;
    return {
      description: this.#description,
      sectors: sizeBytes / SECTOR_BYTES,
      physicalBlockBytes: Math.min(blockBytes, PHYSICAL_BLOCK_BYTES),
      readOnly: this.#readOnly,
      canTrim: !this.#readOnly,
      durability: this.#durability,
    };
  }

  info(): StorageInfo {
    return this.#info;
  }

  /** A leaf of the tree that is being built: what the cache holds of it must be the new one. */
  leafBuilt(leaf: number, page: Uint8Array, pageOffset: number): void {
    this.reader.leaves.built.add(leaf);
    if (this.#pages.find(leaf) >= 0) this.#pages.put(leaf, page, pageOffset);
  }

  get cacheStatistics(): { hits: number; misses: number } {
    return { hits: this.#blocks.hits, misses: this.#blocks.misses };
  }

  read(request: BlockRequest): void {
    this.#append(request, BlockOperation.read);
  }

  write(request: BlockRequest): void {
    this.#append(request, BlockOperation.write);
  }

  flush(request: BlockRequest): void {
    this.#append(request, BlockOperation.flush);
  }

  trim(request: BlockRequest): void {
    this.#append(request, BlockOperation.trim);
  }

  #append(request: BlockRequest, operation: BlockOperation): void {
    request.operation = operation;
    request.next = null;
    if (this.#last === null) this.#first = request;
    else this.#last.next = request;
    this.#last = request;
  }

  submit(): void {
    // A `completed()` may hand over more and submit again: the loop takes that as well.
    if (this.#isSubmitting) return;
    this.#isSubmitting = true;
    for (let request = this.#take(); request !== null; request = this.#take()) {
      this.#execute(request);
      if (this.#first === null) this.#start();
    }
    this.#isSubmitting = false;
  }

  #take(): BlockRequest | null {
    const request = this.#first;
    if (request === null) return null;
    this.#first = request.next;
    if (this.#first === null) this.#last = null;
    request.next = null;
    return request;
  }

  #execute(request: BlockRequest): void {
    if (this.#isRefused(request)) {
      request.status = BlockStatus.unavailable;
      request.completed();
      return;
    }
    switch (request.operation) {
      case BlockOperation.read:
        this.reader.read(request);
        break;
      case BlockOperation.write:
        this.writer.write(request);
        break;
      case BlockOperation.trim:
        this.writer.trim(request);
        break;
      case BlockOperation.flush:
        this.writer.flush(request);
        if (request === this.#lastFlush) this.#isClosed = true;
        break;
    }
  }

  #isRefused(request: BlockRequest): boolean {
    // A store that has gone to another owner has other contents by now.
    if (this.#isClosed || this.#store.fault !== undefined) return true;
    // What it would take would never be stored, and must not be acknowledged.
    return changesData(request) && this.#store.appendFault !== undefined;
  }

  #start(): void {
    this.reader.submit();
    this.writer.submit();
  }

  /** Blocks that were just written are likely to be read. */
  #committed(group: WriteGroup): void {
    for (const slot of group.slots.values()) {
      const name = slot * HASH_BYTES;
      if (isNullHash(group.hashes, name)) continue;
      this.#blocks.insert(group.hashes, name, group.data, slot * group.blockBytes);
    }
    this.#events.committed();
  }

  #baseChanged(areLeavesStale: boolean): void {
    this.reader.leaves.built.clear();
    if (areLeavesStale) this.#pages.clear();
    if (this.#info.sectors * SECTOR_BYTES === this.state.record.sizeBytes) return;
    this.#info = this.#makeInfo();
    this.onResize?.();
  }

  /** Resolves when every write handed over before is durable. Rejects when one is not. */
  async drain(): Promise<void> {
    const status = await this.#flushed(new DrainRequest());
    if (status !== BlockStatus.ok) throw this.#notStored(status);
  }

  #flushed(request: DrainRequest): Promise<BlockStatus> {
    this.flush(request);
    this.submit();
    return request.done;
  }

  /** Rejects when something that was written is not stored. Nothing is written afterwards. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    this.#lastFlush = new DrainRequest();
    const status = await this.#flushed(this.#lastFlush);
    this.#isClosed = true;
    await this.writer.stop();
    await this.reader.drain();
    this.state.onBaseChanged = undefined;
    await this.#events.closed();
    if (status !== BlockStatus.ok) throw this.#notStored(status);
  }

  #notStored(status: BlockStatus): Error {
    const lostBytes = this.writer.lostSectors * SECTOR_BYTES;
    const localBytes = this.#store.remote?.dirtyBytes ?? 0;
    const details = [
      lostBytes > 0 ? `; ${lostBytes} bytes that were acknowledged are lost` : "",
      localBytes > 0 ? `; ${localBytes} bytes of the store are on this machine alone` : "",
    ];
    const reason = FAULTS.get(status) ?? `status ${status}`;
    return new Error(`${this.#description}: writes were not stored: ${reason}${details.join("")}`);
  }
}

function changesData({ operation }: BlockRequest): boolean {
  return operation === BlockOperation.write || operation === BlockOperation.trim;
}

const FAULTS = new Map<BlockStatus, string>([
  [BlockStatus.noSpace, "no space is left"],
  [BlockStatus.writeFault, "the store could not take them"],
  [BlockStatus.unavailable, "the store is not available"],
]);

/** A flush of our own. */
class DrainRequest extends BlockRequest {
  readonly #result = Promise.withResolvers<BlockStatus>();

  get done(): Promise<BlockStatus> {
    return this.#result.promise;
  }

  override completed(): void {
    this.#result.resolve(this.status);
  }
}
