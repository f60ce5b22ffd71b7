import { AwaitedBatch, type BlobStore } from "../blob/blob-store.ts";
import { copyBytes } from "../blob/bytes.ts";
import { HASH_BYTES, hashPieces } from "../blob/hash.ts";
import { ARITY } from "./geometry.ts";
import { encodeNode, MAX_NODE_BYTES, PAGE_BYTES } from "./merkle-node.ts";

/** Nodes that are encoded, hashed and appended together: those of one region at most. */
const GROUP_NODES = ARITY;

/** Writes the nodes of a tree that is being built: not durable, but in order before its root. */
export class NodeWriter {
  readonly #store: BlobStore;
  /** Memory for encoded nodes: in use until the log has taken them. */
  readonly #freeBuffers: Uint8Array[] = [];
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
    const buffer = this.#freeBuffers.pop() ?? new Uint8Array(GROUP_NODES * MAX_NODE_BYTES);
    for (let page = 0; page < count; page++) {
      const length = encodeNode(level, pages, page * PAGE_BYTES, buffer, at);
      hashes.fill(0, page * HASH_BYTES, (page + 1) * HASH_BYTES);
      if (length === 0) continue;
      this.#offsets[nodes] = at;
      this.#lengths[nodes] = length;
      pageOf[nodes++] = page;
      at += length;
    }
    hashPieces(buffer, this.#offsets, this.#lengths, nodes, this.#names);
    const batches: AwaitedBatch[] = [];
    let batchBytes = Infinity;
    for (let node = 0; node < nodes; node++) {
      const nameAt = node * HASH_BYTES;
      const length = this.#lengths[node];
      copyBytes(this.#names, nameAt, hashes, pageOf[node] * HASH_BYTES, HASH_BYTES);
      if (batchBytes + length > this.#store.maxBatchBytes) {
        batches.push(this.#newBatch(nodes));
        batchBytes = 0;
      }
      batches[batches.length - 1].addBlob(this.#names, nameAt, buffer, this.#offsets[node], length);
      batchBytes += length;
    }
    await Promise.all(batches.map((batch) => batch.appendTo(this.#store)));
    this.#freeBuffers.push(buffer);
  }

  #newBatch(capacity: number): AwaitedBatch {
    const batch = new AwaitedBatch(capacity);
    batch.durable = false;
    batch.privileged = true;
    return batch;
  }
}
