import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildPrograms, type Programs } from "./build.ts";
import { flags, outcomeOf, run } from "./child-process.ts";

/**
 * The generator against the null target, over a veth pair in a namespace that ends with the test:
 * the tool that finds fault with servers has to notice wrong data and lost frames itself.
 */
const directory = mkdtempSync(join(tmpdir(), "aoedbench-test-"));
let programs: Programs;

beforeAll(async () => {
  programs = await buildPrograms(import.meta.dirname, directory);
});

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

type Flags = Parameters<typeof flags>[0];

interface Load {
  readonly allOperations: number;
  readonly wrongSectors: number;
  readonly firstWrongLba: number;
  readonly retransmits: number;
  readonly unanswered: number;
  readonly initiatorOperations: readonly number[];
}

/** Runs loads one after the other against one null target; exit status and result of each. */
async function runLoads(target: Flags, loads: readonly Flags[]) {
  const generate = loads.map((load) =>
    [programs.generator, "load", ...flags({ interface: "aoedbench1", ...load })].join(" "),
  );
  const server = [programs.nullTarget, ...flags({ interface: "aoedbench0", ...target })].join(" ");
  const script = [
    "ip link add aoedbench0 mtu 9000 type veth peer name aoedbench1 mtu 9000 || exit 9",
    "ip link set aoedbench0 up; ip link set aoedbench1 up",
    `${server} & trap "kill $!" EXIT`,
    ...generate.map((command) => `${command}; echo "$?"`),
  ].join("\n");
  const isolation = process.getuid?.() === 0 ? "-n" : "-rn";
  const { output, errors } = await outcomeOf(["unshare", isolation, "sh", "-c", script]);
  const lines = output.trim().split("\n");
  if (lines.length !== loads.length * 2) throw new Error(`no results: ${errors}${output}`);
  return loads.map((_, index) => ({
    load: JSON.parse(lines[index * 2]) as Load,
    status: Number(lines[index * 2 + 1]),
  }));
}

const wholeImage: Flags = { sectors: 16, window: 16, "one-pass": true, seconds: 10, verify: true };

test("a random pass writes every block once, and a sequential one reads it all back", async () => {
  const [write, read] = await runLoads({ mebibytes: 3 }, [
    { ...wholeImage, random: true, "read-percent": 0 },
    wholeImage,
  ]);
  expect(write).toMatchObject({ status: 0, load: { allOperations: 384, unanswered: 0 } });
  expect(read).toMatchObject({ status: 0, load: { allOperations: 384, wrongSectors: 0 } });
});

test("wrong data is found in every sector", async () => {
  const [, other] = await runLoads({ mebibytes: 3 }, [
    { ...wholeImage, "read-percent": 0 },
    { ...wholeImage, seed: 2 },
  ]);
  expect(other).toMatchObject({ status: 1, load: { wrongSectors: 6144, firstWrongLba: 0 } });
});

test("requests that get no answer are sent again until they do", async () => {
  const [lossy] = await runLoads({ mebibytes: 3, "drop-every": 50 }, [
    { ...wholeImage, "read-percent": 0, "timeout-ms": 20 },
  ]);
  expect(lossy).toMatchObject({ status: 0, load: { allOperations: 384, unanswered: 0 } });
  expect(lossy.load.retransmits).toBeGreaterThanOrEqual(7);
});

test("every initiator gets its replies", async () => {
  const [shared] = await runLoads({ mebibytes: 3 }, [
    { sectors: 16, window: 4, initiators: 3, random: true, "read-percent": 70, seconds: 0.2 },
  ]);
  expect(shared.status).toBe(0);
  expect(shared.load.initiatorOperations).toHaveLength(3);
  expect(Math.min(...shared.load.initiatorOperations)).toBeGreaterThan(0);
});

test("quantiles of the histogram are within two per cent", async () => {
  const program = join(directory, "histogram-check");
  const files = ["histogram.check.c", "histogram.c"].map((name) => join(import.meta.dirname, name));
  await run("cc", "-std=c17", "-Wall", "-Wextra", "-Werror", "-o", program, ...files, "-lm");
  expect(await outcomeOf([program])).toEqual({ status: 0, output: "", errors: "" });
});
