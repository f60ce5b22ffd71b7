import { copyBytes } from "../blob/bytes.ts";
import { HASH_BYTES, hashesEqual } from "../blob/hash.ts";
import { shim } from "../native/shim.ts";
import { SlotClock } from "./slot-clock.ts";

const NONE = -1;
const NAME_WORDS = HASH_BYTES / 4;
/** Chooses the bucket: other bits of the name than those that the index of the store uses. */
const BUCKET_WORD = 3;

/**
 * Blocks by their names, in memory that is allocated once and touched only where it is used. When
 * it is full, the block goes that has not been asked for since the hand passed it last (CLOCK).
 *
 * What is in here was verified when it came in.
 */
export class BlockCache {
  readonly blockBytes: number;
  readonly capacity: number;
  hits = 0;
  misses = 0;
  readonly #data: Uint8Array;
  readonly #names: Uint8Array;
  readonly #nameWords: Uint32Array;
  /** Slots of one bucket are chained: bucket → first slot, slot → next slot. */
  readonly #first: Int32Array;
  readonly #next: Int32Array;
  readonly #mask: number;
  readonly #clock: SlotClock;

  constructor(blockBytes: number, budgetBytes: number) {
    this.blockBytes = blockBytes;
    this.capacity = Math.max(1, Math.floor(budgetBytes / (blockBytes + HASH_BYTES + 16)));
    this.#data = new Uint8Array(shim.mapMemory(this.capacity * blockBytes));
    this.#names = new Uint8Array(shim.mapMemory(this.capacity * HASH_BYTES));
    this.#nameWords = new Uint32Array(this.#names.buffer);
    this.#clock = new SlotClock(this.capacity);
    const buckets = 2 ** Math.ceil(Math.log2(this.capacity + 1));
    this.#first = new Int32Array(buckets).fill(NONE);
    this.#next = new Int32Array(this.capacity);
    this.#mask = buckets - 1;
  }

  /** The blocks, slot after slot. */
  get data(): Uint8Array {
    return this.#data;
  }

  /**
   * The slot of a block, -1 when it is not here.
   *
   * @param words its name, 8 words from `at` on: comparing them costs a quarter of comparing bytes
   */
  find(words: Uint32Array, at: number): number {
    let slot = this.#first[words[at + BUCKET_WORD] & this.#mask];
    while (slot !== NONE && !this.#isName(slot, words, at)) slot = this.#next[slot];
    if (slot === NONE) {
      this.misses++;
    } else {
      this.hits++;
      this.#clock.use(slot);
    }
    return slot;
  }

  #isName(slot: number, words: Uint32Array, at: number): boolean {
    const names = this.#nameWords;
    const name = slot * NAME_WORDS;
    for (let word = 0; word < NAME_WORDS; word++) {
      if (names[name + word] !== words[at + word]) return false;
    }
    return true;
  }

  has(hashes: Uint8Array, hashOffset: number): boolean {
    return this.#lookUp(hashes, hashOffset) !== NONE;
  }

  #lookUp(hashes: Uint8Array, hashOffset: number): number {
    let slot = this.#first[this.#bucketOf(hashes, hashOffset)];
    while (slot !== NONE && !hashesEqual(this.#names, slot * HASH_BYTES, hashes, hashOffset)) {
      slot = this.#next[slot];
    }
    return slot;
  }

  /** Copies a verified block in. */
  insert(hashes: Uint8Array, hashOffset: number, source: Uint8Array, sourceOffset: number): void {
    if (this.has(hashes, hashOffset)) return;
    const slot = this.#takeSlot();
    const name = slot * HASH_BYTES;
    for (let byte = 0; byte < HASH_BYTES; byte++) {
      this.#names[name + byte] = hashes[hashOffset + byte];
    }
    copyBytes(source, sourceOffset, this.#data, slot * this.blockBytes, this.blockBytes);
    const bucket = this.#bucketOf(hashes, hashOffset);
    this.#next[slot] = this.#first[bucket];
    this.#first[bucket] = slot;
  }

  #takeSlot(): number {
    if (!this.#clock.isFull) return this.#clock.take();
    const slot = this.#clock.take();
    this.#unchain(slot);
    return slot;
  }

  #unchain(slot: number): void {
    const bucket = this.#bucketOf(this.#names, slot * HASH_BYTES);
    if (this.#first[bucket] === slot) {
      this.#first[bucket] = this.#next[slot];
      return;
    }
    let before = this.#first[bucket];
    while (this.#next[before] !== slot) before = this.#next[before];
    this.#next[before] = this.#next[slot];
  }

  /** The word of a name that `BUCKET_WORD` says, on machines that put the low byte first: all of ours. */
  #bucketOf(hashes: Uint8Array, offset: number): number {
    const bits =
      hashes[offset + 12] |
      (hashes[offset + 13] << 8) |
      (hashes[offset + 14] << 16) |
      (hashes[offset + 15] << 24);
    return bits & this.#mask;
  }
}
