import { expect, test } from "vitest";
import { createLog, RateLimitedLog } from "./log.ts";

function collector() {
  const lines: string[] = [];
  return { lines, stream: { write: (line: string) => void lines.push(line) } };
}

test("a line is one JSON object with time, level and message", () => {
  const { lines, stream } = collector();
  const log = createLog({ level: "info", humanReadable: false, stream });
  log.warn({ interface: "eth0" }, "link is down");
  log.debug("not at this level");
  expect(lines).toHaveLength(1);
  const entry = JSON.parse(lines[0]) as Record<string, unknown>;
  expect(entry).toMatchObject({ level: 40, interface: "eth0", msg: "link is down" });
  expect(new Date(entry["time"] as string).getTime()).not.toBeNaN();
});

interface Written {
  details: Record<string, unknown>;
  message: string;
}

function limited(burst: number, intervalMs: number) {
  const written: Written[] = [];
  const clock = { nowMs: 0 };
  const sink = {
    warn: (details: Record<string, unknown>, message: string) =>
      void written.push({ details, message }),
  };
  const log = new RateLimitedLog(sink as never, () => clock.nowMs, { burst, intervalMs });
  return { written, clock, log };
}

test("a flood is cut to the burst, then to one line an interval that counts the rest", () => {
  const { written, clock, log } = limited(3, 1000);
  for (let count = 0; count < 1000; count++) log.warn("foreign-beacon", "another server");
  expect(written).toHaveLength(3);
  clock.nowMs = 1000;
  log.warn("foreign-beacon", "another server");
  expect(written).toHaveLength(4);
  expect(written[3].details).toEqual({ kind: "foreign-beacon", suppressed: 997 });
  log.warn("foreign-beacon", "another server");
  expect(written).toHaveLength(4);
});

test("a long pause restores the burst and no more", () => {
  const { written, clock, log } = limited(2, 1000);
  clock.nowMs = 1_000_000;
  for (let count = 0; count < 10; count++) log.warn("kind", "message");
  expect(written).toHaveLength(2);
});

test("kinds are limited apart, and details are made only for lines that are written", () => {
  const { written, log } = limited(1, 1000);
  let made = 0;
  const details = () => ({ made: ++made });
  log.warn("a", "first", details);
  log.warn("a", "second", details);
  log.warn("b", "third", details);
  expect(written.map((line) => line.message)).toEqual(["first", "third"]);
  expect(made).toBe(2);
});
