import { type BlobStore, FetchOutcome, StoreFault } from "../blob/blob-store.ts";
import { HASH_BYTES, hashKey, hashToHex, isNullHash } from "../blob/hash.ts";
import {
  type BlockRequest,
  SECTOR_BYTES,
  type StorageStatistics,
} from "../storage/block-storage.ts";
import type { BlockCache } from "./block-cache.ts";
import { BlockFetch } from "./block-fetch.ts";
import { ARITY, spanOf } from "./geometry.ts";
import { NodeReader } from "./node-reader.ts";
import { Found } from "./overlay.ts";
import type { PageCache } from "./page-cache.ts";
import { PendingRead, ReadEpoch } from "./pending-read.ts";
import { copyPart, fillPart, type ReadPart } from "./read-part.ts";
import { ReadAhead } from "./read-ahead.ts";
import type { VolumeState } from "./volume-state.ts";
import type { WriteGroup } from "./write-group.ts";

/** Says what of a volume cannot be read. */
export type DamageListener = (firstLba: number, lengthSectors: number, blob: string) => void;

/**
 * Answers reads: from writes that are on their way (newest first), else from the volume's changes
 * and its tree, by way of the caches. What a read returns is settled when it is handed over; only
 * the bytes may come later, by their names.
 */
export class VolumeReader {
  readonly #state: VolumeState;
  readonly #store: BlobStore;
  readonly #nodes: NodeReader;
  readonly #blocks: BlockCache;
  readonly #pages: PageCache;
  readonly #memory: Uint8Array;
  readonly #groups: readonly WriteGroup[];
  readonly #statistics: StorageStatistics;
  readonly #damaged: DamageListener;
  readonly #readAhead: ReadAhead;
  readonly #hash = new Uint8Array(HASH_BYTES);
  readonly #filled: Uint8Array;
  readonly #fetches = new Map<string, BlockFetch>();
  readonly #freeFetches: BlockFetch[] = [];
  readonly #freeReads: PendingRead[] = [];
  readonly #leafLoads = new Map<number, Promise<Uint8Array>>();
  /** Leaves that a tree under construction has put into the page cache. */
  readonly builtLeaves = new Set<number>();
  /** The epoch of reads that begin now, and older ones with reads under way; see `drain`. */
  #epoch = new ReadEpoch();
  readonly #olderEpochs = new Set<ReadEpoch>();

  /** @param groups writes on their way, oldest first; a live list */
  constructor(
    state: VolumeState,
    store: BlobStore,
    caches: { blocks: BlockCache; pages: PageCache },
    memory: Uint8Array,
    groups: readonly WriteGroup[],
    statistics: StorageStatistics,
    damaged: DamageListener,
  ) {
    this.#state = state;
    this.#store = store;
    this.#nodes = new NodeReader(store);
    this.#blocks = caches.blocks;
    this.#pages = caches.pages;
    this.#memory = memory;
    this.#groups = groups;
    this.#statistics = statistics;
    this.#damaged = damaged;
    this.#readAhead = new ReadAhead(caches.blocks.capacity);
    this.#filled = new Uint8Array(state.record.blockBytes / SECTOR_BYTES);
  }

  /** Completes the request now if all of it is in memory. */
  read(request: BlockRequest): void {
    const sectorsPerBlock = this.#filled.length;
    const read = this.#takeRead(request);
    const end = request.lba + request.lengthSectors;
    let sector = request.lba;
    while (sector < end) {
      const block = Math.floor(sector / sectorsPerBlock);
      const within = sector - block * sectorsPerBlock;
      const count = Math.min(end - sector, sectorsPerBlock - within);
      const target = request.memoryOffset + (sector - request.lba) * SECTOR_BYTES;
      this.#readBlock(read, block, within, count, target);
      sector += count;
    }
    if (read.waitingFor === 0) this.#statistics.inline++;
    else this.#statistics.queued++;
    const firstBlock = Math.floor(request.lba / sectorsPerBlock);
    const endBlock = Math.ceil(end / sectorsPerBlock);
    const ahead = this.#readAhead.next(firstBlock, endBlock, this.#state.geometry.blocks);
    this.#prefetch(ahead.start, ahead.end);
    this.#finishPart(read);
  }

  /** Starts what the reads handed over have asked for. */
  submit(): void {
    this.#store.submit();
  }

