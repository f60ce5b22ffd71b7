import { beforeEach, describe, expect, test } from "vitest";
import { CommandKind, ErrorReason } from "./command-kind.ts";
import { CommandMetrics } from "./command-metrics.ts";
import { LATENCY_BUCKETS, latencyBucket } from "./latency-buckets.ts";
import { RequestMeter } from "./request-meter.ts";

const FRAMES = 4;
let meter: RequestMeter;
let metrics: CommandMetrics;
beforeEach(() => {
  meter = new RequestMeter(FRAMES);
  metrics = new CommandMetrics();
});

function countsWith(counts: Record<number, number>): number[] {
  return Array.from({ length: LATENCY_BUCKETS }, (_, bucket) => counts[bucket] ?? 0);
}

test("a reply is counted with its bytes, and with the time from its batch until it leaves", () => {
  meter.beginBatch(1000);
  meter.arrive(0, 2, 1);
  meter.beginBatch(1000.5);
  meter.arrive(1, 2, 1);
  meter.answer(0, metrics, CommandKind.write, 8192);
  meter.answer(1, metrics, CommandKind.write, 4096);
  meter.leave(1001);
  expect(metrics.commands()).toEqual([
    {
      command: "write",
      answered: 2,
      errors: 0,
      bytes: 12_288,
      durationSeconds: 0.0015,
      latencyCounts: countsWith({ [latencyBucket(1000)]: 1, [latencyBucket(500)]: 1 }),
    },
  ]);
});

test("an error is counted with its reason; a fault of the disk with its time", () => {
  meter.arrive(0, 2, 1);
  meter.answer(0, metrics, CommandKind.read, 0);
  meter.fail(0, metrics, CommandKind.read, ErrorReason.idNotFound);
  expect(metrics.faultedAtMs).toBeUndefined();
  meter.arrive(0, 2, 1);
  meter.answer(0, metrics, CommandKind.read, 0);
  meter.fail(0, metrics, CommandKind.read, ErrorReason.deviceFault);
  expect(metrics.errors()).toMatchObject({ id_not_found: 1, device_fault: 1, aborted: 0 });
  expect(metrics.faultedAtMs).toBeGreaterThan(0);
  expect(meter.initiators.figures()).toMatchObject([{ answered: 2, errors: 2, outstanding: 0 }]);
});

test("more replies than frames without a call of leave are not lost", () => {
  for (let index = 0; index < 3 * FRAMES; index++) {
    meter.arrive(index % FRAMES, 2, 1);
    meter.answer(index % FRAMES, metrics, CommandKind.read, 512);
  }
  meter.leave(1);
  const [read] = metrics.commands();
  expect(read.latencyCounts.reduce((sum, count) => sum + count, 0)).toBe(3 * FRAMES);
});

describe("repetitions", () => {
  const repetitions = (): number => meter.initiators.figures()[0].retransmissions;
  const ask = (frame: number, fingerprint: number, tag: number, nowMs = 0): void => {
    meter.beginBatch(nowMs);
    meter.arrive(frame, 2, 1);
    meter.recognise(frame, fingerprint, tag);
  };

  test("with a new tag, while the first is not answered", () => {
    ask(0, 77, 1);
    ask(1, 77, 2);
    expect(repetitions()).toBe(1);
    meter.answer(0, metrics, CommandKind.write, 512);
    // The second is still under way.
    ask(2, 77, 3);
    expect(repetitions()).toBe(2);
    meter.answer(1, metrics, CommandKind.write, 512);
    meter.answer(2, metrics, CommandKind.write, 512);
    ask(3, 77, 4);
    expect(repetitions()).toBe(2);
  });

  test("with the same tag after the answer, but not for ever", () => {
    ask(0, 77, 1);
    meter.answer(0, metrics, CommandKind.read, 512);
    ask(0, 77, 1, 500);
    meter.answer(0, metrics, CommandKind.read, 512);
    expect(repetitions()).toBe(1);
    ask(0, 77, 1, 20_000);
    expect(repetitions()).toBe(1);
  });

  test("another request is none, nor is the same after the first was dropped", () => {
    ask(0, 77, 1);
    ask(1, 78, 2);
    meter.drop(0);
    ask(2, 77, 3);
    expect(repetitions()).toBe(0);
    expect(meter.initiators.figures()[0].outstanding).toBe(2);
  });
});
