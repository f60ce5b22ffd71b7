import { join } from "node:path";
import { Daemon } from "./child-process.ts";
import { measureFio } from "./fio.ts";
import type { Images } from "./images.ts";
import { Bench, type LoadTool, type Sample, type Timing } from "./measurement.ts";
import { Segment } from "./network.ts";
import type { Failure, Row, SuiteResult } from "./result.ts";
import type { Assignment, ServerKind } from "./servers.ts";
import type { Suite } from "./suites.ts";
import { type Workload, workloadName } from "./workloads.ts";

export interface RunSettings {
  readonly rounds: number;
  readonly timing: Timing;
  readonly serverProcessor: number;
  readonly tool: LoadTool;
  readonly images: Images;
  readonly report: (line: string) => void;
}

interface Contestant {
  readonly kind: ServerKind;
  /** undefined: no server, fio on the image at `path`. */
  readonly bench: Bench | undefined;
  readonly path: string;
  /** What holds the disk, for the cold page cache. */
  readonly files: () => string[];
}

/**
 * Runs a suite: for each MTU all servers are started side by side, each on a segment of its own, and
 * every round goes through the workloads with the servers taking turns at each. Servers that fail
 * are reported and left out; the others go on.
 */
export async function runSuite(
  suite: Suite,
  kinds: readonly ServerKind[],
  settings: RunSettings,
): Promise<SuiteResult> {
  const { workloads, ...description } = suite;
  const rows: Row[] = [];
  const failures: Failure[] = [];
  const partakers = kinds.filter((kind) => kind.takesPart(suite));
  for (const mtuBytes of new Set(workloads.map((workload) => workload.mtuBytes))) {
    const stage = workloads.filter((workload) => workload.mtuBytes === mtuBytes);
    rows.push(...(await runStage(suite, stage, partakers, settings, failures)));
  }
  return { suite: description, rows, failures };
}

async function runStage(
  suite: Suite,
  workloads: readonly Workload[],
  kinds: readonly ServerKind[],
  settings: RunSettings,
  failures: Failure[],
): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const contestants: Contestant[] = [];
  for (const kind of kinds) {
    try {
      contestants.push(await enter(suite, workloads[0], kind, settings, stack));
    } catch (error) {
      noteFailure(kind.name, error, settings, failures);
    }
  }

  const samples = new Map<string, Sample[]>();
  for (let round = 0; round < settings.rounds; round++) {
    for (const workload of workloads) {
      settings.report(`${suite.name}: round ${round + 1}, ${workloadName(workload)}`);
      for (const contestant of inTurn(contestants, round)) {
        const sample = await oneRun(suite, workload, contestant, round, settings, failures);
        if (sample === undefined) continue;
        const place = key(contestant.kind, workload);
        samples.set(place, [...(samples.get(place) ?? []), sample]);
      }
    }
  }
  return workloads.flatMap((workload) =>
    contestants
      .map(({ kind }) => ({
        workload,
        server: kind.name,
        role: kind.role,
        samples: samples.get(key(kind, workload)) ?? [],
      }))
      .filter((row) => row.samples.length > 0),
  );
}

function key(kind: ServerKind, workload: Workload): string {
  return `${kind.name}: ${workloadName(workload)}`;
}

/** Nobody is always the first after a pause, or always after the same neighbour. */
function inTurn<T>(items: readonly T[], round: number): T[] {
  const first = items.length === 0 ? 0 : round % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}

async function enter(
  suite: Suite,
  workload: Workload,
  kind: ServerKind,
  settings: RunSettings,
  stack: AsyncDisposableStack,
): Promise<Contestant> {
  const { images, tool, serverProcessor } = settings;
  const name = kind.name.replaceAll(/[^a-z0-9]+/gi, "-");
  const path = await images.path(name, suite.medium);
  if (suite.medium !== "memory" && !suite.mode.startsWith("direct") && !suite.cold)
    await images.warm(path);
  if (kind.isLocal === true) return { kind, bench: undefined, path, files: () => [path] };
  const segment = stack.use(await Segment.create(name, workload.mtuBytes));
  const assignment: Assignment = {
    interfaceName: Segment.serverInterface,
    shelf: 1,
    slot: 0,
    path,
    medium: suite.medium,
    mode: suite.mode,
    sizeMebibytes: images.sizeMebibytes,
    isCold: suite.cold,
    workDirectory: join(images.diskDirectory, name),
  };
  await kind.prepare?.(assignment);
  const command = kind.command(assignment);
  const server = stack.use(await Daemon.start(segment.onServer(serverProcessor, command)));
  const bench = new Bench(segment, server, tool);
  await bench.check(workload.sectors);
  return { kind, bench, path, files: () => kind.files?.(assignment) ?? [path] };
}

async function oneRun(
  suite: Suite,
  workload: Workload,
  { kind, bench, path, files }: Contestant,
  round: number,
  settings: RunSettings,
  failures: Failure[],
): Promise<Sample | undefined> {
  if (bench?.server.running === false) return undefined;
  try {
    if (bench === undefined) {
      const { serverProcessor: processor, tool } = settings;
      const durable = suite.mode.endsWith("durable");
      const fio = { path, processor, durable, signal: tool.signal };
      return await measureFio(workload, round, settings.timing, fio);
    }
    for (const file of suite.cold ? files() : []) await settings.images.evict(file);
    if (!suite.cold && kind.hasCache === true && workload.readPercent === 100) {
      await bench.warm(workload.sectors);
    }
    return await bench.measure(suite, workload, round, settings.timing);
  } catch (error) {
    noteFailure(kind.name, error, settings, failures);
    return undefined;
  }
}

function noteFailure(
  server: string,
  error: unknown,
  { report, tool }: RunSettings,
  failures: Failure[],
): void {
  tool.signal.throwIfAborted();
  const reason = error instanceof Error ? error.message : String(error);
  report(`${server}: ${reason}`);
  if (!failures.some((known) => known.server === server && known.reason === reason)) {
    failures.push({ server, reason });
  }
}
