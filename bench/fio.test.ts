import { expect, test } from "vitest";
import { fioCommand, fioSample } from "./fio.ts";
import { combine, EIGHT_KIBIBYTES, MIXED, RANDOM_WRITE } from "./workloads.ts";

const timing = { seconds: 1, warmUpSeconds: 0.2 };
const settings = {
  path: "/a.img",
  processor: 0,
  durable: true,
  signal: new AbortController().signal,
};

test("fio gets the same load as the servers", () => {
  const [write] = combine(EIGHT_KIBIBYTES, [16], [RANDOM_WRITE], 4);
  const command = fioCommand(write, timing, settings);
  expect(command).toEqual(
    expect.arrayContaining(["--rw=randwrite", "--bs=8192", "--iodepth=64", "--sync=dsync"]),
  );
  const [mixed] = combine(EIGHT_KIBIBYTES, [1], [MIXED]);
  expect(fioCommand(mixed, timing, settings)).toEqual(
    expect.arrayContaining(["--rw=randrw", "--rwmixread=70"]),
  );
});

test("its figures become a sample", () => {
  const none = { total_ios: 0, iops: 0, bw_bytes: 0, clat_ns: {} };
  const percentile = { "50.000000": 2000, "99.000000": 9000 };
  const read = { total_ios: 500, iops: 1000, bw_bytes: 8_192_000, clat_ns: { percentile } };
  const job = { usr_cpu: 10, sys_cpu: 30, job_runtime: 500, read, write: none };
  const sample = fioSample(`fio: a warning\n${JSON.stringify({ jobs: [job] })}`, 3);
  expect(sample).toMatchObject({ round: 3, operationsPerSecond: 1000, p50Us: 2, p99Us: 9 });
  // 40 % of half a second, for 500 operations.
  expect(sample.serverCpuUs).toBeCloseTo(400);
});
