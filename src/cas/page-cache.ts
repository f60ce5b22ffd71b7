import { shim } from "../native/shim.ts";
import { PAGE_BYTES } from "./merkle-node.ts";
import { SlotClock } from "./slot-clock.ts";

/**
 * Leaves of a volume's tree by their place: leaf i holds the hashes of the blocks from i * 128 on.
 * It always speaks of the tree that the volume has now; whoever changes that changes this.
 */
export class PageCache {
  readonly capacity: number;
  readonly #pages: Uint8Array;
  /** The same memory in words. */
  readonly words: Uint32Array;
  readonly #slots = new Map<number, number>();
  readonly #leaves: Float64Array;
  readonly #clock: SlotClock;
  /** What was found last: neighbouring blocks are asked for one after the other. */
  #lastLeaf = -1;
  #lastSlot = 0;

  constructor(budgetBytes: number) {
    this.capacity = Math.max(4, Math.floor(budgetBytes / (PAGE_BYTES + 64)));
    this.#pages = new Uint8Array(shim.mapMemory(this.capacity * PAGE_BYTES));
    this.words = new Uint32Array(this.#pages.buffer);
    this.#leaves = new Float64Array(this.capacity);
    this.#clock = new SlotClock(this.capacity);
  }

  /** The pages, one after the other. */
  get pages(): Uint8Array {
    return this.#pages;
  }

  /** Where in `pages` the leaf begins, or -1. */
  find(leaf: number): number {
    if (leaf === this.#lastLeaf) return this.#lastSlot * PAGE_BYTES;
    const slot = this.#slots.get(leaf);
    if (slot === undefined) return -1;
    this.#clock.use(slot);
    this.#lastLeaf = leaf;
    this.#lastSlot = slot;
    return slot * PAGE_BYTES;
  }

  put(leaf: number, page: Uint8Array, pageOffset: number): void {
    let slot = this.#slots.get(leaf);
    if (slot === undefined) {
      slot = this.#takeSlot();
      this.#slots.set(leaf, slot);
      this.#leaves[slot] = leaf;
    }
    this.#pages.set(page.subarray(pageOffset, pageOffset + PAGE_BYTES), slot * PAGE_BYTES);
  }

  /** The volume has another tree. */
  clear(): void {
    this.#lastLeaf = -1;
    this.#slots.clear();
    this.#clock.clear();
  }

  #takeSlot(): number {
    if (!this.#clock.isFull) return this.#clock.take();
    const slot = this.#clock.take();
    if (slot === this.#lastSlot) this.#lastLeaf = -1;
    this.#slots.delete(this.#leaves[slot]);
    return slot;
  }
}
