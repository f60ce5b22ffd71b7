import { array, assert, integer, property } from "fast-check";
import { expect, test } from "vitest";
import { pairedRatio, relativeSpread, summarise } from "./statistics.ts";

test("the median of an odd number of rounds is the middle one, of an even number the mean of two", () => {
  expect(summarise([9, 1, 5])).toEqual({ median: 5, lowest: 1, highest: 9 });
  expect(summarise([4, 1, 2, 100])).toEqual({ median: 3, lowest: 1, highest: 100 });
  expect(summarise([7])).toEqual({ median: 7, lowest: 7, highest: 7 });
});

test("no rounds have no median", () => {
  expect(() => summarise([])).toThrow(RangeError);
});

test("half of the values are on either side of the median, and the input keeps its order", () => {
  assert(
    property(array(integer(), { minLength: 1, maxLength: 50 }), (values) => {
      const before = [...values];
      const { median, lowest, highest } = summarise(values);
      expect(values).toEqual(before);
      expect(values.filter((value) => value < median).length).toBeLessThanOrEqual(
        values.length / 2,
      );
      expect(values.filter((value) => value > median).length).toBeLessThanOrEqual(
        values.length / 2,
      );
      expect(lowest).toBe(Math.min(...values));
      expect(highest).toBe(Math.max(...values));
    }),
  );
});

test("the spread is half of the range, in proportion to the median", () => {
  expect(relativeSpread({ median: 200, lowest: 190, highest: 230 })).toBeCloseTo(0.1);
  expect(relativeSpread({ median: 0, lowest: 0, highest: 0 })).toBe(0);
});

test("a ratio compares rounds of the same number, so a slow round does not tilt it", () => {
  const ours = new Map([
    [0, 300],
    [1, 30],
    [2, 330],
  ]);
  const theirs = new Map([
    [0, 200],
    [1, 20],
    [2, 220],
  ]);
  expect(pairedRatio(ours, theirs)).toEqual({ median: 1.5, lowest: 1.5, highest: 1.5 });
});

test("rounds without a partner are left out of a ratio", () => {
  const ours = new Map([
    [0, 100],
    [1, 999],
    [2, 999],
  ]);
  const theirs = new Map([
    [0, 50],
    [2, 0],
  ]);
  expect(pairedRatio(ours, theirs)?.median).toBe(2);
  expect(pairedRatio(ours, new Map())).toBeUndefined();
});