  /** Resolves when every read that is under way now is done. */
  async drain(): Promise<void> {
    if (this.#epoch.running > 0) {
      this.#olderEpochs.add(this.#epoch);
      this.#epoch = new ReadEpoch();
    }
    await Promise.all([...this.#olderEpochs].map((epoch) => epoch.ended));
  }

  /** The content of a block below the groups, for one that is written in part. */
  oldContent(
    block: number,
    below: number,
    target: Uint8Array,
    done: (isRead: boolean) => void,
  ): void {
    const sectors = this.#filled.length;
    const read = this.#takeRead(null);
    read.done = done;
    read.target = target;
    this.#readBlock(read, block, 0, sectors, 0, below);
    this.#finishPart(read);
  }

  #takeRead(request: BlockRequest | null): PendingRead {
    const read = this.#freeReads.pop() ?? new PendingRead();
    read.begin(request, this.#memory, this.#epoch);
    this.#epoch.running++;
    return read;
  }

  #finishPart(read: PendingRead): void {
    if (--read.waitingFor >= 0) return;
    const { epoch } = read;
    read.complete();
    this.#freeReads.push(read);
    if (epoch === undefined || --epoch.running > 0) return;
    if (this.#olderEpochs.delete(epoch)) epoch.end();
  }

  #readBlock(
    read: PendingRead,
    block: number,
    within: number,
    count: number,
    target: number,
    below = this.#groups.length,
  ): void {
    if (below > 0 && this.#readFromGroups(read, block, within, count, target, below)) return;
    const part = { block, within, count, target, filled: undefined };
    this.#readStored(read, part);
  }

  /** True when nothing is left to be read from the store. */
  #readFromGroups(
    read: PendingRead,
    block: number,
    within: number,
    count: number,
    target: number,
    below: number,
  ): boolean {
    let filled: Uint8Array | undefined;
    let remaining = count;
    for (let newest = below - 1; newest >= 0 && remaining > 0; newest--) {
      const group = this.#groups[newest];
      const slot = group.slots.get(block);
      const zeroes = slot === undefined && group.zeroes(block);
      if (slot === undefined && !zeroes) continue;
      filled ??= this.#filled.fill(0);
      for (let sector = within; sector < within + count; sector++) {
        if (filled[sector] === 1 || (slot !== undefined && !group.isPresent(slot, sector)))
          continue;
        filled[sector] = 1;
        remaining--;
        const to = target + (sector - within) * SECTOR_BYTES;
        if (slot === undefined) read.target.fill(0, to, to + SECTOR_BYTES);
        else {
          const from = slot * group.blockBytes + sector * SECTOR_BYTES;
          read.target.set(group.data.subarray(from, from + SECTOR_BYTES), to);
        }
      }
    }
    if (remaining === 0) return true;
    if (filled === undefined) return false;
    this.#readStored(read, { block, within, count, target, filled: filled.slice() });
    return true;
  }

  #readStored(read: PendingRead, part: ReadPart): void {
    const found = this.#state.lookup(part.block, this.#hash);
    if (found === Found.zero) {
      fillPart(read.target, part);
      return;
    }
    if (found === Found.hash) {
      this.#readBlob(read, part, this.#hash, 0);
      return;
    }
    if (this.#isBeyondTree(part.block)) {
      fillPart(read.target, part);
      return;
    }
    const page = this.#pages.find(Math.floor(part.block / ARITY));
    if (page < 0) {
      read.waitingFor++;
      void this.#readFromTree(read, part);
      return;
    }
    this.#readBlob(read, part, this.#pages.pages, page + (part.block % ARITY) * HASH_BYTES);
  }

