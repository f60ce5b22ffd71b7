import { HASH_BYTES, hashesEqual } from "./hash.ts";

/**
 * Whole names of blobs that were stored or confirmed not long ago: what is found here needs no
 * look at the disk. One place for each name, so the newest of two that share it wins.
 *
 * A name in this table is in the index, too: whoever removes it there removes it here.
 */
export class RecentHashes {
  readonly #names: Uint8Array;
  readonly #mask: number;

  /** @param places a power of two */
  constructor(places: number) {
    this.#names = new Uint8Array(places * HASH_BYTES);
    this.#mask = places - 1;
  }

  has(hashes: Uint8Array, offset: number): boolean {
    return hashesEqual(this.#names, this.#placeOf(hashes, offset), hashes, offset);
  }

  add(hashes: Uint8Array, offset: number): void {
    const place = this.#placeOf(hashes, offset);
    for (let index = 0; index < HASH_BYTES; index++) {
      this.#names[place + index] = hashes[offset + index];
    }
  }

  remove(hashes: Uint8Array, offset: number): void {
    const place = this.#placeOf(hashes, offset);
    if (hashesEqual(this.#names, place, hashes, offset)) {
      this.#names.fill(0, place, place + HASH_BYTES);
    }
  }

  /** Other bits of the name than those that the index uses. */
  #placeOf(hashes: Uint8Array, offset: number): number {
    const bits =
      hashes[offset + 8] |
      (hashes[offset + 9] << 8) |
      (hashes[offset + 10] << 16) |
      (hashes[offset + 11] << 24);
    return (bits & this.#mask) * HASH_BYTES;
  }
}
