import { WriteGroup } from "./write-group.ts";

/** Groups of the usual size are used again. */
export class GroupPool {
  /** How many blocks a group of the usual size has room for. */
  readonly capacity: number;
  readonly #blockBytes: number;
  readonly #mostFree: number;
  readonly #free: WriteGroup[] = [];

  constructor(blockBytes: number, groupBytes: number, mostFree: number) {
    this.capacity = Math.max(4, Math.floor(groupBytes / blockBytes));
    this.#blockBytes = blockBytes;
    this.#mostFree = mostFree;
  }

  /** An empty group with room for at least so many blocks. */
  take(blocks: number): WriteGroup {
    const free = blocks <= this.capacity ? this.#free.pop() : undefined;
    return free ?? new WriteGroup(this.#blockBytes, Math.max(blocks, this.capacity));
  }

  give(group: WriteGroup): void {
    group.reset();
    const isUsual = group.capacity === this.capacity;
    if (isUsual && this.#free.length < this.#mostFree) this.#free.push(group);
  }
}
