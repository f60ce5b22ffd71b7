import { closeSync, openSync } from "node:fs";
import { constants } from "node:os";
import { expect, test } from "vitest";
import { PacketRing } from "./packet-ring.ts";

test("where the kernel gives no ring there is none, and the reason is known", () => {
  const descriptor = openSync("/dev/null", "r");
  const ring = new PacketRing(descriptor, 65_536);
  expect(ring.fit(1500)).toBe(-constants.errno.ENOTSOCK);
  expect(ring.isOpen).toBe(false);
  expect(ring.fit(9000)).toBe(-constants.errno.ENOTSOCK);
  ring.close();
  closeSync(descriptor);
});
