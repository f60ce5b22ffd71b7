import type { BlobBatch } from "../blob/blob-store.ts";
import { bytesEqual, copyBytes } from "../blob/bytes.ts";
import { HASH_BYTES, hashPieces } from "../blob/hash.ts";
import type { WriteGroup } from "./write-group.ts";

/** Names the blocks of groups, each group in one call. */
export class GroupNames {
  readonly #blockBytes: number;
  readonly #zeroBlock: Uint8Array;
  #offsets = new Uint32Array(0);
  #lengths = new Uint32Array(0);
  #slotOf = new Uint32Array(0);
  #names = new Uint8Array(0);

  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes;
    this.#zeroBlock = new Uint8Array(blockBytes);
  }

  /** Fills the group's hashes: the null hash for zeros, which are not stored, all others go into the batch. */
  nameBlocks(group: WriteGroup, batch: BlobBatch): void {
    if (group.slots.size > this.#offsets.length) this.#makeRoom(group.slots.size);
    let count = 0;
    for (const slot of group.slots.values()) {
      const at = slot * this.#blockBytes;
      if (bytesEqual(group.data, at, this.#zeroBlock, 0, this.#blockBytes)) {
        group.hashes.fill(0, slot * HASH_BYTES, (slot + 1) * HASH_BYTES);
        continue;
      }
      this.#offsets[count] = at;
      this.#slotOf[count++] = slot;
    }
    hashPieces(group.data, this.#offsets, this.#lengths, count, this.#names);
    for (let blob = 0; blob < count; blob++) {
      const to = this.#slotOf[blob] * HASH_BYTES;
      copyBytes(this.#names, blob * HASH_BYTES, group.hashes, to, HASH_BYTES);
      batch.addBlob(
        this.#names,
        blob * HASH_BYTES,
        group.data,
        this.#offsets[blob],
        this.#blockBytes,
      );
    }
  }

  #makeRoom(blocks: number): void {
    this.#offsets = new Uint32Array(blocks);
    this.#lengths = new Uint32Array(blocks).fill(this.#blockBytes);
    this.#slotOf = new Uint32Array(blocks);
    this.#names = new Uint8Array(blocks * HASH_BYTES);
  }
}
