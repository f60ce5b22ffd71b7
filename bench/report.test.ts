import { expect, test } from "vitest";
import type { Sample } from "./measurement.ts";
import { count, insertFigures, renderFigures, renderRow, significant } from "./report.ts";
import type { BenchResult, Row } from "./result.ts";
import type { Workload } from "./workloads.ts";

const workload: Workload = {
  mtuBytes: 9000,
  sectors: 16,
  window: 64,
  order: "random",
  readPercent: 70,
  initiators: 1,
};

function sample(round: number, operationsPerSecond: number, serverCpuUs: number): Sample {
  return {
    round,
    operationsPerSecond,
    megabytesPerSecond: (operationsPerSecond * 8192) / 1e6,
    p50Us: 200,
    p99Us: 1234,
    serverCpuUs,
    serverUserShare: 0.25,
    otherCpuUs: 0.5,
    generatorIdle: 0.4,
    retransmits: 2,
    lateReplies: 0,
    fairness: 0.97,
    stolenShare: 0,
  };
}

const ours: Row = {
  workload,
  server: "aoed",
  role: "candidate",
  samples: [sample(0, 300_000, 3), sample(1, 330_000, 2.7), sample(2, 270_000, 3.3)],
};
const theirs: Row = {
  workload,
  server: "vblade",
  role: "peer",
  samples: [sample(0, 200_000, 4), sample(1, 220_000, 3.6), sample(2, 180_000, 4.4)],
};
const elsewhere: Row = {
  ...theirs,
  server: "other",
  workload: { ...workload, window: 1 },
};

function cells(line: string): string[] {
  return line.split("|").map((cell) => cell.trim());
}

test("a row shows medians, spread, the sum of what was sent again, and what aoed is to it", () => {
  expect(cells(renderRow(theirs, [ours, theirs]))).toEqual([
    "",
    "MTU 9000, 8 KiB random 70/30 read/write, window 64",
    "vblade",
    "200 000",
    "10 %",
    "1 600",
    "200",
    "1 200",
    "4.00",
    "0.50",
    "6",
    "40 %",
    "1.50",
    "0.75",
    "",
  ]);
});

test("aoed is not held against itself, nor against another load", () => {
  expect(cells(renderRow(ours, [ours, theirs])).slice(-3)).toEqual(["", "", ""]);
  expect(cells(renderRow(elsewhere, [ours, elsewhere])).slice(-3)).toEqual(["", "", ""]);
});

test("several initiators show how evenly they were served", () => {
  const shared = { ...ours, workload: { ...workload, initiators: 4 } };
  expect(renderRow(shared, [shared])).toContain("aoed (slowest/fastest 0.97)");
});

test("figures keep the digits that they have a right to", () => {
  expect([count(7), count(999.6), count(12_345), count(1_234_567)]).toEqual([
    "7",
    "1 000",
    "12 300",
    "1 234 600",
  ]);
  expect([significant(1.234), significant(123.4), significant(4321)]).toEqual([
    "1.2",
    "123",
    "4 300",
  ]);
});

const result: BenchResult = {
  startedAt: "2026-01-02T03:04:05.000Z",
  seconds: 125,
  machine: {
    processor: "a processor",
    processors: 2,
    memoryGib: 24,
    kernel: "6.12",
    node: "26.0.0",
    diskFileSystem: "ext2/ext3",
    loadAverage: 0.1,
  },
  settings: {
    rounds: 3,
    secondsPerRun: 1,
    imageMebibytes: 256,
    serverProcessor: 0,
    generatorProcessor: 1,
  },
  suites: [
    {
      suite: {
        name: "memory",
        title: "Protocol cost",
        remark: "On tmpfs.",
        medium: "memory",
        mode: "buffered",
        cold: false,
        comparesPorts: false,
      },
      rows: [ours, theirs],
      failures: [{ server: "other", reason: "no\nanswer" }],
    },
  ],
};

test("the figures name the machine, the headroom of the generator and every failure", () => {
  const text = renderFigures(result);
  expect(text).toContain("2 processors (a processor), 24 GiB, Linux 6.12, Node 26.0.0");
  expect(text).toContain("The fastest server was aoed with 300 000 operations/s");
  expect(text).toContain("could have driven 1.67 times as much");
  expect(text).toContain("so it held nobody back");
  expect(text).toContain("- other failed: no answer");
});

test("a generator that had little time left is called the limit", () => {
  const busy = { ...ours, samples: ours.samples.map((one) => ({ ...one, generatorIdle: 0.1 })) };
  const suites = [{ ...result.suites[0], rows: [busy, theirs] }];
  expect(renderFigures({ ...result, suites })).toContain("lower bounds for their server");
});

test("the text around the markers stays, and what was between them goes", () => {
  const begin = "<!-- figures: begin (written by make bench) -->";
  const end = "<!-- figures: end -->";
  const once = insertFigures(`before\n${begin}\nold\n${end}\nafter\n`, "new");
  expect(once).toBe(`before\n${begin}\n\nnew\n${end}\nafter\n`);
  expect(insertFigures(once, "new")).toBe(once);
  expect(() => insertFigures("no markers", "new")).toThrow(/markers/);
});
