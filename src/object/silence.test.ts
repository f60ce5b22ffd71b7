import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Silence } from "./silence.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("silence is a fault; whoever is heard is waited for", () => {
  using silence = new Silence("get of pack", 1000, undefined);
  for (let part = 0; part < 5; part++) {
    vi.advanceTimersByTime(900);
    silence.broken();
  }
  expect(silence.signal.aborted).toBe(false);
  vi.advanceTimersByTime(1000);
  expect(silence.signal.reason).toMatchObject({ code: "unavailable" });
});

test("the caller's signal is passed on, and no timer is left behind", () => {
  const reason = new Error("enough");
  {
    using silence = new Silence("get of pack", 1000, AbortSignal.abort(reason));
    expect(silence.signal.reason).toBe(reason);
  }
  expect(vi.getTimerCount()).toBe(0);
});
