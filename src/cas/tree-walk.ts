import { HASH_BYTES, hashesEqual, isNullHash } from "../blob/hash.ts";
import { ARITY, spanOf } from "./geometry.ts";
import { nextChild, PAGE_BYTES, pageWords } from "./merkle-node.ts";
import { NodeFault, type NodeReader } from "./node-reader.ts";

export interface TreeVisitor {
  /** Whether to read this node and go on below it. `first` is the first block that it covers. */
  enter?(level: number, hashes: Uint8Array, hashOffset: number, first: number): boolean;
  /** The 128 hashes of the blocks from `first` on. */
  leaf?(page: Uint8Array, first: number): Promise<void> | void;
  /** A node could not be read; without this the walk ends with the fault. */
  unreadable?(fault: NodeFault, first: number, blocks: number): void;
  pace?(): Promise<void>;
}

/** Visits a tree from left to right; subtrees of zeros are skipped. */
export async function walkTree(
  reader: NodeReader,
  top: Uint8Array,
  height: number,
  visitor: TreeVisitor,
): Promise<void> {
  if (isNullHash(top, 0) || visitor.enter?.(height, top, 0, 0) === false) return;
  await new TreeWalk(reader, visitor).descend([{ hashes: top, hashOffset: 0, first: 0 }], height);
}

interface Node {
  readonly hashes: Uint8Array;
  readonly hashOffset: number;
  readonly first: number;
}

class TreeWalk {
  readonly #reader: NodeReader;
  readonly #visitor: TreeVisitor;

  constructor(reader: NodeReader, visitor: TreeVisitor) {
    this.#reader = reader;
    this.#visitor = visitor;
  }

  /** Leaves are read up to 128 at a time, the nodes above them one by one. */
  async descend(nodes: readonly Node[], level: number): Promise<void> {
    if (level === 1) {
      await this.#leaves(nodes);
      return;
    }
    for (const node of nodes) {
      const page = this.#accept(await this.#reader.loadMany([node], level), 0, node, level);
      if (page === undefined) continue;
      await this.descend(this.#children(page, node.first, level), level - 1);
    }
  }

  async #leaves(nodes: readonly Node[]): Promise<void> {
    const loaded = await this.#reader.loadMany(nodes, 1);
    for (const [index, node] of nodes.entries()) {
      const page = this.#accept(loaded, index, node, 1);
      if (page !== undefined) await this.#visitor.leaf?.(page, node.first);
    }
    await this.#visitor.pace?.();
  }

  #accept(
    loaded: (Uint8Array | NodeFault)[],
    index: number,
    node: Node,
    level: number,
  ): Uint8Array | undefined {
    const result = loaded[index];
    if (!(result instanceof NodeFault)) return result;
    if (this.#visitor.unreadable === undefined) throw result;
    this.#visitor.unreadable(result, node.first, spanOf(level));
    return undefined;
  }

  #children(page: Uint8Array, first: number, level: number): Node[] {
    const children: Node[] = [];
    const span = spanOf(level - 1);
    const words = pageWords(page);
    for (let child = nextChild(words, 0); child < ARITY; child = nextChild(words, child + 1)) {
      const hashOffset = child * HASH_BYTES;
      const childFirst = first + child * span;
      const enters = this.#visitor.enter?.(level - 1, page, hashOffset, childFirst) ?? true;
      if (enters) children.push({ hashes: page, hashOffset, first: childFirst });
    }
    return children;
  }
}

export interface TreeTop {
  readonly top: Uint8Array;
  readonly height: number;
}

/**
 * Calls back for each range of blocks that differs between two trees of the same block size, from
 * left to right; neighbouring ranges are not joined. Equal subtrees are never read.
 */
export async function diffTrees(
  reader: NodeReader,
  left: TreeTop,
  right: TreeTop,
  changed: (first: number, count: number) => void,
): Promise<void> {
  const height = Math.max(left.height, right.height);
  const diff = new TreeDiff(reader, changed);
  await diff.compare(await diff.at(left, height), 0, await diff.at(right, height), 0, height, 0);
}

class TreeDiff {
  readonly #reader: NodeReader;
  readonly #changed: (first: number, count: number) => void;
  /** Pages of nodes that are not stored: those above the top of the lower tree. */
  readonly #virtual = new Map<Uint8Array, Uint8Array>();

  constructor(reader: NodeReader, changed: (first: number, count: number) => void) {
    this.#reader = reader;
    this.#changed = changed;
  }

  /** A name for the tree at a greater height; `#page` knows what is behind it. */
  async at(tree: TreeTop, height: number): Promise<Uint8Array> {
    let top = tree.top;
    for (let level = tree.height; level < height && !isNullHash(top, 0); level++) {
      const page = new Uint8Array(PAGE_BYTES);
      page.set(top);
      // Stands for a node; no stored node has this name.
      top = new Uint8Array(HASH_BYTES).fill(0xff);
      top[0] = level;
      this.#virtual.set(top, page);
    }
    return top;
  }

  async compare(
    left: Uint8Array,
    leftOffset: number,
    right: Uint8Array,
    rightOffset: number,
    level: number,
    first: number,
  ): Promise<void> {
    if (hashesEqual(left, leftOffset, right, rightOffset)) return;
    const span = spanOf(level);
    if (level === 0) {
      this.#changed(first, 1);
      return;
    }
    if (isNullHash(left, leftOffset) && isNullHash(right, rightOffset)) return;
    const leftPage = await this.#page(left, leftOffset, level);
    const rightPage = await this.#page(right, rightOffset, level);
    for (let child = 0; child < ARITY; child++) {
      const at = child * HASH_BYTES;
      if (hashesEqual(leftPage, at, rightPage, at)) continue;
      const childFirst = first + child * (span / ARITY);
      if (level === 1) this.#changed(childFirst, 1);
      else
        await this.compare(
          this.#name(leftPage, at),
          0,
          this.#name(rightPage, at),
          0,
          level - 1,
          childFirst,
        );
    }
  }

  /** The name in a page; the virtual one itself where there is one. */
  #name(page: Uint8Array, at: number): Uint8Array {
    if (at === 0) {
      for (const name of this.#virtual.keys()) if (hashesEqual(page, 0, name, 0)) return name;
    }
    return page.subarray(at, at + HASH_BYTES);
  }

  async #page(hashes: Uint8Array, offset: number, level: number): Promise<Uint8Array> {
    if (isNullHash(hashes, offset)) return new Uint8Array(PAGE_BYTES);
    const virtual = this.#virtual.get(hashes);
    return virtual ?? (await this.#reader.load(hashes, offset, level));
  }
}
