import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { UsageError } from "../src/errors.ts";
import { buildPrograms } from "./build.ts";
import type { LimitResult } from "./limits/limit.ts";
import { describeMachine } from "./machine.ts";
import { writeForCaller } from "./output.ts";
import { sampleProcessorTimes } from "./processor-time.ts";
import { insertFigures } from "./report.ts";
import type { Machine } from "./result.ts";

const MEASURES = ["snapshots", "trim", "reopen", "turns", "memory"];

const USAGE = `usage: bin/node bench/limits.ts [--only PATTERN] [--quick] [--json FILE] [--no-table] [--check]
  What the content-addressed backend promises, beside what it does: ${MEASURES.join(", ")}.
  --only      only those whose name matches
  --quick     an eighth of the data, a twentieth of the blobs
  --no-table  leave docs/benchmarks.md alone
  --check     exit status 1 when a promise does not hold`;

const benchDirectory = import.meta.dirname;

interface MeasureOutcome {
  readonly name: string;
  readonly seconds: number;
  /** Processors that others kept busy in the second before. */
  readonly otherProcessors: number;
  readonly results: readonly LimitResult[];
}

async function measure(
  name: string,
  generator: string,
  parent: string,
  isQuick: boolean,
): Promise<MeasureOutcome> {
  const directory = mkdtempSync(join(parent, `limits-${name}-`));
  try {
    const otherProcessors = await busyProcessors();
    const beganMs = performance.now();
    const parameters = [name, directory, generator, isQuick ? "quick" : "full"];
    const child = fork(join(benchDirectory, "limits/child.ts"), parameters);
    let results: LimitResult[] | undefined;
    child.on("message", (value) => {
      results = value as LimitResult[];
    });
    const [status] = (await once(child, "exit")) as [number | null];
    if (results === undefined) throw new Error(`${name} ended without a result (${status})`);
    const seconds = (performance.now() - beganMs) / 1000;
    return { name, seconds, otherProcessors, results };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function busyProcessors(): Promise<number> {
  const before = sampleProcessorTimes([]).busyUs;
  await sleep(1000);
  return (sampleProcessorTimes([]).busyUs - before) / 1e6;
}

function render(machine: Machine, outcomes: readonly MeasureOutcome[]): string {
  const { processor, processors, kernel, node, diskFileSystem } = machine;
  const loads = outcomes.map(
    ({ name, otherProcessors }) => `${name} ${otherProcessors.toFixed(2)}`,
  );
  const head = [
    `Measured ${new Date().toISOString().slice(0, 10)}: ${processors} processors (${processor}),`,
    `Linux ${kernel}, Node ${node}, disk ${diskFileSystem}. Processors that were busy with other`,
    `work in the second before: ${loads.join(", ")}.`,
  ].join("\n");
  const rows = outcomes
    .flatMap(({ results }) => results)
    .map(({ what, asked, measured, holds, remark }) =>
      ["", what, asked, holds ? measured : `**${measured}**`, remark, ""].join(" | ").trim(),
    );
  return `${head}\n\n| what | asked | measured | beside it |\n|---|---|---:|---|\n${rows.join("\n")}`;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      quick: { type: "boolean", default: false },
      json: { type: "string" },
      "no-table": { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const pattern = new RegExp(values.only ?? "");
  const names = MEASURES.filter((name) => pattern.test(name));
  if (names.length === 0) throw new UsageError(`--only ${values.only}: nothing of that name`);
  const { generator } = await buildPrograms(benchDirectory);
  const parent = process.env["TMPDIR"] ?? join(benchDirectory, "build");
  mkdirSync(parent, { recursive: true });
  const machine = await describeMachine(parent);
  const outcomes: MeasureOutcome[] = [];
  for (const name of names) {
    process.stderr.write(`limits: ${name}\n`);
    outcomes.push(await measure(name, generator, parent, values.quick));
  }
  const figures = render(machine, outcomes);
  process.stdout.write(`${figures}\n\n`);
  const stamp = new Date().toISOString().replaceAll(/[:.]/g, "-");
  const path = resolve(values.json ?? join(benchDirectory, "results", `${stamp}-limits.json`));
  writeForCaller(path, `${JSON.stringify({ machine, outcomes }, undefined, 1)}\n`);
  process.stdout.write(`The figures are in ${relative(process.cwd(), path)}, too.\n`);
  if (values.only === undefined && !values.quick && !values["no-table"]) {
    const document = join(dirname(benchDirectory), "docs/benchmarks.md");
    const text = insertFigures(readFileSync(document, "utf8"), figures, "limits");
    writeForCaller(document, text);
  }
  const holds = outcomes.every(({ results }) => results.every((result) => result.holds));
  return values.check && !holds ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError) && !(error instanceof TypeError && "code" in error))
    throw error;
  process.stderr.write(`limits: ${error.message}\n`);
  process.exitCode = 2;
}
