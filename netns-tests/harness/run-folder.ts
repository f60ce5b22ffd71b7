import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { processStart, removeHostResources } from "./host-resources.ts";

/**
 * One run of the tests owns one folder, `aoed-netns-PID`, with a folder for each test. Its owner is
 * the process that runs the tests: what a dead owner left behind is removed by the next run, and by
 * `bin/node netns-tests/harness/run-folder.ts` on its own.
 */
const PREFIX = "aoed-netns-";
const HELPERS = ["frame-relay", "pause-meter", "record-writer"];

/** Called by vitest before the first test; what it returns after the last. */
export default function setUp(): () => void {
  sweepDeadRuns();
  const folder = join(tmpdir(), `${PREFIX}${process.pid}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  writeFileSync(join(folder, "owner"), `${process.pid} ${processStart(process.pid)}`);
  for (const helper of HELPERS) compile(folder, helper);
  process.env.AOED_NETNS_FOLDER = folder;
  return () => sweep(folder);
}

/** The folder of this run, for a test's process. */
export function runFolder(): string {
  const folder = process.env.AOED_NETNS_FOLDER;
  if (folder === undefined) throw new Error("run the tests with netns-tests/vitest.config.ts");
  return folder;
}

/** A C program of the tests, compiled for this run. */
export function helperProgram(name: string): string {
  return join(runFolder(), name);
}

/** Keeps what a person needs to see of a failed test, and no more than that, after the run. */
export function keepFolder(folder: string): void {
  writeFileSync(join(folder, "keep"), "");
}

function compile(folder: string, name: string): void {
  const source = join(import.meta.dirname, "..", `${name}.c`);
  const flags = ["-std=c17", "-O2", "-Wall", "-Wextra", "-Werror", "-Wshadow"];
  const cc = process.env.CC ?? "cc";
  execFileSync(cc, [...flags, "-o", join(folder, name), source], { stdio: "inherit" });
}

function sweepDeadRuns(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue;
    const folder = join(tmpdir(), name);
    if (!isOwned(folder)) sweep(folder);
  }
}

function isOwned(folder: string): boolean {
  try {
    const [pid, startedAt] = readFileSync(join(folder, "owner"), "utf8").split(" ");
    return processStart(Number(pid)) === startedAt;
  } catch {
    return false;
  }
}

function sweep(folder: string): void {
  let kept = false;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (!entry.isDirectory()) {
      rmSync(path, { force: true });
      continue;
    }
    removeHostResources(path);
    const isKept = readdirSync(path).includes("keep");
    if (!isKept) rmSync(path, { recursive: true, force: true });
    kept ||= isKept;
  }
  if (!kept) rmSync(folder, { recursive: true, force: true });
}

if (basename(process.argv[1] ?? "") === "run-folder.ts") sweepDeadRuns();
