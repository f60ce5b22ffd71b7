import { AwaitedBatch, type BlobStore, StoreFault } from "../blob/blob-store.ts";
import {
  HASH_BYTES,
  hashesEqual,
  hashFromHex,
  hashKey,
  hashOf,
  hashToHex,
  isNullHash,
} from "../blob/hash.ts";
import type { CasStore } from "./cas-store.ts";
import type { SnapshotRecord } from "./catalog.ts";
import { ARITY } from "./geometry.ts";
import { decodeNode, decodeRoot, PAGE_BYTES, type RootDescriptor } from "./merkle-node.ts";
import { Snapshots } from "./snapshots.ts";

/** Where a snapshot comes from: another store, or a connection to one. */
export interface SnapshotSource {
  readonly record: SnapshotRecord;
  /** The blobs with these names, in their order. They are checked when they arrive. */
  fetch(hashes: readonly Uint8Array[]): Promise<Uint8Array[]>;
  close(): void;
}

export interface TransferProgress {
  /** Blobs that were there already, and that were moved, so far. */
  readonly present: number;
  readonly moved: number;
  readonly movedBytes: number;
}

export interface TransferReport extends TransferProgress {
  /** The record at the receiver; its root hash is that of the source. */
  readonly snapshot: SnapshotRecord;
}

export interface TransferOptions {
  readonly onProgress?: (progress: TransferProgress) => void;
  /** The volume's name at the receiver; the same by default. */
  readonly volume?: string;
}

/** A snapshot of a store in this process as a source. Holds its tree until it is closed. */
export async function snapshotSource(cas: CasStore, reference: string): Promise<SnapshotSource> {
  const record = new Snapshots(cas).get(reference);
  const { top, height } = await cas.loadRoot(record.root_hash);
  const held = { top, height };
  cas.held.add(held);
  return {
    record,
    fetch: (hashes) => Promise.all(hashes.map((hash) => cas.store.get(hash))),
    close: () => {
      cas.held.delete(held);
    },
  };
}

/** Moves a snapshot from one store to another: only what is missing there. */
export async function sendSnapshot(
  from: CasStore,
  reference: string,
  to: CasStore,
  options: TransferOptions = {},
): Promise<TransferReport> {
  const source = await snapshotSource(from, reference);
  try {
    return await receiveSnapshot(to, source, options);
  } finally {
    source.close();
  }
}

/**
 * Fetches what is missing of a snapshot, from its root downwards. Every blob is compared with its
 * name, so a complete tree under the root hash is the proof that nothing differs. When it is
 * interrupted, the next attempt finds what has arrived.
 */
export function receiveSnapshot(
  cas: CasStore,
  source: SnapshotSource,
  options: TransferOptions = {},
): Promise<TransferReport> {
  // A collection meanwhile would take what no snapshot names yet.
  return cas.maintenance.run(async () => {
    const transfer = new Transfer(cas.store, source, options);
    const rootHash = hashFromHex(source.record.root_hash);
    if (rootHash === undefined) throw new StoreFault("damaged", "the source names no root hash");
    const root = await transfer.root(rootHash);
    await transfer.tree(root);
    await cas.store.barrier();
    const { root_hash, timestamp, description, volume, size } = source.record;
    const snapshot = await new Snapshots(cas).adopt(root, {
      root_hash,
      timestamp,
      description,
      volume: options.volume ?? volume,
      size,
      parent: null,
      trigger: "receive",
    });
    return { ...transfer.progress, snapshot };
  });
}

class Transfer {
  readonly progress = { present: 0, moved: 0, movedBytes: 0 };
  readonly #store: BlobStore;
  readonly #source: SnapshotSource;
  readonly #options: TransferOptions;
  /** Nodes that are complete with everything below them. */
  readonly #complete = new Set<string>();
  #blockBytes = 0;

  constructor(store: BlobStore, source: SnapshotSource, options: TransferOptions) {
    this.#store = store;
    this.#source = source;
    this.#options = options;
  }

  async root(rootHash: Uint8Array): Promise<RootDescriptor> {
    const [bytes] = await this.#obtain([rootHash]);
    const root = decodeRoot(bytes);
    if (root === undefined) throw this.#notWhatItShouldBe(rootHash, "the root of a disk");
    this.#blockBytes = root.blockBytes;
    return root;
  }

  async tree({ top, height }: RootDescriptor): Promise<void> {
    if (!isNullHash(top, 0)) await this.#node(top, height);
  }

  async #node(hash: Uint8Array, level: number): Promise<void> {
    const key = hashKey(hash);
    if (this.#complete.has(key)) return;
    const [bytes] = await this.#obtain([hash]);
    const page = new Uint8Array(PAGE_BYTES);
    if (!decodeNode(level, bytes, page, 0)) {
      throw this.#notWhatItShouldBe(hash, `a tree node of level ${level}`);
    }
    const children: Uint8Array[] = [];
    for (let child = 0; child < ARITY; child++) {
      const at = child * HASH_BYTES;
      if (!isNullHash(page, at)) children.push(page.slice(at, at + HASH_BYTES));
    }
    if (level === 1) await this.#blocks(children);
    else for (const child of children) await this.#node(child, level - 1);
    this.#complete.add(key);
    this.#options.onProgress?.(this.progress);
  }

  /** What is stored here already is not moved; a node of that kind is read, for its children. */
  async #obtain(hashes: Uint8Array[]): Promise<Uint8Array[]> {
    const results: Uint8Array[] = [];
    for (const hash of hashes) {
      const local = await this.#store.get(hash).catch(() => undefined);
      if (local === undefined) {
        results.push(...(await this.#move([hash])));
      } else {
        this.progress.present++;
        results.push(local);
      }
    }
    return results;
  }

  async #blocks(hashes: Uint8Array[]): Promise<void> {
    const stored = await Promise.all(hashes.map((hash) => this.#store.exists(hash)));
    const missing = hashes.filter((_, index) => !stored[index]);
    this.progress.present += hashes.length - missing.length;
    await this.#moveAll(missing);
  }

  /** As many at a time as an append can take. */
  async #moveAll(hashes: Uint8Array[]): Promise<void> {
    const atOnce = Math.max(1, Math.floor(this.#store.maxBatchBytes / this.#blockBytes));
    for (let first = 0; first < hashes.length; first += atOnce) {
      await this.#move(hashes.slice(first, first + atOnce));
    }
  }

  /** Fetches blobs, checks them, and appends them: not durable before the barrier at the end. */
  async #move(hashes: Uint8Array[]): Promise<Uint8Array[]> {
    const blobs = await this.#source.fetch(hashes);
    const batch = new AwaitedBatch(hashes.length);
    batch.durable = false;
    hashes.forEach((hash, index) => {
      const data = blobs[index];
      if (data === undefined || !hashesEqual(hashOf(data), 0, hash, 0)) {
        throw this.#notWhatItShouldBe(hash, "what its name says");
      }
      batch.addBlob(hash, 0, data, 0, data.length);
      this.progress.moved++;
      this.progress.movedBytes += data.length;
    });
    await batch.appendTo(this.#store);
    return blobs;
  }

  #notWhatItShouldBe(hash: Uint8Array, what: string): StoreFault {
    return new StoreFault("damaged", `blob ${hashToHex(hash)} from the source is not ${what}`);
  }
}
