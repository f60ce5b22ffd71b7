import { BlobFetch } from "../blob/blob-store.ts";
import { HASH_BYTES } from "../blob/hash.ts";
import type { PendingRead } from "./pending-read.ts";
import type { ReadPart } from "./read-part.ts";

export interface Waiter {
  readonly read: PendingRead;
  readonly part: ReadPart;
}

/** The fetch of a block and all reads that wait for it: none, when it was read ahead. Pooled. */
export class BlockFetch extends BlobFetch {
  key = "";
  readonly waiters: Waiter[] = [];
  readonly #done: (fetch: BlockFetch) => void;

  constructor(blockBytes: number, done: (fetch: BlockFetch) => void) {
    super();
    this.target = new Uint8Array(blockBytes);
    this.capacityBytes = blockBytes;
    this.#done = done;
  }

  begin(key: string, hashes: Uint8Array, hashOffset: number): void {
    this.key = key;
    for (let byte = 0; byte < HASH_BYTES; byte++) this.hash[byte] = hashes[hashOffset + byte];
  }

  addWaiter(read: PendingRead | undefined, part: ReadPart | undefined): void {
    if (read !== undefined && part !== undefined) this.waiters.push({ read, part });
  }

  fetched(): void {
    this.#done(this);
  }
}
