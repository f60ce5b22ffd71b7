import { expect, test } from "vitest";
import { crashPackedTimes } from "./crash-check.testing.ts";

test("after 800 crashes the same folder has everything, another machine a prefix", async () => {
  expect(await crashPackedTimes(800, 1, false)).toBeGreaterThan(0);
}, 600_000);

test("after 300 crashes another machine has everything under durability = remote", async () => {
  expect(await crashPackedTimes(300, 1000, true)).toBeGreaterThan(0);
}, 600_000);
