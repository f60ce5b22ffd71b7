import fc from "fast-check";
import { expect, test } from "vitest";
import {
  LATENCY_BOUNDS_US,
  LATENCY_BUCKETS,
  latencyBucket,
  latencyQuantileUs,
} from "./latency-buckets.ts";

test("the bounds grow by a half or a third, to over 16 s", () => {
  expect(LATENCY_BOUNDS_US).toHaveLength(LATENCY_BUCKETS - 1);
  expect(LATENCY_BOUNDS_US.slice(0, 5)).toEqual([8, 12, 16, 24, 32]);
  expect(LATENCY_BOUNDS_US.at(-1)).toBe(2 ** 24);
});

test("each duration is in the bucket whose bounds are around it", () => {
  const duration = fc.oneof(
    fc.nat(2 ** 31 - 1),
    fc.nat(40),
    fc.constantFrom(...LATENCY_BOUNDS_US.flatMap((bound) => [bound - 1, bound, bound + 1])),
  );
  fc.assert(
    fc.property(duration, (us) => {
      const bucket = latencyBucket(us);
      const from = bucket === 0 ? 0 : LATENCY_BOUNDS_US[bucket - 1];
      const to = bucket < LATENCY_BOUNDS_US.length ? LATENCY_BOUNDS_US[bucket] : Infinity;
      expect(us).toBeGreaterThanOrEqual(from);
      expect(us).toBeLessThan(to);
    }),
  );
});

test("a quantile is in the bucket of the duration at its rank", () => {
  const shares = fc.constantFrom(0.5, 0.9, 0.99, 0.999);
  fc.assert(
    fc.property(fc.array(fc.nat(2 ** 24 - 1), { minLength: 1 }), shares, (durations, share) => {
      const counts = new Float64Array(LATENCY_BUCKETS);
      for (const us of durations) counts[latencyBucket(us)]++;
      const sorted = durations.toSorted((left, right) => left - right);
      const exact = sorted[Math.ceil(share * sorted.length) - 1];
      const bucket = latencyBucket(exact);
      const quantile = latencyQuantileUs(counts, share) ?? -1;
      expect(quantile).toBeGreaterThanOrEqual(bucket === 0 ? 0 : LATENCY_BOUNDS_US[bucket - 1]);
      expect(quantile).toBeLessThanOrEqual(LATENCY_BOUNDS_US[bucket]);
    }),
  );
});

test("nothing counted has no quantile; what took longer than the last bound is shown as that", () => {
  const counts = new Float64Array(LATENCY_BUCKETS);
  expect(latencyQuantileUs(counts, 0.5)).toBeUndefined();
  counts[LATENCY_BUCKETS - 1] = 3;
  expect(latencyQuantileUs(counts, 0.5)).toBe(2 ** 24);
});
