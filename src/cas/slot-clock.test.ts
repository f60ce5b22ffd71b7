import { expect, test } from "vitest";
import { SlotClock } from "./slot-clock.ts";

test("free slots first, then those that were not used since the hand passed", () => {
  const clock = new SlotClock(4);
  const taken = [0, 1, 2, 3].map(() => {
    expect(clock.isFull).toBe(false);
    return clock.take();
  });
  expect(taken).toEqual([0, 1, 2, 3]);
  expect(clock.isFull).toBe(true);
  clock.use(0);
  clock.use(2);
  expect([clock.take(), clock.take(), clock.take()]).toEqual([1, 3, 0]);
  for (let slot = 0; slot < 4; slot++) clock.use(slot);
  expect(clock.take()).toBe(1);
  clock.use(3);
  clock.clear();
  expect(clock.isFull).toBe(false);
  expect([clock.take(), clock.take(), clock.take(), clock.take(), clock.take()]).toEqual([
    0, 1, 2, 3, 0,
  ]);
});
