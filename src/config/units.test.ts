import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatDuration, formatSize, parseDuration, parseSize } from "./units.ts";

describe("sizes", () => {
  test.each([
    ["0", 0],
    ["4096", 4096],
    ["512B", 512],
    ["16MiB", 16 * 2 ** 20],
    ["16 mib", 16 * 2 ** 20],
    ["10GiB", 10 * 2 ** 30],
    ["1.5GiB", 1.5 * 2 ** 30],
    ["2TiB", 2 * 2 ** 40],
    ["1KB", 1000],
    ["1.5GB", 1_500_000_000],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
  ])("%s is %d octets", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each(["", "MiB", "-1", "1e3", "1.3B", "0x10", "1 PiB", "9007199254740992", "1,5GiB", "∞"])(
    "%j is not a size",
    (text) => {
      expect(parseSize(text)).toBeUndefined();
    },
  );

  test("every number of octets survives being written and read", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(50), (mantissa, shift) => {
        const bytes = Math.floor(mantissa / 2 ** shift) * 2 ** shift;
        expect(parseSize(formatSize(bytes))).toBe(bytes);
      }),
    );
  });
});

describe("durations", () => {
  test.each([
    ["1h", 3_600_000],
    ["1s", 1000],
    ["1.5s", 1500],
    ["250ms", 250],
    ["50us", 0.05],
    ["50µs", 0.05],
    ["2min", 120_000],
    ["1d", 86_400_000],
  ])("%s is %d ms", (text, durationMs) => {
    expect(parseDuration(text)).toBe(durationMs);
  });

  test.each(["", "1", "s", "-1s", "1 fortnight", "1.s", "1S"])("%j is not a duration", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test("every whole number of microseconds survives being written and read", () => {
    fc.assert(
      fc.property(fc.nat(999_999_999_999), (microseconds) => {
        const durationMs = microseconds / 1000;
        expect(parseDuration(formatDuration(durationMs))).toBe(durationMs);
      }),
    );
  });
});

test("random text never throws", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      parseSize(text);
      parseDuration(text);
    }),
  );
});
