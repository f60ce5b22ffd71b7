import { copyBytes } from "../blob/bytes.ts";
import { HASH_BYTES } from "../blob/hash.ts";
import { BlockOperation, type BlockRequest, SECTOR_BYTES } from "../storage/block-storage.ts";

export interface ZeroRange {
  readonly first: number;
  readonly count: number;
}

/** Ranges of zeros a group may hold before it is full: reads look through all of them. */
const MAX_ZERO_RANGES = 64;

/**
 * Writes that become one append: the newest content of each block that they touch, whole or in
 * part, and ranges that were zeroed before. A group is atomic: after a crash all of it is there or
 * nothing.
 */
export class WriteGroup {
  readonly blockBytes: number;
  readonly sectorsPerBlock: number;
  readonly capacity: number;
  readonly data: Uint8Array;
  /** Block → slot. */
  readonly slots = new Map<number, number>();
  zeroRanges: ZeroRange[] = [];
  /** Name of each slot's block, once the group is prepared; the null hash for zeros. */
  readonly hashes: Uint8Array;
  /** Must be on stable storage before its requests are complete. */
  durable = false;
  /** Sectors that were acknowledged already. */
  acknowledgedSectors = 0;
  /** Blocks that could not be completed with their old content. */
  readonly failedBlocks = new Set<number>();
  firstRequest: BlockRequest | null = null;
  #lastRequest: BlockRequest | null = null;
  #slotCount = 0;
  #incompleteBlocks = 0;
  readonly #present: Uint8Array;
  readonly #presentCount: Uint8Array;

  constructor(blockBytes: number, capacity: number) {
    this.blockBytes = blockBytes;
    this.sectorsPerBlock = blockBytes / SECTOR_BYTES;
    this.capacity = capacity;
    this.data = new Uint8Array(capacity * blockBytes);
    this.hashes = new Uint8Array(capacity * HASH_BYTES);
    this.#present = new Uint8Array(capacity * this.sectorsPerBlock);
    this.#presentCount = new Uint8Array(capacity);
  }

  get isEmpty(): boolean {
    return !this.hasChanges && this.firstRequest === null && !this.durable;
  }

  get hasChanges(): boolean {
    return this.slots.size > 0 || this.zeroRanges.length > 0;
  }

  /** Bytes of its memory that are taken, by blocks that were overwritten as well. */
  get usedBytes(): number {
    return this.#slotCount * this.blockBytes;
  }

  /** Some blocks are written in part. */
  get hasIncompleteBlocks(): boolean {
    return this.#incompleteBlocks > 0;
  }

  /** Whether a request that touches so many blocks still fits. */
  hasRoom(blocks: number): boolean {
    return this.#slotCount + blocks <= this.capacity && this.zeroRanges.length < MAX_ZERO_RANGES;
  }

  /** Remembers a request to be completed with the group. */
  hold(request: BlockRequest): void {
    request.next = null;
    if (this.#lastRequest === null) this.firstRequest = request;
    else this.#lastRequest.next = request;
    this.#lastRequest = request;
  }

  /** Takes the first write or trim that is held, unless a flush is before it; null: there is none. */
  takeWrite(): BlockRequest | null {
    const first = this.firstRequest;
    if (first === null || first.operation === BlockOperation.flush) return null;
    this.firstRequest = first.next;
    if (this.firstRequest === null) this.#lastRequest = null;
    first.next = null;
    return first;
  }

  releaseRequests(): BlockRequest | null {
    const first = this.firstRequest;
    this.firstRequest = null;
    this.#lastRequest = null;
    return first;
  }

  /** Copies sectors in; a null source stands for zeros. */
  write(lba: number, lengthSectors: number, source: Uint8Array | null, sourceOffset: number): void {
    let sector = lba;
    let from = sourceOffset;
    const end = lba + lengthSectors;
    while (sector < end) {
      const block = Math.floor(sector / this.sectorsPerBlock);
      const within = sector - block * this.sectorsPerBlock;
      const count = Math.min(end - sector, this.sectorsPerBlock - within);
      const slot = this.#slotOf(block);
      const at = slot * this.blockBytes + within * SECTOR_BYTES;
      const lengthBytes = count * SECTOR_BYTES;
      if (source === null) this.data.fill(0, at, at + lengthBytes);
      else copyBytes(source, from, this.data, at, lengthBytes);
      this.#markPresent(slot, within, count);
      sector += count;
      from += lengthBytes;
    }
  }

  #slotOf(block: number): number {
    const known = this.slots.get(block);
    if (known !== undefined) return known;
    const slot = this.#slotCount++;
    this.slots.set(block, slot);
    this.#incompleteBlocks++;
    this.#presentCount[slot] = 0;
    this.#present.fill(0, slot * this.sectorsPerBlock, (slot + 1) * this.sectorsPerBlock);
    if (this.#isZeroed(block)) this.#completeWithZeros(slot);
    return slot;
  }

  /** A block written after it was zeroed in this group: the rest of it is zeros. */
  #completeWithZeros(slot: number): void {
    this.data.fill(0, slot * this.blockBytes, (slot + 1) * this.blockBytes);
    this.#markPresent(slot, 0, this.sectorsPerBlock);
  }

