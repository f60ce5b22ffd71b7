/** Milliseconds that only grow. */
export type MonotonicClock = () => number;

export interface RateLimit {
  /** Lines of one kind that may follow each other at once. */
  readonly burst: number;
  /** After the burst: one line of that kind in this time. */
  readonly intervalMs: number;
}

const DEFAULT_LIMIT: RateLimit = { burst: 5, intervalMs: 10_000 };

/** How many lines may be written of what anybody on the wire can cause, kind by kind. */
export class LineBudget {
  readonly #clock: MonotonicClock;
  readonly #limit: RateLimit;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: MonotonicClock = () => performance.now(), limit: RateLimit = DEFAULT_LIMIT) {
    this.#clock = clock;
    this.#limit = limit;
  }

  /**
   * Asks for one line.
   * @param kind one of a fixed few: a kind made from what a frame holds would grow without bound
   * @returns how many lines were left out since the last one; undefined: leave this one out as well
   */
  take(kind: string): number | undefined {
    const bucket = this.#bucket(kind);
    const { burst, intervalMs } = this.#limit;
    const now = this.#clock();
    bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.filledAtMs) / intervalMs);
    bucket.filledAtMs = now;
    if (bucket.tokens < 1) {
      bucket.suppressed++;
      return undefined;
    }
    bucket.tokens--;
    const { suppressed } = bucket;
    bucket.suppressed = 0;
    return suppressed;
  }

  #bucket(kind: string): Bucket {
    const known = this.#buckets.get(kind);
    if (known !== undefined) return known;
    const bucket = { tokens: this.#limit.burst, filledAtMs: this.#clock(), suppressed: 0 };
    this.#buckets.set(kind, bucket);
    return bucket;
  }
}

interface Bucket {
  tokens: number;
  filledAtMs: number;
  /** Lines left out since the last one written. */
  suppressed: number;
}
