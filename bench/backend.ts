import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { UsageError } from "../src/errors.ts";
import { Contestant } from "./backend/contestant.ts";
import { type Line, lineName, LINES } from "./backend/lines.ts";
import { renderBackendFigures } from "./backend/report.ts";
import type { BackendResult, RoundSample } from "./backend/result.ts";
import { buildPrograms } from "./build.ts";
import { describeMachine } from "./machine.ts";
import { insertFigures } from "./report.ts";
import { wholeNumber, writeForCaller } from "./output.ts";

const USAGE = `usage: bin/node bench/backend.ts [--quick] [--only PATTERN] [--rounds N] [--seconds S]
         [--backend NAME]… [--durability NAME] [--disk-mib N] [--no-table] [--json FILE]
         [--node-option OPTION]…
  --quick        one round
  --only         lines whose name matches, such as "unique, window 64" or read
  --backend      only these: cas, file, memory (which shows what the load itself costs)
  --durability   only durable, or only writeback
  --no-table     leave docs/benchmarks.md alone
  --node-option  for the measuring processes, such as --cpu-prof`;

const benchDirectory = import.meta.dirname;
const WARM_UP_SECONDS = 0.3;

type Options = ReturnType<typeof parseOptions>;

function parseOptions() {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      rounds: { type: "string" },
      seconds: { type: "string", default: "1" },
      backend: { type: "string", multiple: true, default: [] },
      durability: { type: "string", multiple: true, default: ["durable", "writeback"] },
      "disk-mib": { type: "string", default: "256" },
      "no-table": { type: "boolean", default: false },
      json: { type: "string" },
      "node-option": { type: "string", multiple: true, default: [] },
    },
  });
  const pattern = new RegExp(values.only ?? "");
  const lines = LINES.filter((line) => pattern.test(lineName(line)));
  if (lines.length === 0) throw new UsageError(`--only ${values.only}: no line of that name`);
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) throw new UsageError(`--seconds: '${values.seconds}' is not a time`);
  const isWhole = values.only === undefined && values.backend.length === 0;
  const stamp = new Date().toISOString().replaceAll(/[:.]/g, "-");
  return {
    lines,
    seconds,
    rounds: wholeNumber(values.rounds ?? (values.quick ? "1" : "3"), "--rounds", 1),
    backends: chosen(values.backend, ["cas", "file", "memory"], "--backend", ["cas", "file"]),
    durabilities: chosen(values.durability, ["durable", "writeback"], "--durability", []),
    diskMebibytes: wholeNumber(values["disk-mib"], "--disk-mib", 16),
    writesTable: isWhole && !values.quick && !values["no-table"],
    jsonPath: resolve(values.json ?? join(benchDirectory, "results", `${stamp}-backend.json`)),
    nodeOptions: values["node-option"],
  };
}

function chosen<Name extends string>(
  wanted: readonly string[],
  known: readonly Name[],
  option: string,
  otherwise: readonly Name[],
): readonly Name[] {
  for (const name of wanted) {
    if (known.some((other) => other === name)) continue;
    throw new UsageError(`${option} ${name}: use ${known.join(", ")}`);
  }
  return wanted.length === 0 ? otherwise : known.filter((name) => wanted.includes(name));
}

async function runAll(options: Options): Promise<BackendResult> {
  const { lines, seconds, rounds, diskMebibytes } = options;
  const { generator } = await buildPrograms(benchDirectory);
  const parent = process.env["TMPDIR"] ?? join(benchDirectory, "build");
  mkdirSync(parent, { recursive: true });
  const directory = mkdtempSync(join(parent, "backend-"));
  const startedAt = new Date();
  const machine = await describeMachine(directory);
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const contestants: Contestant[] = [];
  for (const backend of options.backends) {
    for (const durability of options.durabilities) {
      const place = join(directory, `${backend}-${durability}`);
      const settings = { backend, durability, directory: place, diskMebibytes, generator };
      contestants.push(stack.use(await Contestant.start(settings, options.nodeOptions)));
    }
  }
  const samples = new Map<string, RoundSample[]>();
  for (let round = 0; round < rounds; round++) {
    for (const line of lines) {
      process.stderr.write(`backend: round ${round + 1}, ${lineName(line)}\n`);
      const partakers = contestants.filter((contestant) => contestant.takesPart(line));
      // Nobody is always the first.
      const first = round % partakers.length;
      for (const contestant of [...partakers.slice(first), ...partakers.slice(0, first)]) {
        const warmUpSeconds = WARM_UP_SECONDS;
        const sample = await contestant.run({ line, round, seconds, warmUpSeconds });
        const key = keyOf(contestant, line);
        samples.set(key, [...(samples.get(key) ?? []), { ...sample, round }]);
      }
    }
  }
  return {
    startedAt: startedAt.toISOString(),
    seconds: (Date.now() - startedAt.getTime()) / 1000,
    machine,
    rounds,
    secondsPerRun: seconds,
    diskMebibytes,
    rows: lines.flatMap((line) =>
      contestants
        .filter((contestant) => contestant.takesPart(line))
        .map((contestant) => ({
          line,
          backend: contestant.settings.backend,
          durability: contestant.settings.durability,
          samples: samples.get(keyOf(contestant, line)) ?? [],
        })),
    ),
  };
}

function keyOf(contestant: Contestant, line: Line): string {
  return `${contestant.name}: ${lineName(line)}`;
}

async function main(): Promise<number> {
  if (process.argv.includes("--help")) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  try {
    const options = parseOptions();
    const result = await runAll(options);
    const figures = renderBackendFigures(result);
    process.stdout.write(`${figures}\n\n`);
    writeForCaller(options.jsonPath, `${JSON.stringify(result, undefined, 1)}\n`);
    process.stdout.write(`Every sample is in ${relative(process.cwd(), options.jsonPath)}.\n`);
    if (options.writesTable) {
      const document = join(dirname(benchDirectory), "docs/benchmarks.md");
      const text = insertFigures(readFileSync(document, "utf8"), figures, "backend figures");
      writeForCaller(document, text);
    }
    return 0;
  } catch (error) {
    if (error instanceof UsageError || (error instanceof TypeError && "code" in error)) {
      process.stderr.write(`backend: ${error.message}\n`);
      return 2;
    }
    throw error;
  }
}

process.exitCode = await main();