  #isZeroed(block: number): boolean {
    for (const { first, count } of this.zeroRanges) {
      if (block >= first && block < first + count) return true;
    }
    return false;
  }

  #markPresent(slot: number, within: number, count: number): void {
    if (this.isComplete(slot)) return;
    const at = slot * this.sectorsPerBlock + within;
    for (let sector = at; sector < at + count; sector++) {
      if (this.#present[sector] === 1) continue;
      this.#present[sector] = 1;
      this.#presentCount[slot]++;
    }
    if (this.isComplete(slot)) this.#incompleteBlocks--;
  }

  /** Zeros whole blocks: what was written to them before is gone. */
  zero(first: number, count: number): void {
    if (count < this.slots.size) {
      for (let block = first; block < first + count; block++) this.#forget(block);
    } else {
      for (const block of this.slots.keys()) {
        if (block >= first && block < first + count) this.#forget(block);
      }
    }
    this.zeroRanges.push({ first, count });
  }

  #forget(block: number): void {
    const slot = this.slots.get(block);
    if (slot === undefined) return;
    if (!this.isComplete(slot)) this.#incompleteBlocks--;
    this.slots.delete(block);
  }

  forEachIncomplete(visit: (block: number, slot: number) => void): void {
    if (this.#incompleteBlocks === 0) return;
    for (const [block, slot] of this.slots) if (!this.isComplete(slot)) visit(block, slot);
  }

  isComplete(slot: number): boolean {
    return this.#presentCount[slot] === this.sectorsPerBlock;
  }

  isPresent(slot: number, within: number): boolean {
    return this.#present[slot * this.sectorsPerBlock + within] === 1;
  }

  /** Fills the sectors of a slot that nobody wrote with the block's old content. */
  complete(slot: number, old: Uint8Array, oldOffset: number): void {
    for (let within = 0; within < this.sectorsPerBlock; within++) {
      if (this.isPresent(slot, within)) continue;
      const from = oldOffset + within * SECTOR_BYTES;
      const at = slot * this.blockBytes + within * SECTOR_BYTES;
      copyBytes(old, from, this.data, at, SECTOR_BYTES);
    }
    this.#markPresent(slot, 0, this.sectorsPerBlock);
  }

  /** The disk has become smaller: what lies beyond its end cannot be stored. */
  cutTo(sizeBytes: number): void {
    const blocks = Math.ceil(sizeBytes / this.blockBytes);
    for (const [block, slot] of this.slots) {
      if (block >= blocks) this.failedBlocks.add(block);
      // The rest of a last block that the size cuts short stays zero, in case the disk grows.
      const within = Math.max(0, sizeBytes - block * this.blockBytes);
      if (within < this.blockBytes) {
        this.data.fill(0, slot * this.blockBytes + within, (slot + 1) * this.blockBytes);
      }
    }
    if (this.zeroRanges.every(({ first, count }) => first + count <= blocks)) return;
    this.zeroRanges = this.zeroRanges
      .filter(({ first }) => first < blocks)
      .map(({ first, count }) => ({ first, count: Math.min(count, blocks - first) }));
  }

  /** Whether the group zeroes this block, and has not written it since. */
  zeroes(block: number): boolean {
    return this.zeroRanges.length > 0 && this.#isZeroed(block);
  }

  /** Whether a request is of any of these blocks. */
  touches({ lba, lengthSectors }: BlockRequest, blocks: ReadonlySet<number>): boolean {
    const sectors = this.sectorsPerBlock;
    const end = lba + lengthSectors;
    for (let block = Math.floor(lba / sectors); block * sectors < end; block++) {
      if (blocks.has(block)) return true;
    }
    return false;
  }

  /** Ready for other writes. */
  reset(): void {
    this.slots.clear();
    this.zeroRanges.length = 0;
    this.failedBlocks.clear();
    this.durable = false;
    this.acknowledgedSectors = 0;
    this.releaseRequests();
    this.#slotCount = 0;
    this.#incompleteBlocks = 0;
  }
}
