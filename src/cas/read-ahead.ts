/** Blocks to read ahead at first, and at most. */
const FIRST_WINDOW = 16;
const LARGEST_WINDOW = 512;
/** Requests that follow each other before a reader counts as sequential. */
const STREAK = 2;

export interface BlockRange {
  readonly start: number;
  readonly end: number;
}

const NOTHING: BlockRange = { start: 0, end: 0 };

/**
 * Notices a sequential reader, and says what it will want next: more each time it is right. While
 * everything is in the cache anyway it says nothing.
 */
export class ReadAhead {
  /** A read had to wait, or what was to be read ahead last time was not in the cache. */
  isUseful = true;
  readonly #largest: number;
  #expected = -1;
  #streak = 0;
  #window = FIRST_WINDOW;
  #until = 0;

  /** @param cacheBlocks what is read ahead must not push out itself */
  constructor(cacheBlocks: number) {
    this.#largest = Math.min(LARGEST_WINDOW, Math.floor(cacheBlocks / 8));
  }

  /** After a read of [start, end): the blocks to fetch now. */
  next(start: number, end: number, blocks: number): BlockRange {
    const follows = start === this.#expected || start === this.#expected - 1;
    this.#expected = end;
    if (!follows) {
      this.#streak = 0;
      this.#window = FIRST_WINDOW;
      this.#until = 0;
      return NOTHING;
    }
    if (++this.#streak < STREAK || this.#largest === 0 || !this.isUseful) return NOTHING;
    // Half of the window is still ahead: enough for now.
    if (this.#until - end > this.#window / 2) return NOTHING;
    const from = Math.max(this.#until, end);
    this.#window = Math.min(this.#window * 2, this.#largest);
    this.#until = Math.min(end + this.#window, blocks);
    return from < this.#until ? { start: from, end: this.#until } : NOTHING;
  }
}
