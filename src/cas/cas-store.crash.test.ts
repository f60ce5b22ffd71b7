import { expect, test } from "vitest";
import { crashTimes } from "./crash-check.testing.ts";

// Half of 10,000; the other half is in cas-store.more-crash.test.ts, to run beside this one.
test("after 5000 crashes everything acknowledged is there, and nothing else", async () => {
  expect(await crashTimes(5000, { firstSeed: 1, isFaulty: false })).toBeGreaterThan(0);
}, 600_000);
