import { existsSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { UsageError } from "../src/errors.ts";
import { buildPrograms } from "./build.ts";
import { outcomeOf } from "./child-process.ts";
import { Images } from "./images.ts";
import { describeMachine } from "./machine.ts";
import { wholeNumber, writeForCaller } from "./output.ts";
import { insertFigures, renderFigures } from "./report.ts";
import type { BenchResult, SuiteResult } from "./result.ts";
import {
  aoed,
  aoedVolume,
  aoedWith,
  fio,
  nullTarget,
  peerFromTemplate,
  type ServerKind,
  vblade,
} from "./servers.ts";
import { type RunSettings, runSuite } from "./suite-run.ts";
import { type Suite, suitesFor } from "./suites.ts";
import { workloadName } from "./workloads.ts";

const benchDirectory = import.meta.dirname;
const root = dirname(benchDirectory);

const USAGE = `usage: bin/node bench/main.ts [--quick] [--only PATTERN] [--rounds N] [--json FILE]
         [--server NAME]… [--no-table] [--server-cpu N] [--generator-cpu N] [--image-mib N]
  --quick      a few lines of each suite in about two minutes
  --only       lines of which "SUITE: LINE" matches, such as durable or "^memory: 8 KiB .* window 64"
  --server     only these servers: aoed, "aoed cas", "aoed busy-poll", "aoed xdp", vblade,
               "null target", fio, or that of PEER
  --no-table   leave docs/benchmarks.md alone
PEER='command with {interface} {path} {shelf} {slot} [{mode}]' adds a server.`;

interface Options {
  readonly quick: boolean;
  readonly only: RegExp | undefined;
  readonly rounds: number;
  readonly jsonPath: string;
  readonly servers: readonly string[];
  readonly writesTable: boolean;
  readonly serverProcessor: number;
  readonly generatorProcessor: number;
  readonly imageMebibytes: number;
}

function parseOptions(): Options {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      rounds: { type: "string" },
      json: { type: "string" },
      server: { type: "string", multiple: true, default: [] },
      "no-table": { type: "boolean", default: false },
      "server-cpu": { type: "string", default: "0" },
      "generator-cpu": { type: "string", default: cpus().length > 1 ? "1" : "0" },
      "image-mib": { type: "string", default: "256" },
    },
  });
  const now = new Date().toISOString().replaceAll(/[:.]/g, "-");
  const name = `${now}${values.quick ? "-quick" : ""}.json`;
  return {
    quick: values.quick,
    only: values.only === undefined ? undefined : new RegExp(values.only),
    rounds: wholeNumber(values.rounds ?? (values.quick ? "3" : "5"), "--rounds", 1),
    jsonPath: resolve(values.json ?? join(benchDirectory, "results", name)),
    servers: values.server,
    writesTable: !values["no-table"] && values.only === undefined && values.server.length === 0,
    serverProcessor: wholeNumber(values["server-cpu"], "--server-cpu", 0),
    generatorProcessor: wholeNumber(values["generator-cpu"], "--generator-cpu", 0),
    imageMebibytes: wholeNumber(values["image-mib"], "--image-mib", 16),
  };
}

/** What a minimal machine lacks, found before anything is started. */
async function checkRequirements(): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new UsageError(
      "the benchmark makes network namespaces: run it as root (sudo make bench)",
    );
  }
  const install = join(root, "scripts/install-test-packages.sh");
  const needed = {
    ip: "iproute2",
    taskset: "util-linux",
    losetup: "mount",
    cc: "gcc",
    vblade: "vblade",
    fio: "fio",
  };
  if ((await missing(needed)).length > 0 && existsSync(install)) await outcomeOf([install]);
  const packages = await missing(needed);
  if (packages.length > 0) {
    throw new UsageError(`not installed: apt-get install ${packages.join(" ")}`);
  }
}

async function missing(programs: Record<string, string>): Promise<string[]> {
  const packages: string[] = [];
  for (const [program, name] of Object.entries(programs)) {
    const { status } = await outcomeOf(["sh", "-c", `command -v ${program}`]);
    if (status !== 0) packages.push(name);
  }
  return packages;
}

