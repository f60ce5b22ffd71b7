/** Of each power of two: 32 buckets keep a value within about 3 %. */
const BUCKETS_IN_OCTAVE = 32;
const OCTAVES = 40;

/** Latencies in buckets that grow with the value, from 1 ns to some 18 minutes, in fixed memory. */
export class LatencyHistogram {
  readonly #counts = new Float64Array(BUCKETS_IN_OCTAVE * OCTAVES);
  #count = 0;
  #sumMs = 0;
  #maximumMs = 0;

  get count(): number {
    return this.#count;
  }

  /** 0 when nothing was added. */
  get averageMs(): number {
    return this.#count === 0 ? 0 : this.#sumMs / this.#count;
  }

  get maximumMs(): number {
    return this.#maximumMs;
  }

  add(latencyMs: number): void {
    this.#count++;
    this.#sumMs += latencyMs;
    if (latencyMs > this.#maximumMs) this.#maximumMs = latencyMs;
    this.#counts[bucketOf(latencyMs)]++;
  }

  /** Adds everything that `other` holds. */
  merge(other: LatencyHistogram): void {
    this.#count += other.#count;
    this.#sumMs += other.#sumMs;
    this.#maximumMs = Math.max(this.#maximumMs, other.#maximumMs);
    for (const [bucket, count] of other.#counts.entries()) this.#counts[bucket] += count;
  }

  /**
   * The latency that a share of all stay below.
   * @param share 0 to 1: 0.99 for p99
   * @returns milliseconds, at most 3 % too high; 0 when nothing was added
   */
  percentileMs(share: number): number {
    const wanted = Math.max(1, Math.ceil(share * this.#count));
    let seen = 0;
    for (const [bucket, count] of this.#counts.entries()) {
      seen += count;
      if (count > 0 && seen >= wanted) return Math.min(upperEndMs(bucket), this.#maximumMs);
    }
    return this.#maximumMs;
  }
}

function bucketOf(latencyMs: number): number {
  const nanoseconds = Math.max(1, latencyMs * 1e6);
  const octave = Math.min(OCTAVES - 1, Math.floor(Math.log2(nanoseconds)));
  const within = Math.floor((nanoseconds / 2 ** octave - 1) * BUCKETS_IN_OCTAVE);
  return octave * BUCKETS_IN_OCTAVE + Math.min(BUCKETS_IN_OCTAVE - 1, Math.max(0, within));
}

function upperEndMs(bucket: number): number {
  const octave = Math.floor(bucket / BUCKETS_IN_OCTAVE);
  const within = bucket % BUCKETS_IN_OCTAVE;
  return (2 ** octave * (1 + (within + 1) / BUCKETS_IN_OCTAVE)) / 1e6;
}
