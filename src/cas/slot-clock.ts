/**
 * Gives out the slots of a cache of a fixed size. When all are taken, the next one is that which has
 * not been used since the hand passed it last (CLOCK).
 */
export class SlotClock {
  readonly capacity: number;
  readonly #used: Uint8Array;
  #takenSlots = 0;
  #hand = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#used = new Uint8Array(capacity);
  }

  /** The next slot that is taken holds something, which has to be forgotten. */
  get isFull(): boolean {
    return this.#takenSlots === this.capacity;
  }

  use(slot: number): void {
    this.#used[slot] = 1;
  }

  /** The slot counts as not used yet. */
  take(): number {
    if (!this.isFull) return this.#takenSlots++;
    while (this.#used[this.#hand] === 1) {
      this.#used[this.#hand] = 0;
      this.#advance();
    }
    const slot = this.#hand;
    this.#advance();
    return slot;
  }

  #advance(): void {
    this.#hand = this.#hand + 1 === this.capacity ? 0 : this.#hand + 1;
  }

  /** All slots are free again. */
  clear(): void {
    this.#used.fill(0);
    this.#takenSlots = 0;
    this.#hand = 0;
  }
}
