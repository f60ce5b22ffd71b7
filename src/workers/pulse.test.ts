import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { beat, Pulse } from "./pulse.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("a worker that beats keeps its pulse, and one that stops loses it", () => {
  let lost = 0;
  const pulse = new Pulse(() => lost++);
  beat(pulse.memory);
  vi.advanceTimersByTime(600_000);
  expect(pulse.isLost).toBe(false);
  // Its event loop stands still: its timers fire no more.
  vi.clearAllTimers();
  for (let looks = 0; looks < 20; looks++) pulse.look();
  expect(pulse.isLost).toBe(false);
  pulse.look();
  expect(pulse.isLost).toBe(true);
  pulse.look();
  expect(lost).toBe(1);
  beat(pulse.memory);
  pulse.look();
  expect(pulse.isLost).toBe(false);
  pulse.stop();
});

test("a worker that has not begun yet has none to lose", () => {
  const pulse = new Pulse(() => {
    throw new Error("lost");
  });
  vi.advanceTimersByTime(600_000);
  expect(pulse.isLost).toBe(false);
  pulse.stop();
});
