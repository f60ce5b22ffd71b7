import { createHash } from "node:crypto";

export const BLOCK_BYTES = 4096;
const BLOCK_WORDS = BLOCK_BYTES / 4;

/**
 * What is written: noise that does not compress, the same in every block but for two words that
 * name the block's place and its version. Making one costs next to nothing, and no two are alike.
 */
export class BlockPattern {
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #noise: Uint8Array;
  #version = 0;

  /** @param memory of the requests; offsets into it are multiples of 512 */
  constructor(memory: ArrayBuffer) {
    this.#words = new Uint32Array(memory);
    this.#bytes = new Uint8Array(memory);
    const pieces = Array.from({ length: BLOCK_BYTES / 32 }, (_, piece) =>
      createHash("sha256").update(`aoed bench ${piece}`).digest(),
    );
    this.#noise = new Uint8Array(Buffer.concat(pieces));
  }

  /** Before writes through this memory: the noise of the blocks. */
  prepare(offset: number, blocks: number): void {
    for (let block = 0; block < blocks; block++) {
      this.#bytes.set(this.#noise, offset + block * BLOCK_BYTES);
    }
  }

  /** Content that was never written before. */
  putUnique(offset: number, block: number, blocks: number): void {
    for (let index = 0; index < blocks; index++) {
      const at = offset / 4 + index * BLOCK_WORDS;
      this.#words[at] = block + index;
      this.#words[at + 1] = ++this.#version;
    }
  }

  /** What the disk held at `block` in the beginning. */
  putInitial(offset: number, block: number, blocks: number): void {
    for (let index = 0; index < blocks; index++) {
      const at = offset / 4 + index * BLOCK_WORDS;
      this.#words[at] = block + index;
      this.#words[at + 1] = 0;
    }
  }

  isInitial(offset: number, block: number, blocks: number): boolean {
    for (let index = 0; index < blocks; index++) {
      const at = offset / 4 + index * BLOCK_WORDS;
      if (this.#words[at] !== block + index || this.#words[at + 1] !== 0) return false;
    }
    return true;
  }
}