function chosenSuites({ quick, only }: Options): Suite[] {
  const suites = suitesFor(quick).map((suite) => ({
    ...suite,
    workloads: suite.workloads.filter(
      (workload) => only?.test(`${suite.name}: ${workloadName(workload)}`) ?? true,
    ),
  }));
  const chosen = suites.filter((suite) => suite.workloads.length > 0);
  if (chosen.length === 0) throw new UsageError(`--only ${only?.source}: nothing of that name`);
  return chosen;
}

function chosenServers(options: Options, nullTargetProgram: string): ServerKind[] {
  const peer = process.env["PEER"]?.trim();
  const all = [
    aoed(root),
    aoedVolume(root),
    aoedWith(root, "busy-poll", ['busy_poll = "50us"']),
    aoedWith(root, "xdp", ['port = "xdp"']),
    vblade(),
    ...(peer ? [peerFromTemplate(peer)] : []),
    nullTarget(nullTargetProgram),
    fio(),
  ];
  for (const name of options.servers) {
    if (all.some((kind) => kind.name === name)) continue;
    throw new UsageError(`--server ${name}: use ${all.map((kind) => kind.name).join(", ")}`);
  }
  return all.filter((kind) => options.servers.length === 0 || options.servers.includes(kind.name));
}

async function runAll(options: Options, signal: AbortSignal): Promise<BenchResult> {
  await checkRequirements();
  const suites = chosenSuites(options);
  const programs = await buildPrograms(benchDirectory);
  const kinds = chosenServers(options, programs.nullTarget);
  const diskDirectory = process.env["TMPDIR"] ?? join(benchDirectory, "build");
  const { imageMebibytes, serverProcessor, generatorProcessor, rounds } = options;
  const startedAt = new Date();
  const machine = await describeMachine(diskDirectory);

  const { generator } = programs;
  await using images = new Images({ generator, diskDirectory, sizeMebibytes: imageMebibytes });
  const timing = options.quick
    ? { seconds: 0.25, warmUpSeconds: 0.05 }
    : { seconds: 1, warmUpSeconds: 0.2 };
  const settings: RunSettings = {
    rounds,
    timing,
    serverProcessor,
    tool: { generator, processor: generatorProcessor, signal },
    images,
    report: (line) => process.stderr.write(`${line}\n`),
  };
  const results: SuiteResult[] = [];
  for (const suite of suites) results.push(await runSuite(suite, kinds, settings));
  return {
    startedAt: startedAt.toISOString(),
    seconds: (Date.now() - startedAt.getTime()) / 1000,
    machine,
    settings: {
      rounds,
      secondsPerRun: timing.seconds,
      imageMebibytes,
      serverProcessor,
      generatorProcessor,
    },
    suites: results,
  };
}

function publish(result: BenchResult, options: Options): void {
  const figures = renderFigures(result);
  process.stdout.write(`${figures}\n\n`);
  writeForCaller(options.jsonPath, `${JSON.stringify(result, undefined, 1)}\n`);
  process.stdout.write(`Every sample is in ${relative(process.cwd(), options.jsonPath)}.\n`);
  if (!options.writesTable) return;
  const document = join(root, "docs/benchmarks.md");
  writeForCaller(document, insertFigures(readFileSync(document, "utf8"), figures));
  process.stdout.write(`The table in ${relative(process.cwd(), document)} is up to date.\n`);
}

async function main(): Promise<number> {
  if (process.argv.includes("--help")) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const interruption = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => interruption.abort());
  }
  try {
    const options = parseOptions();
    const result = await runAll(options, interruption.signal);
    publish(result, options);
    return result.suites.some((suite) => suite.failures.length > 0) ? 1 : 0;
  } catch (error) {
    if (interruption.signal.aborted) {
      process.stderr.write("bench: interrupted; what it had made has been removed\n");
      return 130;
    }
    if (error instanceof UsageError || (error instanceof TypeError && "code" in error)) {
      process.stderr.write(`bench: ${error.message}\n`);
      return 2;
    }
    throw error;
  }
}

process.exitCode = await main();
