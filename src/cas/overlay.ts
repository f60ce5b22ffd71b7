import { HASH_BYTES, isNullHash } from "../blob/hash.ts";
import { ARITY, spanOf } from "./geometry.ts";

/** A region is what is below one node of this level: 16384 blocks. */
export const REGION_LEVEL = 2;

export const Found = { nothing: 0, hash: 1, zero: 2 } as const;
export type Found = (typeof Found)[keyof typeof Found];

/** What has changed in 16384 blocks. */
export class Region {
  /** The whole region was zeroed before what follows. */
  cleared = false;
  /** Leaves (128 blocks) that were zeroed before what follows; one byte each. */
  clearedLeaves: Uint8Array | undefined;
  /** Block within the region → place in `hashes`. */
  readonly places = new Map<number, number>();
  hashes = new Uint8Array(0);
  #used = 0;

  set(block: number, hashes: Uint8Array, hashOffset: number): void {
    let place = this.places.get(block);
    if (place === undefined) {
      if (this.places.size === 0) this.#used = 0;
      place = this.#used++;
      if (place * HASH_BYTES === this.hashes.length) this.#grow();
      this.places.set(block, place);
    }
    const at = place * HASH_BYTES;
    for (let byte = 0; byte < HASH_BYTES; byte++)
      this.hashes[at + byte] = hashes[hashOffset + byte];
  }

  #grow(): void {
    const larger = new Uint8Array(Math.max(4 * HASH_BYTES, this.hashes.length * 2));
    larger.set(this.hashes);
    this.hashes = larger;
  }

  /** @returns how many entries it removed */
  clear(start: number, end: number): number {
    const before = this.places.size;
    if (this.places.size < end - start) {
      for (const block of this.places.keys()) {
        if (block >= start && block < end) this.places.delete(block);
      }
    } else {
      for (let block = start; block < end; block++) this.places.delete(block);
    }
    return before - this.places.size;
  }
}

/** A node above the regions: only children in which something has changed. */
export class OverlayNode {
  readonly level: number;
  cleared = false;
  readonly children = new Map<number, OverlayNode | Region>();

  constructor(level: number) {
    this.level = level;
  }
}

export interface OverlayVisitor {
  /** Blocks [first, first + count) were zeroed, before the entries that follow. */
  cleared(first: number, count: number): void;
  entry(block: number, hashes: Uint8Array, hashOffset: number): void;
}

/**
 * The changes of a volume since its tree was built: block → hash, and ranges that were zeroed. It
 * is a tree of the same shape, so that zeroing any range costs at most a few hundred steps a level.
 */
export class Overlay {
  entryCount = 0;
  /** A node as a whole was zeroed: leaves below it have changed that nothing here names. */
  hasClearedNodes = false;
  #root: OverlayNode | Region;
  #level: number;
  #isEmpty = true;

  /** @param height of the volume's tree */
  constructor(height: number) {
    this.#level = Math.max(REGION_LEVEL, height);
    this.#root = makeNode(this.#level);
  }

  get root(): OverlayNode | Region {
    return this.#root;
  }

  get isEmpty(): boolean {
    return this.#isEmpty;
  }

