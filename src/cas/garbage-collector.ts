import { MARK_KEPT, StoreFault, type SweepReport } from "../blob/blob-store.ts";
import { HASH_BYTES, hashFromHex, hashToHex, isNullHash } from "../blob/hash.ts";
import type { CasStore } from "./cas-store.ts";
import { ARITY } from "./geometry.ts";
import { nextChild, pageWords } from "./merkle-node.ts";
import { NodeReader } from "./node-reader.ts";
import type { Overlay } from "./overlay.ts";
import { Pacer } from "../blob/pacer.ts";
import { walkTree } from "./tree-walk.ts";

/** The mark of a node whose children have been marked, too. */
const MARK_TRAVERSED = 2;
const DEFAULT_LIVE_THRESHOLD = 0.5;

export interface CollectionProgress {
  readonly phase: "mark" | "sweep";
  /** Blobs found alive so far, of about so many. */
  readonly marked: number;
  readonly blobs: number;
}

export interface CollectionOptions {
  readonly onProgress?: (progress: CollectionProgress) => void;
  /** Segments with less than this share of live bytes are rewritten. */
  readonly liveThreshold?: number;
  /** Ends the collection early, between two steps; `collect` then rejects with its reason. */
  readonly signal?: AbortSignal;
}

export interface CollectionReport extends SweepReport {
  readonly liveBlobs: number;
}

interface Tree {
  readonly top: Uint8Array;
  readonly height: number;
}

/**
 * Gives back what no volume and no snapshot names, while all of them are used.
 *
 * Marks begin from the trees as they are at one moment, and from the changes on top of them. From
 * that moment on whatever is put, or found to be stored already, counts as alive, so nothing can
 * come into use unseen. Nothing is deleted unless every tree could be read.
 */
export class GarbageCollector {
  readonly #cas: CasStore;
  #marked = 0;

  constructor(cas: CasStore) {
    this.#cas = cas;
  }

  /** @throws StoreFault when something cannot be read; then nothing was deleted */
  collect(options: CollectionOptions = {}): Promise<CollectionReport> {
    return this.#cas.maintenance.run(async () => {
      // Twice: what only the checkpoint before the last needs may go, too.
      await this.#cas.checkpoint();
      await this.#cas.checkpoint();
      try {
        return await this.#collect(options);
      } finally {
        this.#cas.isCollecting = false;
        this.#cas.store.endMarking();
      }
    });
  }

  async #collect(options: CollectionOptions): Promise<CollectionReport> {
    const { store } = this.#cas;
    this.#marked = 0;
    // Between trees: while one is being built its nodes hang from nothing.
    const { trees, roots } = await this.#cas.mutex.run(async () => {
      store.beginMarking(true);
      this.#cas.isCollecting = true;
      return { trees: this.#trees(), roots: this.#roots() };
    });
    // Appends from before that moment have taken effect after this.
    await store.barrier();
    const report = (phase: "mark" | "sweep"): void => {
      options.signal?.throwIfAborted();
      const { blobs } = store.statistics;
      options.onProgress?.({ phase, marked: this.#marked, blobs });
    };
    await this.#markOverlays();
    await this.#markRoots(roots, () => report("mark"));
    for (const tree of trees) await this.#markTree(tree, () => report("mark"));
    // Reads that began before the marks may still want what is not marked.
    for (const volume of this.#cas.openVolumes) await volume.reader.drain();
    await store.barrier();
    const pacer = new Pacer();
    const sweep = await store.sweep({
      liveThreshold: options.liveThreshold ?? DEFAULT_LIVE_THRESHOLD,
      pace: async () => {
        report("sweep");
        await pacer.pace();
      },
    });
    return { ...sweep, liveBlobs: this.#marked };
  }

  /** The trees of all volumes, of open snapshots, and those that somebody is reading. */
  #trees(): Tree[] {
    const { catalog, openVolumes, held } = this.#cas;
    const trees: Tree[] = [...held];
    for (const { base } of catalog.volumes.values()) trees.push(base);
    for (const { state } of openVolumes) trees.push(state.base);
    return trees;
  }

  async #markOverlays(): Promise<void> {
    const pacer = new Pacer();
    const overlays: Overlay[] = [];
    for (const { current, frozen } of this.#cas.catalog.volumes.values()) {
      overlays.push(current);
      if (frozen !== undefined) overlays.push(frozen);
    }
    for (const overlay of overlays) {
      for (const region of overlay.regions()) {
        for (const place of region.places.values()) {
          this.#markBlock(region.hashes, place * HASH_BYTES);
        }
        await pacer.pace();
      }
    }
  }

  /** Also of snapshots that are deleted meanwhile: a clone may be all that is left of one. */
  #roots(): string[] {
    return [...this.#cas.catalog.snapshots.values()].map(({ root_hash }) => root_hash);
  }

  async #markRoots(roots: string[], report: () => void): Promise<void> {
    for (const rootHash of roots) {
      const root = await this.#cas.loadRoot(rootHash);
      this.#markBlock(hashFromHex(rootHash) as Uint8Array, 0);
      await this.#markTree(root, report);
    }
  }

  async #markTree({ top, height }: Tree, report: () => void): Promise<void> {
    const { store } = this.#cas;
    const pacer = new Pacer();
    await walkTree(new NodeReader(store), top, height, {
      enter: (_level, hashes, offset) => {
        const before = store.exchangeMark(hashes, offset, MARK_TRAVERSED);
        if (before < 0) throw missing(hashes, offset);
        if (before === 0) this.#marked++;
        return before !== MARK_TRAVERSED;
      },
      leaf: (page) => {
        const words = pageWords(page);
        for (let child = nextChild(words, 0); child < ARITY; child = nextChild(words, child + 1)) {
          this.#markBlock(page, child * HASH_BYTES);
        }
        return pacer.pace();
      },
      pace: async () => report(),
    });
  }

  #markBlock(hashes: Uint8Array, offset: number): void {
    if (isNullHash(hashes, offset)) return;
    const before = this.#cas.store.exchangeMark(hashes, offset, MARK_KEPT);
    if (before < 0) throw missing(hashes, offset);
    if (before === 0) this.#marked++;
  }
}

function missing(hashes: Uint8Array, offset: number): StoreFault {
  return new StoreFault("missing", `blob ${hashToHex(hashes, offset)} is not stored`);
}
