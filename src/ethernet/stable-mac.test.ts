import * as fc from "fast-check";
import { expect, test } from "vitest";
import { stableMac } from "./stable-mac.ts";

test("is locally administered, unicast, and never in the range of a TAP's kernel end", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (host, bridge) => {
      const mac = stableMac(host, bridge);
      expect(mac).toHaveLength(6);
      expect(mac[0] & 0x83).toBe(0x02);
    }),
  );
});

test("depends on the words and where they end", () => {
  expect(stableMac("host", "br0")).toEqual(stableMac("host", "br0"));
  expect(stableMac("host", "br0")).not.toEqual(stableMac("host", "br1"));
  expect(stableMac("hostb", "r0")).not.toEqual(stableMac("host", "br0"));
});
