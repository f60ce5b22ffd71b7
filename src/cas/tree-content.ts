import { BlobFetch, type BlobStore, FetchOutcome } from "../blob/blob-store.ts";
import { HASH_BYTES, hashToHex } from "../blob/hash.ts";
import { ARITY } from "./geometry.ts";
import { nextChild, pageWords, type RootDescriptor } from "./merkle-node.ts";
import { NodeReader } from "./node-reader.ts";
import { walkTree } from "./tree-walk.ts";

export interface ContentVisitor {
  /** A block that is not zero; the bytes are valid until it returns. */
  block?(block: number, data: Uint8Array): void;
  /** After each leaf: how many bytes of blocks have been read in all. Resolves to go on. */
  progress?(bytes: number): Promise<void>;
  /** Blocks that cannot be read, and the blob that is to blame. */
  unreadable(block: number, count: number, blob: string): void;
}

/** Reads all blocks of a tree, from the first to the last. Blocks of zeros are left out. */
export async function readContent(
  store: BlobStore,
  root: RootDescriptor,
  visitor: ContentVisitor,
): Promise<void> {
  const leaf = new LeafContent(store, root.blockBytes);
  let bytes = 0;
  await walkTree(new NodeReader(store), root.top, root.height, {
    leaf: async (page, first) => {
      bytes += (await leaf.read(page, first, visitor)) * root.blockBytes;
      await visitor.progress?.(bytes);
    },
    unreadable: (fault, first, blocks) => visitor.unreadable(first, blocks, hashToHex(fault.hash)),
  });
}

/** The blocks of one leaf, read together. */
class LeafContent {
  readonly #store: BlobStore;
  readonly #blockBytes: number;
  readonly #buffer: Uint8Array;
  readonly #fetches: LeafFetch[];
  #running = 0;
  #done: () => void = () => {};

  constructor(store: BlobStore, blockBytes: number) {
    this.#store = store;
    this.#blockBytes = blockBytes;
    this.#buffer = new Uint8Array(ARITY * blockBytes);
    this.#fetches = Array.from({ length: ARITY }, () => new LeafFetch(() => this.#finished()));
  }

  #finished(): void {
    if (--this.#running === 0) this.#done();
  }

  async read(page: Uint8Array, first: number, visitor: ContentVisitor): Promise<number> {
    const present: number[] = [];
    const words = pageWords(page);
    for (let child = nextChild(words, 0); child < ARITY; child = nextChild(words, child + 1)) {
      present.push(child);
    }
    this.#running = present.length;
    const done = new Promise<void>((resolve) => {
      this.#done = resolve;
    });
    for (const child of present) {
      const fetch = this.#fetches[child];
      fetch.hash.set(page.subarray(child * HASH_BYTES, (child + 1) * HASH_BYTES));
      fetch.target = this.#buffer;
      fetch.targetOffset = child * this.#blockBytes;
      fetch.capacityBytes = this.#blockBytes;
      this.#store.fetch(fetch);
    }
    this.#store.submit();
    if (present.length > 0) await done;
    for (const child of present) {
      const { outcome, lengthBytes, targetOffset, hash } = this.#fetches[child];
      const isRead = outcome === FetchOutcome.ok && lengthBytes === this.#blockBytes;
      const data = this.#buffer.subarray(targetOffset, targetOffset + this.#blockBytes);
      if (isRead) visitor.block?.(first + child, data);
      else visitor.unreadable(first + child, 1, hashToHex(hash));
    }
    return present.length;
  }
}

class LeafFetch extends BlobFetch {
  readonly #done: () => void;

  constructor(done: () => void) {
    super();
    this.#done = done;
  }

  fetched(): void {
    this.#done();
  }
}
