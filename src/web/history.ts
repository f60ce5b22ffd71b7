import type { ServerStatus, TargetStatus } from "../control/control-api.ts";
import type { CommandKindName } from "../metrics/command-kind.ts";
import { latencyQuantileUs } from "../metrics/latency-buckets.ts";

/** What one target did in one second. */
export interface TargetSample {
  readonly operations: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Microseconds; null when nothing was asked. */
  readonly readP50Us: number | null;
  readonly readP99Us: number | null;
  readonly writeP50Us: number | null;
  readonly writeP99Us: number | null;
}

export interface Sample {
  /** Grows by one a sample. */
  readonly sequence: number;
  /** Milliseconds of the wall clock. */
  readonly atMs: number;
  /** By the name of the target. */
  readonly targets: Readonly<Record<string, TargetSample>>;
}

/** The last minutes, a sample a second, for charts. */
const HISTORY_SAMPLES = 300;

export class History {
  readonly #samples: Sample[] = [];
  #previous: ServerStatus | undefined;
  #previousMs = 0;
  #sequence = 0;

  /** @param nowMs of the wall clock */
  add(status: ServerStatus, nowMs: number): void {
    const previous = this.#previous;
    const seconds = (nowMs - this.#previousMs) / 1000;
    this.#previous = status;
    this.#previousMs = nowMs;
    if (previous === undefined || seconds <= 0) return;
    const before = new Map(previous.targets.map((target) => [nameOf(target), target]));
    const targets = status.targets.map((target) => {
      const name = nameOf(target);
      return [name, sampleOf(target, before.get(name), seconds)] as const;
    });
    const sample = {
      sequence: ++this.#sequence,
      atMs: nowMs,
      targets: Object.fromEntries(targets),
    };
    this.#samples.push(sample);
    if (this.#samples.length > HISTORY_SAMPLES) this.#samples.shift();
  }

  /** The samples after one. */
  since(sequence: number): readonly Sample[] {
    return this.#samples.filter((sample) => sample.sequence > sequence);
  }
}

function nameOf({ shelf, slot }: TargetStatus): string {
  return `e${shelf}.${slot}`;
}

function sampleOf(
  now: TargetStatus,
  before: TargetStatus | undefined,
  seconds: number,
): TargetSample {
  const read = changeOf(now, before, "read");
  const write = changeOf(now, before, "write");
  const answered = (target: TargetStatus | undefined): number =>
    (target?.commands ?? []).reduce((sum, command) => sum + command.answered, 0);
  return {
    // A target that was removed and added again begins at nothing.
    operations: Math.max(0, answered(now) - answered(before)) / seconds,
    readBytes: read.bytes / seconds,
    writtenBytes: write.bytes / seconds,
    readP50Us: latencyQuantileUs(read.counts, 0.5) ?? null,
    readP99Us: latencyQuantileUs(read.counts, 0.99) ?? null,
    writeP50Us: latencyQuantileUs(write.counts, 0.5) ?? null,
    writeP99Us: latencyQuantileUs(write.counts, 0.99) ?? null,
  };
}

function changeOf(
  now: TargetStatus,
  before: TargetStatus | undefined,
  command: CommandKindName,
): { bytes: number; counts: number[] } {
  const current = now.commands.find((figures) => figures.command === command);
  const earlier = before?.commands.find((figures) => figures.command === command);
  const counts = (current?.latencyCounts ?? []).map((count, bucket) =>
    Math.max(0, count - (earlier?.latencyCounts[bucket] ?? 0)),
  );
  return { bytes: Math.max(0, (current?.bytes ?? 0) - (earlier?.bytes ?? 0)), counts };
}
