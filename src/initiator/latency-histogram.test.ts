import * as fc from "fast-check";
import { expect, test } from "vitest";
import { LatencyHistogram } from "./latency-histogram.ts";

test("an empty one says zero", () => {
  const histogram = new LatencyHistogram();
  expect([histogram.count, histogram.averageMs, histogram.maximumMs]).toEqual([0, 0, 0]);
  expect(histogram.percentileMs(0.5)).toBe(0);
});

test("percentiles are those of the sorted list, at most 3.2 % too high", () => {
  const latencies = fc.array(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(latencies, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, share) => {
      const histogram = new LatencyHistogram();
      for (const value of values) histogram.add(value);
      const sorted = values.toSorted((a, b) => a - b);
      const exact = sorted[Math.ceil(share * values.length) - 1];
      const found = histogram.percentileMs(share);
      expect(found).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
      expect(found).toBeLessThanOrEqual(exact * 1.032);
      expect(histogram.maximumMs).toBe(sorted.at(-1));
    }),
  );
});

test("two merged are as one that saw everything", () => {
  const [one, other, both] = [1, 2, 3].map(() => new LatencyHistogram());
  for (let value = 1; value <= 1000; value++) {
    (value % 3 === 0 ? one : other).add(value / 7);
    both.add(value / 7);
  }
  one.merge(other);
  expect(one.count).toBe(both.count);
  expect(one.maximumMs).toBe(both.maximumMs);
  expect(one.averageMs).toBeCloseTo(both.averageMs, 9);
  for (const share of [0.01, 0.5, 0.99, 1]) {
    expect(one.percentileMs(share)).toBe(both.percentileMs(share));
  }
});
