import { BlobFetch, type BlobStore, FetchOutcome, StoreFault } from "../blob/blob-store.ts";
import { HASH_BYTES, hashToHex } from "../blob/hash.ts";
import { ARITY } from "./geometry.ts";
import { decodeNode, MAX_NODE_BYTES, PAGE_BYTES } from "./merkle-node.ts";

/** A node of the tree that is not there or not readable. */
export class NodeFault extends StoreFault {
  readonly hash: Uint8Array;
  readonly level: number;

  constructor(kind: "missing" | "damaged", hash: Uint8Array, level: number) {
    super(kind, `tree node ${hashToHex(hash)} of level ${level} is ${kind}`);
    this.hash = hash;
    this.level = level;
  }
}

export interface NodeRequest {
  readonly hashes: Uint8Array;
  readonly hashOffset: number;
}

/** Reads nodes of trees, many at once. */
export class NodeReader {
  readonly #store: BlobStore;
  readonly #free: NodeFetch[] = [];

  constructor(store: BlobStore) {
    this.#store = store;
  }

  /** The 128 hashes of a node. @throws NodeFault */
  async load(hashes: Uint8Array, hashOffset: number, level: number): Promise<Uint8Array> {
    const [page] = await this.loadMany([{ hashes, hashOffset }], level);
    if (page instanceof NodeFault) throw page;
    return page;
  }

  /** A page or a fault for each request. */
  loadMany(requests: readonly NodeRequest[], level: number): Promise<(Uint8Array | NodeFault)[]> {
    if (requests.length === 0) return Promise.resolve([]);
    return new Promise((resolve) => {
      const results: (Uint8Array | NodeFault)[] = [];
      let running = requests.length;
      requests.forEach(({ hashes, hashOffset }, index) => {
        const fetch = this.#free.pop() ?? new NodeFetch();
        fetch.begin(hashes, hashOffset, level, (page) => {
          results[index] = page;
          if (this.#free.length < ARITY) this.#free.push(fetch);
          if (--running === 0) resolve(results);
        });
        this.#store.fetch(fetch);
      });
      this.#store.submit();
    });
  }
}

class NodeFetch extends BlobFetch {
  #level = 0;
  #done: (page: Uint8Array | NodeFault) => void = () => {};

  constructor() {
    super();
    this.capacityBytes = MAX_NODE_BYTES;
    this.target = new Uint8Array(MAX_NODE_BYTES);
  }

  begin(
    hashes: Uint8Array,
    hashOffset: number,
    level: number,
    done: (page: Uint8Array | NodeFault) => void,
  ): void {
    this.hash.set(hashes.subarray(hashOffset, hashOffset + HASH_BYTES));
    this.#level = level;
    this.#done = done;
  }

  fetched(): void {
    if (this.outcome !== FetchOutcome.ok) {
      const kind = this.outcome === FetchOutcome.missing ? "missing" : "damaged";
      this.#done(new NodeFault(kind, this.hash.slice(), this.#level));
      return;
    }
    const page = new Uint8Array(PAGE_BYTES);
    const isNode = decodeNode(this.#level, this.target.subarray(0, this.lengthBytes), page, 0);
    this.#done(isNode ? page : new NodeFault("damaged", this.hash.slice(), this.#level));
  }
}
