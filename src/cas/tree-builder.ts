import { HASH_BYTES, isNullHash, NULL_HASH } from "../blob/hash.ts";
import { ARITY, spanOf } from "./geometry.ts";
import { PAGE_BYTES } from "./merkle-node.ts";
import { type NodeReader, NodeFault } from "./node-reader.ts";
import type { NodeWriter } from "./node-writer.ts";
import { type Overlay, type OverlayNode, Region, REGION_LEVEL } from "./overlay.ts";

export interface TreeBase {
  /** Hash of the top node; the null hash for a tree of zeros. */
  readonly top: Uint8Array;
  readonly height: number;
}

export interface BuildOptions {
  /** Called between regions, so that nothing else waits for long. */
  pace: () => Promise<void>;
  /** Called for each hash of the overlay that goes into the tree. */
  visitHash?: (hashes: Uint8Array, offset: number) => void;
  /** Called for each new leaf page: 128 hashes of the blocks from `leaf` * 128 on. */
  leafBuilt?: (leaf: number, page: Uint8Array, pageOffset: number) => void;
}

/**
 * Builds the tree that a volume has after the changes of an overlay. Only nodes in which something
 * changed are read and written; the work is done region by region.
 */
export class TreeBuilder {
  readonly #reader: NodeReader;
  readonly #writer: NodeWriter;
  readonly #options: BuildOptions;
  readonly #pages = new Uint8Array(ARITY * PAGE_BYTES);

  constructor(reader: NodeReader, writer: NodeWriter, options: BuildOptions) {
    this.#reader = reader;
    this.#writer = writer;
    this.#options = options;
  }

  /** The hash of the new top node, at the height given. @throws NodeFault, StoreFault */
  async build(base: TreeBase, overlay: Overlay, height: number): Promise<Uint8Array> {
    const top = await this.#raise(base, height);
    if (overlay.isEmpty) return top;
    if (height >= REGION_LEVEL) return this.#buildNode(overlay.root, height, top, 0);
    // A volume of one leaf: as if it were the first child of a node that is not stored.
    const page = new Uint8Array(PAGE_BYTES);
    page.set(top);
    const region = overlay.root as Region;
    await this.#buildLeaves(region, page, 0);
    return page.slice(0, HASH_BYTES);
  }

  /** The tree of a volume that has grown: the old one is the first child of a higher one. */
  async #raise(base: TreeBase, height: number): Promise<Uint8Array> {
    let top = base.top;
    for (let level = base.height + 1; level <= height; level++) {
      if (isNullHash(top, 0)) return NULL_HASH;
      const page = new Uint8Array(PAGE_BYTES);
      page.set(top);
      top = await this.#write(level, page);
    }
    return top;
  }

  async #write(level: number, page: Uint8Array): Promise<Uint8Array> {
    const hash = new Uint8Array(HASH_BYTES);
    await this.#writer.write(level, page, 1, hash);
    return hash;
  }

  /** @param first block that the node covers */
  async #buildNode(
    node: OverlayNode | Region,
    level: number,
    baseHash: Uint8Array,
    first: number,
  ): Promise<Uint8Array> {
    const startsEmpty = node.cleared || isNullHash(baseHash, 0);
    const page = startsEmpty
      ? new Uint8Array(PAGE_BYTES)
      : await this.#reader.load(baseHash, 0, level);
    if (node instanceof Region) {
      await this.#buildLeaves(node, page, first);
    } else {
      for (const [index, child] of node.children) {
        const at = index * HASH_BYTES;
        const before = page.slice(at, at + HASH_BYTES);
        const childFirst = first + index * spanOf(level - 1);
        page.set(await this.#buildNode(child, level - 1, before, childFirst), at);
      }
    }
    return this.#write(level, page);
  }

  /** Replaces the leaves of a region that have changed, in the page that names them. */
  async #buildLeaves(region: Region, page: Uint8Array, first: number): Promise<void> {
    await this.#options.pace();
    if (region.cleared) page.fill(0);
    const leaves = changedLeaves(region);
    await this.#loadLeaves(region, page, leaves);
    const placeOf = new Map(leaves.map((leaf, place) => [leaf, place]));
    for (const [block, place] of region.places) {
      const at = (placeOf.get(block >> 7) as number) * PAGE_BYTES + (block & 127) * HASH_BYTES;
      const from = place * HASH_BYTES;
      this.#pages.set(region.hashes.subarray(from, from + HASH_BYTES), at);
      this.#options.visitHash?.(region.hashes, from);
    }
    if (this.#options.leafBuilt !== undefined) {
      const firstLeaf = first / ARITY;
      leaves.forEach((leaf, place) => {
        this.#options.leafBuilt?.(firstLeaf + leaf, this.#pages, place * PAGE_BYTES);
      });
    }
    const hashes = new Uint8Array(leaves.length * HASH_BYTES);
    await this.#writer.write(1, this.#pages, leaves.length, hashes);
    leaves.forEach((leaf, place) => {
      page.set(hashes.subarray(place * HASH_BYTES, (place + 1) * HASH_BYTES), leaf * HASH_BYTES);
    });
  }

  async #loadLeaves(region: Region, page: Uint8Array, leaves: number[]): Promise<void> {
    const wanted: { hashes: Uint8Array; hashOffset: number; place: number }[] = [];
    leaves.forEach((leaf, place) => {
      const hashOffset = leaf * HASH_BYTES;
      this.#pages.fill(0, place * PAGE_BYTES, (place + 1) * PAGE_BYTES);
      if (region.clearedLeaves?.[leaf] === 1 || isNullHash(page, hashOffset)) return;
      wanted.push({ hashes: page, hashOffset, place });
    });
    const loaded = await this.#reader.loadMany(wanted, 1);
    loaded.forEach((result, index) => {
      if (result instanceof NodeFault) throw result;
      this.#pages.set(result, (wanted[index]?.place ?? 0) * PAGE_BYTES);
    });
  }
}

function changedLeaves(region: Region): number[] {
  const leaves = new Set<number>();
  region.clearedLeaves?.forEach((isCleared, leaf) => {
    if (isCleared === 1) leaves.add(leaf);
  });
  for (const block of region.places.keys()) leaves.add(block >> 7);
  return [...leaves].toSorted((left, right) => left - right);
}
