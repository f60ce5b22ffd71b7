import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  parseMachineStat,
  parseProcessStat,
  processesOfGroup,
  sampleProcessorTimes,
} from "./processor-time.ts";

test("a machine is busy with all but idling, waiting for disks, and what was stolen", () => {
  const text = "cpu  100 1 50 9999 77 3 5 9 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
  expect(parseMachineStat(text)).toEqual({ busyUs: 1_590_000, stolenUs: 90_000 });
});

test("the name of a process may look like fields", () => {
  const fields = "S 1 4242 4242 0 -1 4194560 100 0 0 0 250 60 0 0 20 0 1";
  expect(parseProcessStat(`77 (a) S 9 (b) ${fields}`)).toEqual({ group: 4242, userUs: 2_500_000 });
});

test("this process is found in its group, and its work is counted", () => {
  const { group } = parseProcessStat(readFileSync("/proc/self/stat", "utf8"));
  expect(processesOfGroup(group)).toContain(process.pid);

  const before = sampleProcessorTimes([process.pid]);
  // Work, not time: others may have the processor meanwhile.
  const until = process.cpuUsage().user + 100_000;
  while (process.cpuUsage().user < until) Math.sqrt(until);
  const after = sampleProcessorTimes([process.pid]);
  const workedUs = after.serverUs - before.serverUs;
  expect(workedUs).toBeGreaterThan(5_000);
  expect(after.busyUs).toBeGreaterThan(before.busyUs);
});

test("a process that has gone has used nothing, and a group without processes is empty", () => {
  expect(sampleProcessorTimes([2 ** 30]).serverUs).toBe(0);
  expect(processesOfGroup(2 ** 30)).toEqual([]);
});
