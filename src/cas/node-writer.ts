import { AwaitedBatch, type BlobStore } from "../blob/blob-store.ts";
import { HASH_BYTES, hashPieces } from "../blob/hash.ts";
import { ARITY } from "./geometry.ts";
import { encodeNode, MAX_NODE_BYTES, PAGE_BYTES } from "./merkle-node.ts";

/** Nodes that are encoded, hashed and appended together: those of one region at most. */
const GROUP_NODES = ARITY;

/** Writes the nodes of a tree that is being built: not durable, but in order before its root. */
export class NodeWriter {
  readonly #store: BlobStore;
  readonly #buffer = new Uint8Array(GROUP_NODES * MAX_NODE_BYTES);
  readonly #offsets = new Uint32Array(GROUP_NODES);
  readonly #lengths = new Uint32Array(GROUP_NODES);
  readonly #names = new Uint8Array(GROUP_NODES * HASH_BYTES);

  constructor(store: BlobStore) {
    this.#store = store;
  }

  /**
   * Appends a node for each page. Resolves when the store has taken them.
   *
   * @param pages up to 128 pages of 128 hashes, one after the other
   * @param hashes gets the hash of each; the null hash for a page of null hashes
   */
  async write(level: number, pages: Uint8Array, count: number, hashes: Uint8Array): Promise<void> {
    let nodes = 0;
    let at = 0;
    const pageOf: number[] = [];
    for (let page = 0; page < count; page++) {
      const length = encodeNode(level, pages, page * PAGE_BYTES, this.#buffer, at);
      hashes.fill(0, page * HASH_BYTES, (page + 1) * HASH_BYTES);
      if (length === 0) continue;
      this.#offsets[nodes] = at;
      this.#lengths[nodes] = length;
      pageOf[nodes++] = page;
      at += length;
    }
    if (nodes === 0) return;
    hashPieces(this.#buffer, this.#offsets, this.#lengths, nodes, this.#names);
    let batch = this.#newBatch(nodes);
    let batchBytes = 0;
    for (let node = 0; node < nodes; node++) {
      const nameAt = node * HASH_BYTES;
      const length = this.#lengths[node];
      hashes.set(this.#names.subarray(nameAt, nameAt + HASH_BYTES), pageOf[node] * HASH_BYTES);
      if (batch.blobCount > 0 && batchBytes + length > this.#store.maxBatchBytes) {
        await batch.appendTo(this.#store);
        batch = this.#newBatch(nodes);
        batchBytes = 0;
      }
      batch.addBlob(this.#names, nameAt, this.#buffer, this.#offsets[node], length);
      batchBytes += length;
    }
    await batch.appendTo(this.#store);
  }

  #newBatch(capacity: number): AwaitedBatch {
    const batch = new AwaitedBatch(capacity);
    batch.durable = false;
    batch.privileged = true;
    return batch;
  }
}
