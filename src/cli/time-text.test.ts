import { expect, test } from "vitest";
import { ageText, durationText } from "./time-text.ts";

test.each([
  [0, "0 s"],
  [59, "59 s"],
  [224, "3 min 44 s"],
  [7260, "2 h 1 min"],
  [47 * 3600, "47 h 0 min"],
  [50 * 3600, "2 d 2 h"],
])("%d s", (seconds, text) => {
  expect(durationText(seconds)).toBe(text);
});

test("how long ago a moment was", () => {
  const nowMs = Date.parse("2026-11-26T12:00:00.000Z");
  expect(ageText("2026-11-26T11:59:59.500Z", nowMs)).toBe("now");
  expect(ageText("2026-11-26T11:58:00.000Z", nowMs)).toBe("2 min 0 s ago");
  // Two clocks that differ.
  expect(ageText("2026-11-26T12:00:09.000Z", nowMs)).toBe("now");
});
