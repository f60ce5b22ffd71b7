import { expect, test } from "vitest";
import { approximateSize } from "./approximate-size.ts";
import { ProgressBar, progressLine } from "./progress-bar.ts";

const MIB = 1024 * 1024;

test("a line says how far, how much, how fast and how long yet", () => {
  const half = { phase: "import", done: 512 * MIB, total: 1024 * MIB, unit: "bytes" } as const;
  expect(progressLine(half, 128 * MIB)).toBe(
    "import [############            ]   50%  512 MiB of 1.00 GiB  128 MiB/s  4 s left",
  );
  const unknown = { phase: "verify", done: 10 * MIB, total: null, unit: "bytes" } as const;
  expect(progressLine(unknown, 0)).toBe("verify  10.0 MiB");
  const blobs = { phase: "mark", done: 10, total: 7300, unit: "blobs" } as const;
  expect(progressLine(blobs, 1)).toMatch(
    / 0% {2}10 blobs of 7300 blobs {2}1 blobs\/s {2}2 h 1 min left$/,
  );
});

test("the bar is drawn over itself, seldom, within the terminal, and leaves nothing", () => {
  const written: string[] = [];
  let timeMs = 0;
  const stream = { columns: 40, write: (text: string) => written.push(text) };
  const bar = new ProgressBar(stream, () => timeMs);
  for (; timeMs <= 1000; timeMs += 10) {
    bar.show({ phase: "import", done: timeMs * 1024, total: 1000 * 1024, unit: "bytes" });
  }
  expect(written.length).toBeLessThan(13);
  for (const line of written) {
    expect(line.startsWith("\r\u001b[K")).toBe(true);
    expect(line.length).toBeLessThan(40 + 5);
    expect(line).not.toContain("\n");
  }
  bar.end();
  bar.end();
  expect(written.at(-1)).toBe("\r\u001b[K");
  expect(written.filter((line) => line === "\r\u001b[K")).toHaveLength(1);
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1024, "1.00 KiB"],
  [20.2 * MIB, "20.2 MiB"],
  [2 ** 40 * 16, "16.0 TiB"],
])("%d octets are %s", (bytes, text) => {
  expect(approximateSize(bytes)).toBe(text);
});
