import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { emitSources } from "./emit.ts";
import { limits } from "./limits.ts";

const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : "/tmp", "aoed-cost-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MINUTES_5 = 300_000;

/** Turns: the difference is what is counted, so that the start of the process does not matter. */
const FEW_FRAMES = 224;
const MANY_FRAMES = 1344;

function explain(what: string, found: number, limit: number): string {
  return (
    `${what}: ${found}, and bench/frame-cost/limits.ts allows ${limit}. ` +
    "The data path has become dearer: find out what does it, or raise the limit and say why."
  );
}

describe.each(["read", "write"] as const)("a %s", (kind) => {
  test("allocates nothing", { timeout: MINUTES_5 }, () => {
    const program = join(import.meta.dirname, "allocations.ts");
    const heap = ["--expose-gc", "--min-semi-space-size=16", "--max-semi-space-size=16"];
    const command = [...heap, program, join(folder, `${kind}.img`), kind];
    const output = execFileSync(process.execPath, command, { encoding: "utf8" });
    const { bytesPerFrame } = JSON.parse(output) as { bytesPerFrame: number };
    const message = explain(`bytes allocated for a ${kind}`, bytesPerFrame, limits.allocatedBytes);
    expect(bytesPerFrame, message).toBeLessThanOrEqual(limits.allocatedBytes);
  });

  test("takes no more instructions than it did", { timeout: MINUTES_5 }, (context) => {
    if (spawnSync("valgrind", ["--version"]).status !== 0) {
      context.skip("valgrind is not installed (apt-get install valgrind)");
    }
    if (process.arch !== "x64") context.skip("instructions were counted on x86-64");
    const sources = join(folder, kind);
    emitSources(sources);
    const count = (frames: number): number => countInstructions(sources, kind, frames);
    const difference = count(MANY_FRAMES) - count(FEW_FRAMES);
    const instructions = Math.round(difference / (MANY_FRAMES - FEW_FRAMES));
    const limit = limits.instructions[kind];
    console.log(`${kind}: ${instructions} instructions, of ${limit} allowed`);
    const message = explain(`instructions (interpreted) for a ${kind}`, instructions, limit);
    expect(instructions, message).toBeLessThanOrEqual(limit);
    // Far below, the limit would guard nothing any more.
    expect(instructions, "lower the limit in limits.ts").toBeGreaterThan(limit * 0.7);
  });
});

/** Interpreted: when a function is compiled depends on time, and so would the count. */
function countInstructions(sources: string, kind: string, frames: number): number {
  const runtime = ["--jitless", "--single-threaded", "--hash-seed=1", "--random-seed=1"];
  const program = join(sources, "bench/frame-cost/answer.js");
  const tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
  const command = [...tool, process.execPath, ...runtime, program, kind, String(frames)];
  const { stderr, status } = spawnSync("valgrind", command, { encoding: "utf8" });
  const collected = /Collected : (\d+)/.exec(stderr)?.[1];
  if (status !== 0 || collected === undefined) throw new Error(`valgrind failed: ${stderr}`);
  return Number(collected);
}
