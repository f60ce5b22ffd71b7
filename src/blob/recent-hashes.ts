import { HASH_BYTES, hashesEqual } from "./hash.ts";

const WAYS = 4;

/**
 * Whole names of blobs that were stored or confirmed not long ago: what is found here needs no
 * look at the disk. A name has four places where it may be; a new one takes that of the oldest.
 *
 * A name in this table is in the index, too: whoever removes it there removes it here.
 */
export class RecentHashes {
  readonly #places: number;
  readonly #mask: number;
  /** Allocated when the first name comes in: a store that is only read needs none. */
  #names = new Uint8Array(0);
  #oldest = new Uint8Array(0);

  /** @param places a power of two */
  constructor(places: number) {
    this.#places = places;
    this.#mask = places / WAYS - 1;
  }

  has(hashes: Uint8Array, offset: number): boolean {
    return this.#find(this.#setOf(hashes, offset), hashes, offset) >= 0;
  }

  add(hashes: Uint8Array, offset: number): void {
    const set = this.#setOf(hashes, offset);
    if (this.#find(set, hashes, offset) >= 0) return;
    if (this.#names.length === 0) {
      this.#names = new Uint8Array(this.#places * HASH_BYTES);
      this.#oldest = new Uint8Array(this.#places / WAYS);
    }
    const way = this.#oldest[set];
    this.#oldest[set] = (way + 1) % WAYS;
    const place = (set * WAYS + way) * HASH_BYTES;
    for (let index = 0; index < HASH_BYTES; index++) {
      this.#names[place + index] = hashes[offset + index];
    }
  }

  remove(hashes: Uint8Array, offset: number): void {
    const place = this.#find(this.#setOf(hashes, offset), hashes, offset);
    if (place >= 0) this.#names.fill(0, place, place + HASH_BYTES);
  }

  #find(set: number, hashes: Uint8Array, offset: number): number {
    if (this.#names.length === 0) return -1;
    for (let way = 0; way < WAYS; way++) {
      const place = (set * WAYS + way) * HASH_BYTES;
      if (hashesEqual(this.#names, place, hashes, offset)) return place;
    }
    return -1;
  }

  /** Other bits of the name than those that the index uses. */
  #setOf(hashes: Uint8Array, offset: number): number {
    const bits = hashes[offset + 8] | (hashes[offset + 9] << 8) | (hashes[offset + 10] << 16);
    return bits & this.#mask;
  }
}