  /** The volume has grown: what there is becomes the first child of a higher tree. */
  raise(height: number): void {
    while (this.#level < height) {
      const above = new OverlayNode(++this.#level);
      if (!this.#isEmpty) above.children.set(0, this.#root);
      this.#root = above;
    }
  }

  lookup(block: number, target: Uint8Array, targetOffset: number): Found {
    let node = this.#root;
    let within = block;
    while (node instanceof OverlayNode) {
      const span = spanOf(node.level - 1);
      const child = node.children.get(Math.floor(within / span));
      if (child === undefined) return node.cleared ? Found.zero : Found.nothing;
      within %= span;
      node = child;
    }
    const place = node.places.get(within);
    if (place === undefined) {
      const isCleared = node.cleared || node.clearedLeaves?.[within >> 7] === 1;
      return isCleared ? Found.zero : Found.nothing;
    }
    const at = place * HASH_BYTES;
    if (isNullHash(node.hashes, at)) return Found.zero;
    for (let byte = 0; byte < HASH_BYTES; byte++) {
      target[targetOffset + byte] = node.hashes[at + byte];
    }
    return Found.hash;
  }

  /** The null hash stands for a block of zeros. */
  set(block: number, hashes: Uint8Array, hashOffset: number): void {
    this.#isEmpty = false;
    let node = this.#root;
    let within = block;
    while (node instanceof OverlayNode) {
      const span = spanOf(node.level - 1);
      const index = Math.floor(within / span);
      let child = node.children.get(index);
      if (child === undefined) {
        child = makeNode(node.level - 1);
        child.cleared = node.cleared;
        node.children.set(index, child);
      }
      within %= span;
      node = child;
    }
    const before = node.places.size;
    node.set(within, hashes, hashOffset);
    this.entryCount += node.places.size - before;
  }

  clear(first: number, count: number): void {
    if (count === 0) return;
    this.#isEmpty = false;
    const end = first + count;
    if (first === 0 && end >= spanOf(this.#level)) {
      this.#root = makeNode(this.#level);
      this.#root.cleared = true;
      this.hasClearedNodes = true;
      this.entryCount = 0;
      return;
    }
    this.#clearIn(this.#root, first, Math.min(end, spanOf(this.#level)));
  }

  #clearIn(node: OverlayNode | Region, start: number, end: number): void {
    if (node instanceof Region) {
      this.#clearInRegion(node, start, end);
      return;
    }
    const span = spanOf(node.level - 1);
    for (let index = Math.floor(start / span); index * span < end; index++) {
      const from = Math.max(0, start - index * span);
      const to = Math.min(span, end - index * span);
      let child = node.children.get(index);
      if (from === 0 && to === span) {
        if (child !== undefined) this.entryCount -= entriesIn(child);
        if (node.cleared) {
          node.children.delete(index);
          continue;
        }
        child = makeNode(node.level - 1);
        child.cleared = true;
        this.hasClearedNodes = true;
        node.children.set(index, child);
        continue;
      }
      if (child === undefined) {
        if (node.cleared) continue;
        child = makeNode(node.level - 1);
        node.children.set(index, child);
      }
      this.#clearIn(child, from, to);
    }
  }

  #clearInRegion(region: Region, start: number, end: number): void {
    this.entryCount -= region.clear(start, end);
    if (region.cleared) return;
    for (let leaf = start >> 7; leaf * ARITY < end; leaf++) {
      const from = Math.max(start, leaf * ARITY);
      const to = Math.min(end, (leaf + 1) * ARITY);
      if (to - from === ARITY) {
        region.clearedLeaves ??= new Uint8Array(ARITY);
        region.clearedLeaves[leaf] = 1;
        continue;
      }
      if (region.clearedLeaves?.[leaf] === 1) continue;
      for (let block = from; block < to; block++) {
        region.set(block, ZERO_ENTRY, 0);
        this.entryCount++;
      }
    }
  }

  /** All changes, in an order in which they can be applied again. */
  visit(visitor: OverlayVisitor): void {
    visitNode(this.#root, this.#level, 0, visitor);
  }

  /** Adds newer changes on top of these. */
  absorb(newer: Overlay): void {
    newer.visit({
      cleared: (first, count) => this.clear(first, count),
      entry: (block, hashes, hashOffset) => this.set(block, hashes, hashOffset),
    });
  }

  /** All regions that hold entries, now and those that come while this runs. */
  *regions(): Generator<Region> {
    yield* regionsOf(this.#root);
  }
}

const ZERO_ENTRY = new Uint8Array(HASH_BYTES);

function makeNode(level: number): OverlayNode | Region {
  return level === REGION_LEVEL ? new Region() : new OverlayNode(level);
}

function entriesIn(node: OverlayNode | Region): number {
  if (node instanceof Region) return node.places.size;
  let entries = 0;
  for (const child of node.children.values()) entries += entriesIn(child);
  return entries;
}

function* regionsOf(node: OverlayNode | Region): Generator<Region> {
  if (node instanceof Region) {
    yield node;
    return;
  }
  for (const child of node.children.values()) yield* regionsOf(child);
}

function visitNode(
  node: OverlayNode | Region,
  level: number,
  first: number,
  visitor: OverlayVisitor,
): void {
  if (node.cleared) visitor.cleared(first, spanOf(level));
  if (node instanceof OverlayNode) {
    for (const [index, child] of node.children) {
      visitNode(child, level - 1, first + index * spanOf(level - 1), visitor);
    }
    return;
  }
  node.clearedLeaves?.forEach((isCleared, leaf) => {
    if (isCleared === 1) visitor.cleared(first + leaf * ARITY, ARITY);
  });
  for (const [block, place] of node.places) {
    visitor.entry(first + block, node.hashes, place * HASH_BYTES);
  }
}
