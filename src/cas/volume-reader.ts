import { type BlobStore, FetchOutcome, StoreFault } from "../blob/blob-store.ts";
import { copyBytes } from "../blob/bytes.ts";
import { HASH_BYTES, hashKey, hashToHex, isNullHash } from "../blob/hash.ts";
import {
  type BlockRequest,
  SECTOR_BYTES,
  type StorageStatistics,
} from "../storage/block-storage.ts";
import type { BlockCache } from "./block-cache.ts";
import { BlockFetch } from "./block-fetch.ts";
import { ARITY, spanOf } from "./geometry.ts";
import { LeafLoader } from "./leaf-loader.ts";
import { Found } from "./overlay.ts";
import type { PageCache } from "./page-cache.ts";
import { PendingRead, ReadEpoch } from "./pending-read.ts";
import { copyPart, fillPart, ReadPart } from "./read-part.ts";
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
  /** Leaves of the tree that are not in the cache. */
  readonly leaves: LeafLoader;
  readonly #blocks: BlockCache;
  readonly #pages: PageCache;
  readonly #memory: Uint8Array;
  readonly #groups: readonly WriteGroup[];
  readonly #statistics: StorageStatistics;
  readonly #damaged: DamageListener;
  readonly #readAhead: ReadAhead;
  readonly #hash = new Uint8Array(HASH_BYTES);
  readonly #hashWords = new Uint32Array(this.#hash.buffer);
  readonly #filled: Uint8Array;
  /** Of the read that is being handed over. */
  readonly #part = new ReadPart();
  #runFrom = 0;
  #runTarget = 0;
  #runBytes = 0;
  readonly #fetches = new Map<string, BlockFetch>();
  readonly #freeFetches: BlockFetch[] = [];
  readonly #freeReads: PendingRead[] = [];
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
    this.leaves = new LeafLoader(state, store, caches.pages);
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
    this.#copyRun(read);
    if (read.waitingFor === 0) {
      this.#statistics.inline++;
    } else {
      this.#statistics.queued++;
      this.#readAhead.isUseful = true;
    }
    const firstBlock = Math.floor(request.lba / sectorsPerBlock);
    const endBlock = Math.ceil(end / sectorsPerBlock);
    const ahead = this.#readAhead.next(firstBlock, endBlock, this.#state.geometry.blocks);
    if (ahead.start < ahead.end) this.#readAhead.isUseful = this.#prefetch(ahead.start, ahead.end);
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
    this.#copyRun(read);
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
    this.#part.set(block, within, count, target);
    this.#readStored(read, this.#part);
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
    this.#part.set(block, within, count, target);
    this.#part.filled = filled;
    this.#readStored(read, this.#part);
    return true;
  }

  #readStored(read: PendingRead, part: ReadPart): void {
    const found = this.#state.lookup(part.block, this.#hash);
    if (found === Found.zero) {
      fillPart(read.target, part);
      return;
    }
    if (found === Found.hash) {
      this.#readBlob(read, part, this.#hash, this.#hashWords, 0);
      return;
    }
    if (this.#isBeyondTree(part.block)) {
      fillPart(read.target, part);
      return;
    }
    const page = this.#pages.find(Math.floor(part.block / ARITY));
    if (page < 0) {
      read.waitingFor++;
      void this.#readFromTree(read, part.copy());
      return;
    }
    const name = page + (part.block % ARITY) * HASH_BYTES;
    this.#readBlob(read, part, this.#pages.pages, this.#pages.words, name);
  }

  #isBeyondTree(block: number): boolean {
    const { base } = this.#state;
    return isNullHash(base.top, 0) || block >= spanOf(base.height);
  }

  async #readFromTree(read: PendingRead, part: ReadPart): Promise<void> {
    try {
      const page = await this.leaves.load(Math.floor(part.block / ARITY));
      copyBytes(page, (part.block % ARITY) * HASH_BYTES, this.#hash, 0, HASH_BYTES);
      this.#readBlob(read, part, this.#hash, this.#hashWords, 0);
      this.#copyRun(read);
      this.#store.submit();
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      this.#fail(read, part, error.message);
    }
    this.#finishPart(read);
  }

  /** @param words the memory of `hashes` in words */
  #readBlob(
    read: PendingRead,
    part: ReadPart,
    hashes: Uint8Array,
    words: Uint32Array,
    hashOffset: number,
  ): void {
    if (isNullHash(hashes, hashOffset)) {
      fillPart(read.target, part);
      return;
    }
    const slot = this.#blocks.find(words, hashOffset / 4);
    if (slot >= 0) {
      const from = slot * this.#blocks.blockBytes;
      if (part.filled === undefined) this.#addToRun(read, from, part);
      else copyPart(this.#blocks.data, from, read.target, part);
      return;
    }
    read.waitingFor++;
    // A fetch may be done at once, and put another block where the run is.
    this.#copyRun(read);
    this.#fetchBlock(hashes, hashOffset, read, part.copy());
  }

  /** Blocks that were written in order lie in the cache in order: they are copied as one. */
  #addToRun(read: PendingRead, block: number, part: ReadPart): void {
    const from = block + part.within * SECTOR_BYTES;
    const { target } = part;
    const lengthBytes = part.count * SECTOR_BYTES;
    if (from === this.#runFrom + this.#runBytes && target === this.#runTarget + this.#runBytes) {
      this.#runBytes += lengthBytes;
      return;
    }
    this.#copyRun(read);
    this.#runFrom = from;
    this.#runTarget = target;
    this.#runBytes = lengthBytes;
  }

  /** Before the cache changes, and before the read is complete. */
  #copyRun(read: PendingRead): void {
    if (this.#runBytes === 0) return;
    copyBytes(this.#blocks.data, this.#runFrom, read.target, this.#runTarget, this.#runBytes);
    this.#runBytes = 0;
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

  /**
   * Brings blocks into the cache, and the leaves that name them first.
   *
   * @returns whether anything had to be fetched
   */
  #prefetch(start: number, end: number): boolean {
    let isUseful = false;
    for (let first = start; first < end;) {
      const leaf = Math.floor(first / ARITY);
      const leafEnd = Math.min(end, (leaf + 1) * ARITY);
      if (this.#pages.find(leaf) >= 0 || this.#isBeyondTree(first)) {
        if (this.#prefetchInLeaf(first, leafEnd)) isUseful = true;
      } else {
        isUseful = true;
        const from = first;
        this.leaves.load(leaf).then(
          () => {
            this.#prefetchInLeaf(from, leafEnd);
            this.#store.submit();
          },
          () => undefined, // Whoever reads it will see the fault.
        );
      }
      first = leafEnd;
    }
    return isUseful;
  }

  #prefetchInLeaf(start: number, end: number): boolean {
    const page = this.#pages.find(Math.floor(start / ARITY));
    let isUseful = false;
    for (let block = start; block < end; block++) {
      if (this.#isInGroups(block)) continue;
      const found = this.#state.lookup(block, this.#hash);
      const isInTree = found === Found.nothing && page >= 0;
      if (found === Found.zero || (found === Found.nothing && !isInTree)) continue;
      const hashes = isInTree ? this.#pages.pages : this.#hash;
      const offset = isInTree ? page + (block % ARITY) * HASH_BYTES : 0;
      if (isNullHash(hashes, offset) || this.#blocks.has(hashes, offset)) continue;
      isUseful = true;
      this.#fetchBlock(hashes, offset, undefined, undefined);
    }
    return isUseful;
  }

  #isInGroups(block: number): boolean {
    for (const group of this.#groups) {
      if (group.slots.has(block) || group.zeroes(block)) return true;
    }
    return false;
  }
}
