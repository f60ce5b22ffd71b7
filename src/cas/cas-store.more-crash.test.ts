import { expect, test } from "vitest";
import { crashTimes } from "./crash-check.testing.ts";

// The other half of cas-store.crash.test.ts.
test("after 5000 crashes everything acknowledged is there, and nothing else", async () => {
  expect(await crashTimes(5000, 100001)).toBeGreaterThan(0);
}, 600_000);
