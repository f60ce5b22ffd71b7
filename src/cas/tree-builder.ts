import { copyBytes } from "../blob/bytes.ts";
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
 * Regions that are built at the same time: while one waits for its old leaves or for the log, the
 * others go on. Each takes 1 MiB of memory.
 */
const REGIONS_AT_ONCE = 4;

/**
 * Builds the tree that a volume has after the changes of an overlay. Only nodes in which something
 * changed are read and written; the work is done by regions.
 */
export class TreeBuilder {
  readonly #reader: NodeReader;
  readonly #writer: NodeWriter;
  readonly #options: BuildOptions;
  /** Memory for the leaves of a region. */
  readonly #freePages: Uint8Array[] = [];

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
      await this.#buildChildren(node, level, page, first);
    }
    return this.#write(level, page);
  }

  /** Those above regions one after the other, regions several at once. */
  async #buildChildren(
    node: OverlayNode,
    level: number,
    page: Uint8Array,
    first: number,
  ): Promise<void> {
    const children = node.children.entries();
    let failure: unknown;
    const buildSome = async (): Promise<void> => {
      for (const [index, child] of children) {
        if (failure !== undefined) return;
        const at = index * HASH_BYTES;
        const before = page.slice(at, at + HASH_BYTES);
        const childFirst = first + index * spanOf(level - 1);
        page.set(await this.#buildNode(child, level - 1, before, childFirst), at);
      }
    };
    const builders = level - 1 === REGION_LEVEL ? REGIONS_AT_ONCE : 1;
    // None is left behind at work when another one fails.
    const noteFailure = (error: unknown): void => {
      failure ??= error;
    };
    await Promise.all(Array.from({ length: builders }, () => buildSome().catch(noteFailure)));
    if (failure !== undefined) throw failure;
  }

  /** Replaces the leaves of a region that have changed, in the page that names them. */
  async #buildLeaves(region: Region, page: Uint8Array, first: number): Promise<void> {
    await this.#options.pace();
    const leafPages = this.#freePages.pop() ?? new Uint8Array(ARITY * PAGE_BYTES);
    if (region.cleared) page.fill(0);
    const leaves = changedLeaves(region);
    await this.#loadLeaves(region, page, leaves, leafPages);
    await this.#options.pace();
    this.#putEntries(region, leaves, leafPages);
    if (this.#options.leafBuilt !== undefined) {
      const firstLeaf = first / ARITY;
      leaves.forEach((leaf, place) => {
        this.#options.leafBuilt?.(firstLeaf + leaf, leafPages, place * PAGE_BYTES);
      });
    }
    const hashes = new Uint8Array(leaves.length * HASH_BYTES);
    await this.#writer.write(1, leafPages, leaves.length, hashes);
    leaves.forEach((leaf, place) => {
      copyBytes(hashes, place * HASH_BYTES, page, leaf * HASH_BYTES, HASH_BYTES);
    });
    this.#freePages.push(leafPages);
  }

  #putEntries(region: Region, leaves: number[], leafPages: Uint8Array): void {
    const placeOf = new Uint8Array(ARITY);
    leaves.forEach((leaf, place) => {
      placeOf[leaf] = place;
    });
    region.places.forEach((place, block) => {
      const at = placeOf[block >> 7] * PAGE_BYTES + (block & 127) * HASH_BYTES;
      const from = place * HASH_BYTES;
      copyBytes(region.hashes, from, leafPages, at, HASH_BYTES);
      this.#options.visitHash?.(region.hashes, from);
    });
  }

  async #loadLeaves(
    region: Region,
    page: Uint8Array,
    leaves: number[],
    leafPages: Uint8Array,
  ): Promise<void> {
    const wanted: { hashes: Uint8Array; hashOffset: number; place: number }[] = [];
    const changedBlocks = new Uint8Array(ARITY);
    region.places.forEach((_, block) => {
      changedBlocks[Math.floor(block / ARITY)]++;
    });
    leaves.forEach((leaf, place) => {
      const hashOffset = leaf * HASH_BYTES;
      leafPages.fill(0, place * PAGE_BYTES, (place + 1) * PAGE_BYTES);
      // Nothing of an old leaf remains when all its blocks changed: it need not even be readable.
      const isReplaced = region.clearedLeaves?.[leaf] === 1 || changedBlocks[leaf] === ARITY;
      if (isReplaced || isNullHash(page, hashOffset)) return;
      wanted.push({ hashes: page, hashOffset, place });
    });
    const loaded = await this.#reader.loadMany(wanted, 1);
    loaded.forEach((result, index) => {
      if (result instanceof NodeFault) throw result;
      leafPages.set(result, (wanted[index]?.place ?? 0) * PAGE_BYTES);
    });
  }
}

function changedLeaves(region: Region): number[] {
  const isChanged = region.clearedLeaves?.slice() ?? new Uint8Array(ARITY);
  region.places.forEach((_place, block) => {
    isChanged[block >> 7] = 1;
  });
  const leaves: number[] = [];
  isChanged.forEach((changed, leaf) => {
    if (changed === 1) leaves.push(leaf);
  });
  return leaves;
}
