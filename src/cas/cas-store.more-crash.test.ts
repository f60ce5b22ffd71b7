import { expect, test } from "vitest";
import { crashTimes } from "./crash-check.testing.ts";

// The other half of cas-store.crash.test.ts.
test("the same on a disk whose writes and syncs fail now and then", async () => {
  expect(await crashTimes(5000, { firstSeed: 100001, isFaulty: true })).toBeGreaterThan(0);
}, 600_000);
