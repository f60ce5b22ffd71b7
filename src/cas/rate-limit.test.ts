import { expect, test } from "vitest";
import { RateLimit } from "./rate-limit.ts";

test("work is kept below the rate", async () => {
  const limit = new RateLimit(1_000_000);
  const beganMs = performance.now();
  for (let piece = 0; piece < 5; piece++) await limit.spend(4000);
  expect(performance.now() - beganMs).toBeGreaterThan(15);
});

test("a wait of hours ends with the signal", async () => {
  const limit = new RateLimit(1);
  const controller = new AbortController();
  const waiting = limit.spend(100_000, controller.signal);
  controller.abort();
  await waiting;
});
