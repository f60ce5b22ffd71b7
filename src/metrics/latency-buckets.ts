/**
 * The buckets of every latency histogram: two to an octave, from 8 µs to 16.8 s, so that a quantile
 * is right to a third. Counts of the same buckets can be summed over targets and threads.
 *
 * ```
 *   bucket    0      1       2        3        4     …     42         43
 *   µs      0–8   8–12   12–16    16–24    24–32     …   12.6–16.8 s  more
 * ```
 */
const LEAST_EXPONENT = 3;
const OCTAVES = 21;

export const LATENCY_BUCKETS = 2 * OCTAVES + 2;

/** Where each bucket but the last ends, in microseconds. */
export const LATENCY_BOUNDS_US: readonly number[] = Array.from(
  { length: LATENCY_BUCKETS - 1 },
  boundOf,
);

function boundOf(_: unknown, bucket: number): number {
  if (bucket === 0) return 2 ** LEAST_EXPONENT;
  const octave = 2 ** (LEAST_EXPONENT + ((bucket - 1) >> 1));
  return bucket % 2 === 0 ? 2 * octave : 1.5 * octave;
}

/** @param durationUs whole microseconds, 0 to 2^31 - 1 */
export function latencyBucket(durationUs: number): number {
  const exponent = 31 - Math.clz32(durationUs);
  if (exponent < LEAST_EXPONENT) return 0;
  const half = (durationUs >> (exponent - 1)) & 1;
  return Math.min(2 * (exponent - LEAST_EXPONENT) + half + 1, LATENCY_BUCKETS - 1);
}

/**
 * The latency that a share of the requests did not exceed, in microseconds: interpolated in its
 * bucket. @returns undefined when nothing was counted
 */
export function latencyQuantileUs(counts: ArrayLike<number>, share: number): number | undefined {
  let total = 0;
  for (let bucket = 0; bucket < counts.length; bucket++) total += counts[bucket];
  if (total === 0) return undefined;
  const wanted = share * total;
  let below = 0;
  for (let bucket = 0; bucket < counts.length; bucket++) {
    if (below + counts[bucket] >= wanted && counts[bucket] > 0) {
      const from = bucket === 0 ? 0 : LATENCY_BOUNDS_US[bucket - 1];
      const to = LATENCY_BOUNDS_US[bucket];
      if (bucket >= LATENCY_BOUNDS_US.length) return from;
      return from + (to - from) * ((wanted - below) / counts[bucket]);
    }
    below += counts[bucket];
  }
  return LATENCY_BOUNDS_US.at(-1);
}