  #isBeyondTree(block: number): boolean {
    const { base } = this.#state;
    return isNullHash(base.top, 0) || block >= spanOf(base.height);
  }

  async #readFromTree(read: PendingRead, part: ReadPart): Promise<void> {
    try {
      const page = await this.#loadLeaf(Math.floor(part.block / ARITY));
      this.#readBlob(read, part, page, (part.block % ARITY) * HASH_BYTES);
      this.#store.submit();
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      this.#fail(read, part, error.message);
    }
    this.#finishPart(read);
  }

  /** Walks down the tree that the volume has at this moment. Several readers share one walk. */
  #loadLeaf(leaf: number): Promise<Uint8Array> {
    const { generation } = this.#state;
    // Generations and leaves stay small enough for one number to name both.
    const key = generation * 2 ** 34 + leaf;
    const running = this.#leafLoads.get(key);
    if (running !== undefined) return running;
    const loading = this.#walkToLeaf(leaf)
      .then((page) => {
        const isCurrent = this.#state.generation === generation && !this.builtLeaves.has(leaf);
        if (isCurrent) this.#pages.put(leaf, page, 0);
        return page;
      })
      .finally(() => this.#leafLoads.delete(key));
    this.#leafLoads.set(key, loading);
    return loading;
  }

  async #walkToLeaf(leaf: number): Promise<Uint8Array> {
    const { top, height } = this.#state.base;
    let hashes = top;
    let hashOffset = 0;
    for (let level = height; level > 1; level--) {
      if (isNullHash(hashes, hashOffset)) return new Uint8Array(ARITY * HASH_BYTES);
      const page = await this.#nodes.load(hashes, hashOffset, level);
      const child = Math.floor(leaf / spanOf(level - 2)) % ARITY;
      hashes = page;
      hashOffset = child * HASH_BYTES;
    }
    if (isNullHash(hashes, hashOffset)) return new Uint8Array(ARITY * HASH_BYTES);
    return this.#nodes.load(hashes, hashOffset, 1);
  }

  #readBlob(read: PendingRead, part: ReadPart, hashes: Uint8Array, hashOffset: number): void {
    if (isNullHash(hashes, hashOffset)) {
      fillPart(read.target, part);
      return;
    }
    const slot = this.#blocks.find(hashes, hashOffset);
    if (slot >= 0) {
      copyPart(this.#blocks.data, slot * this.#blocks.blockBytes, read.target, part);
      return;
    }
    read.waitingFor++;
    this.#fetchBlock(hashes, hashOffset, read, part);
  }

  /** A fetch of the same block that is under way is shared. */
  #fetchBlock(
    hashes: Uint8Array,
    hashOffset: number,
    read: PendingRead | undefined,
    part: ReadPart | undefined,
  ): void {
    const key = hashKey(hashes, hashOffset);
    const running = this.#fetches.get(key);
    if (running !== undefined) {
      this.#statistics.coalesced++;
      running.addWaiter(read, part);
      return;
    }
    const fetch =
      this.#freeFetches.pop() ??
      new BlockFetch(this.#blocks.blockBytes, (done) => this.#fetched(done));
    fetch.begin(key, hashes, hashOffset);
    fetch.addWaiter(read, part);
    this.#fetches.set(key, fetch);
    this.#store.fetch(fetch);
  }

  #fetched(fetch: BlockFetch): void {
    this.#fetches.delete(fetch.key);
    const isRead =
      fetch.outcome === FetchOutcome.ok && fetch.lengthBytes === this.#blocks.blockBytes;
    if (isRead) this.#blocks.insert(fetch.hash, 0, fetch.target, 0);
    for (const { read, part } of fetch.waiters) {
      if (isRead) copyPart(fetch.target, 0, read.target, part);
      else this.#fail(read, part, `blob ${hashToHex(fetch.hash)}`);
      this.#finishPart(read);
    }
    fetch.waiters.length = 0;
    this.#freeFetches.push(fetch);
  }

  #fail(read: PendingRead, part: ReadPart, blob: string): void {
    const sectorsPerBlock = this.#filled.length;
    const lba = part.block * sectorsPerBlock + part.within;
    read.failed(lba);
    this.#statistics.faults++;
    this.#damaged(part.block * sectorsPerBlock, sectorsPerBlock, blob);
  }

  /** Brings blocks into the cache, and the leaves that name them first. */
  #prefetch(start: number, end: number): void {
    for (let first = start; first < end;) {
      const leaf = Math.floor(first / ARITY);
      const leafEnd = Math.min(end, (leaf + 1) * ARITY);
      if (this.#pages.find(leaf) >= 0 || this.#isBeyondTree(first)) {
        this.#prefetchInLeaf(first, leafEnd);
      } else {
        const from = first;
        this.#loadLeaf(leaf).then(
          () => {
            this.#prefetchInLeaf(from, leafEnd);
            this.#store.submit();
          },
          () => undefined, // Whoever reads it will see the fault.
        );
      }
      first = leafEnd;
    }
  }

  #prefetchInLeaf(start: number, end: number): void {
    const page = this.#pages.find(Math.floor(start / ARITY));
    for (let block = start; block < end; block++) {
      if (this.#groups.some((group) => group.slots.has(block) || group.zeroes(block))) continue;
      const found = this.#state.lookup(block, this.#hash);
      const isInTree = found === Found.nothing && page >= 0;
      if (found === Found.zero || (found === Found.nothing && !isInTree)) continue;
      const hashes = isInTree ? this.#pages.pages : this.#hash;
      const offset = isInTree ? page + (block % ARITY) * HASH_BYTES : 0;
      if (isNullHash(hashes, offset) || this.#blocks.has(hashes, offset)) continue;
      this.#fetchBlock(hashes, offset, undefined, undefined);
    }
  }
}
