import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { beat, lastGivenUp, Pulse } from "./pulse.ts";

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
  pulse.watch();
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

test("a worker that still starts has none to lose", () => {
  const pulse = new Pulse(() => {
    throw new Error("lost");
  });
  beat(pulse.memory);
  // A start that takes the thread for long.
  vi.clearAllTimers();
  vi.advanceTimersByTime(600_000);
  expect(pulse.isLost).toBe(false);
  pulse.stop();
});

test("the worker sees which calls were given up", () => {
  const pulse = new Pulse(() => {});
  expect(lastGivenUp(pulse.memory)).toBe(0);
  pulse.giveUp(7);
  beat(pulse.memory);
  expect(lastGivenUp(pulse.memory)).toBe(7);
});
