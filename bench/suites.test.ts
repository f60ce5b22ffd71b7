import { expect, test } from "vitest";
import { suitesFor } from "./suites.ts";
import { workloadName } from "./workloads.ts";

for (const quick of [false, true]) {
  const suites = suitesFor(quick);

  test(`${quick ? "quick" : "full"}: names are unique, so that rows can be told apart`, () => {
    expect(new Set(suites.map(({ name }) => name)).size).toBe(suites.length);
    for (const { workloads } of suites) {
      expect(new Set(workloads.map(workloadName)).size).toBe(workloads.length);
    }
  });

  test(`${quick ? "quick" : "full"}: every request fits its MTU, header included`, () => {
    for (const { mtuBytes, sectors } of suites.flatMap(({ workloads }) => workloads)) {
      expect(sectors).toBeLessThanOrEqual(Math.floor((mtuBytes - 36) / 512));
    }
  });
}

test("a quick run measures a part of what a full one does, of the same names", () => {
  const full = new Map(suitesFor(false).map((suite) => [suite.name, suite]));
  for (const suite of suitesFor(true)) {
    const names = full.get(suite.name)?.workloads.map(workloadName) ?? [];
    expect(names).toEqual(expect.arrayContaining(suite.workloads.map(workloadName)));
  }
});

test("the names say what the load is", () => {
  const [first] = suitesFor(false)[0].workloads;
  expect(workloadName(first)).toBe("1 KiB sequential read, window 1");
  expect(workloadName({ ...first, readPercent: 70, initiators: 4 })).toBe(
    "1 KiB sequential 70/30 read/write, window 1, 4 initiators",
  );
});
