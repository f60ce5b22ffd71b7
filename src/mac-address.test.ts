import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatMac, parseMac } from "./mac-address.ts";

describe("MAC addresses", () => {
  test("both separators, either case", () => {
    expect(parseMac("52:54:00:ab:CD:ef")).toBe(0x525400abcdef);
    expect(parseMac("52-54-00-ab-CD-ef")).toBe(0x525400abcdef);
  });

  test.each(["", "52:54:00:ab:cd", "52:54-00:ab:cd:ef", "525400abcdef", "52:54:00:ab:cd:eg"])(
    "%j is not one",
    (text) => {
      expect(parseMac(text)).toBeUndefined();
    },
  );

  test("every 48-bit number survives being written and read", () => {
    fc.assert(
      fc.property(fc.nat(0xffffffffffff), (address) => {
        expect(parseMac(formatMac(address))).toBe(address);
      }),
    );
  });

  test("random text never throws", () => {
    fc.assert(fc.property(fc.string(), (text) => void parseMac(text)));
  });
});
