import type { BlobStore } from "../blob/blob-store.ts";
import { HASH_BYTES, isNullHash } from "../blob/hash.ts";
import { ARITY, spanOf } from "./geometry.ts";
import { PAGE_BYTES } from "./merkle-node.ts";
import { NodeReader } from "./node-reader.ts";
import type { PageCache } from "./page-cache.ts";
import type { VolumeState } from "./volume-state.ts";

/** Brings leaves of a volume's tree into its page cache. */
export class LeafLoader {
  /** Leaves that a tree under construction has put into the cache. */
  readonly built = new Set<number>();
  readonly #state: VolumeState;
  readonly #nodes: NodeReader;
  readonly #pages: PageCache;
  readonly #loads = new Map<number, Promise<Uint8Array>>();

  constructor(state: VolumeState, store: BlobStore, pages: PageCache) {
    this.#state = state;
    this.#nodes = new NodeReader(store);
    this.#pages = pages;
  }

  /**
   * Walks down the tree that the volume has at this moment. Several readers share one walk.
   * @throws NodeFault
   */
  load(leaf: number): Promise<Uint8Array> {
    const { generation } = this.#state;
    // Generations and leaves stay small enough for one number to name both.
    const key = generation * 2 ** 34 + leaf;
    const running = this.#loads.get(key);
    if (running !== undefined) return running;
    const loading = this.#walkTo(leaf)
      .then((page) => {
        const isCurrent = this.#state.generation === generation && !this.built.has(leaf);
        if (isCurrent) this.#pages.put(leaf, page, 0);
        return page;
      })
      .finally(() => this.#loads.delete(key));
    this.#loads.set(key, loading);
    return loading;
  }

  async #walkTo(leaf: number): Promise<Uint8Array> {
    const { top, height } = this.#state.base;
    let hashes = top;
    let hashOffset = 0;
    for (let level = height; level > 1; level--) {
      if (isNullHash(hashes, hashOffset)) return new Uint8Array(PAGE_BYTES);
      const page = await this.#nodes.load(hashes, hashOffset, level);
      const child = Math.floor(leaf / spanOf(level - 2)) % ARITY;
      hashes = page;
      hashOffset = child * HASH_BYTES;
    }
    if (isNullHash(hashes, hashOffset)) return new Uint8Array(PAGE_BYTES);
    return this.#nodes.load(hashes, hashOffset, 1);
  }
}
