import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { buildPrograms } from "./build.ts";
import { Daemon, flags, outcomeOf } from "./child-process.ts";
import { Images } from "./images.ts";
import { Segment } from "./network.ts";
import { wholeNumber } from "./output.ts";
import { processesOfGroup, sampleProcessorTimes } from "./processor-time.ts";
import { summarise } from "./statistics.ts";

/**
 * Two targets under load at the same time: one worker, two workers, and two processes of vblade.
 * Server and load share all processors, so this does not show how much faster two workers are: it
 * shows that nothing is lost and that an operation costs a worker what it costs a server alone.
 *
 *   sudo bin/node bench/workers.ts [--rounds 5] [--seconds 1]
 */
const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "1" },
  },
});
const rounds = wholeNumber(values.rounds, "--rounds", 1);
const seconds = wholeNumber(values.seconds, "--seconds", 1);

const MTU_BYTES = 9000;
const IMAGE_MEBIBYTES = 64;
const WINDOW = 64;
const everyProcessor = `0-${cpus().length - 1}`;

interface Setting {
  readonly name: string;
  /** The commands that serve slots 0 and 1. */
  readonly commands: (paths: readonly string[], folder: string) => string[][];
  /** The slots under load. */
  readonly slots: readonly number[];
}

const root = dirname(import.meta.dirname);
const settings: readonly Setting[] = [
  { name: "aoed, 1 worker, one target busy", commands: aoed(1), slots: [0] },
  { name: "aoed, 1 worker", commands: aoed(1), slots: [0, 1] },
  { name: "aoed, 2 workers", commands: aoed(2), slots: [0, 1] },
  { name: "vblade, 2 processes", commands: vblade, slots: [0, 1] },
];

const loads = [
  { name: "1 KiB random read", sectors: 2, readPercent: 100 },
  { name: "8 KiB random read", sectors: 16, readPercent: 100 },
  { name: "8 KiB random write", sectors: 16, readPercent: 0 },
];

function aoed(workers: number): Setting["commands"] {
  return (paths, folder) => {
    mkdirSync(folder, { recursive: true });
    const file = join(folder, "aoed.toml");
    const targets = paths.map(
      (path, slot) =>
        `[[target]]\nshelf = 1\nslot = ${slot}\nbackend = "file"\npath = ${JSON.stringify(path)}\n` +
        'durability = "writeback"\n',
    );
    const server = `[server]\ninterface = "${Segment.serverInterface}"\nworkers = ${workers}\n`;
    writeFileSync(file, `${server}state_dir = "state"\n${targets.join("")}`);
    return [[join(root, "bin/aoed"), "serve", "--config", file]];
  };
}

function vblade(paths: readonly string[]): string[][] {
  const { serverInterface } = Segment;
  return paths.map((path, slot) => [
    "vblade",
    "-b",
    "64",
    "1",
    String(slot),
    serverInterface,
    path,
  ]);
}

interface Sample {
  readonly operationsPerSecond: number;
  /** Of the slower target in proportion to the faster one. */
  readonly balance: number;
  readonly serverCpuUs: number;
  /** Requests that were sent again, whose first answer came after all. */
  readonly late: number;
  /** Those whose first answer never came. */
  readonly lost: number;
}

/** What bench/generator.c writes, as far as it is wanted here. */
interface LoadResult {
  readonly operationsPerSecond: number;
  readonly allOperations: number;
  readonly retransmits: number;
  readonly unmatchedReplies: number;
  readonly unanswered: number;
  readonly failedOperations: number;
}

interface Contestant {
  readonly setting: Setting;
  readonly segment: Segment;
  readonly daemons: readonly Daemon[];
}

const programs = await buildPrograms(import.meta.dirname);

async function load(segment: Segment, slot: number, parameters: Parameters<typeof flags>[0]) {
  const address = { interface: Segment.clientInterface, shelf: 1, slot };
  const command = [programs.generator, "load", ...flags({ ...address, ...parameters })];
  const { status, output, errors } = await outcomeOf(segment.onClient(everyProcessor, command));
  if (output === "") throw new Error(errors.trim() || `the load ended with ${status}`);
  return JSON.parse(output) as LoadResult;
}

async function measure(
  { setting, segment, daemons }: Contestant,
  { sectors, readPercent }: (typeof loads)[number],
  round: number,
): Promise<Sample> {
  const pids = daemons.flatMap(({ pid }) => processesOfGroup(pid));
  const before = sampleProcessorTimes(pids);
  const results = await Promise.all(
    setting.slots.map(async (slot) =>
      load(segment, slot, {
        sectors,
        "read-percent": readPercent,
        window: WINDOW,
        random: true,
        seed: round + 1,
        seconds,
      }),
    ),
  );
  const serverUs = sampleProcessorTimes(pids).serverUs - before.serverUs;
  const total = (of: (result: LoadResult) => number): number =>
    results.reduce((sum, result) => sum + of(result), 0);
  const failed = total((result) => result.unanswered + result.failedOperations);
  if (failed > 0) throw new Error(`${setting.name}: ${failed} requests failed or had no answer`);
  const rates = results.map((result) => result.operationsPerSecond);
  return {
    operationsPerSecond: total((result) => result.operationsPerSecond),
    balance: Math.min(...rates) / Math.max(...rates),
    serverCpuUs: serverUs / total((result) => result.allOperations),
    late: total((result) => Math.min(result.retransmits, result.unmatchedReplies)),
    lost: total((result) => Math.max(0, result.retransmits - result.unmatchedReplies)),
  };
}

const folder = mkdtempSync(join(tmpdir(), "aoed-bench-workers-"));
await using stack = new AsyncDisposableStack();
stack.defer(() => rmSync(folder, { recursive: true }));
const { generator } = programs;
const images = stack.use(
  new Images({ generator, diskDirectory: folder, sizeMebibytes: IMAGE_MEBIBYTES }),
);
const contestants: Contestant[] = [];
for (const [index, setting] of settings.entries()) {
  const paths = [
    await images.path(`w${index}-0`, "memory"),
    await images.path(`w${index}-1`, "memory"),
  ];
  const segment = stack.use(await Segment.create(`w${index}`, MTU_BYTES));
  const daemons: Daemon[] = [];
  for (const command of setting.commands(paths, join(folder, `w${index}`))) {
    daemons.push(stack.use(await Daemon.start(segment.onServer(everyProcessor, command))));
  }
  for (const slot of [0, 1]) await load(segment, slot, { operations: 64, seconds: 10 });
  contestants.push({ setting, segment, daemons });
}

console.log("| load | server | ops/s | slower/faster target | CPU µs/op | late | lost |");
console.log("|---|---|---:|---:|---:|---:|---:|");
for (const one of loads) {
  const samples = new Map(contestants.map((contestant) => [contestant, [] as Sample[]]));
  for (let round = 0; round < rounds; round++) {
    for (const contestant of contestants) {
      samples.get(contestant)?.push(await measure(contestant, one, round));
    }
  }
  for (const [{ setting }, taken] of samples) {
    const middle = (of: (sample: Sample) => number): number => summarise(taken.map(of)).median;
    const cells = [
      Math.round(middle((sample) => sample.operationsPerSecond)),
      middle((sample) => sample.balance).toFixed(2),
      middle((sample) => sample.serverCpuUs).toFixed(2),
      taken.reduce((sum, { late }) => sum + late, 0),
      taken.reduce((sum, { lost }) => sum + lost, 0),
    ];
    console.log(`| ${one.name} | ${setting.name} | ${cells.join(" | ")} |`);
  }
}
