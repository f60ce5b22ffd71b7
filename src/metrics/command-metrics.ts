import {
  CommandKind,
  type CommandKindName,
  commandKinds,
  ErrorReason,
  type ErrorReasonName,
  errorReasons,
} from "./command-kind.ts";
import { LATENCY_BUCKETS, latencyBucket } from "./latency-buckets.ts";

/** What was answered to one kind of command since the start. */
export interface CommandFigures {
  readonly command: CommandKindName;
  /** Replies, those with an error included. */
  readonly answered: number;
  readonly errors: number;
  /** Of data, either way. */
  readonly bytes: number;
  /** Of all replies together, from when the request is taken up until the reply goes to the kernel. */
  readonly durationSeconds: number;
  /** How many took how long: see latency-buckets.ts. */
  readonly latencyCounts: readonly number[];
}

/** Per second, over the last second that was sampled. */
export interface Rates {
  readonly operations: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

const NO_RATES: Rates = { operations: 0, readBytes: 0, writtenBytes: 0 };

/** The counts of a kind, side by side so that they lie in one line of the cache. */
const COUNTS = 4;
const ANSWERED = 0;
const BYTES = 1;
const DURATION_US = 2;
const ERRORS = 3;

/** The counters of one target. Counting changes typed arrays and nothing else. */
export class CommandMetrics {
  readonly #counts = new Float64Array(commandKinds.length * COUNTS);
  readonly #latencies = new Float64Array(commandKinds.length * LATENCY_BUCKETS);
  readonly #reasons = new Float64Array(errorReasons.length);
  readonly #before = new Float64Array(3);
  #faultedAtMs: number | undefined;
  rates: Rates = NO_RATES;

  /** A reply has been written. @param bytes of data that it moved */
  answered(kind: CommandKind, bytes: number): void {
    this.#counts[kind * COUNTS + ANSWERED]++;
    this.#counts[kind * COUNTS + BYTES] += bytes;
  }

  /** That reply says that the command failed. @param nowMs of the wall clock */
  failed(kind: CommandKind, reason: ErrorReason, nowMs: number): void {
    this.#counts[kind * COUNTS + ERRORS]++;
    if (reason === ErrorReason.none) return;
    this.#reasons[reason]++;
    if (reason === ErrorReason.deviceFault || reason === ErrorReason.uncorrectable) {
      this.#faultedAtMs = nowMs;
    }
  }

  /** A reply leaves `durationMs` after its request came. */
  lasted(kind: CommandKind, durationMs: number): void {
    const durationUs = durationMs < 2_000_000 ? (durationMs * 1000) | 0 : 2_000_000_000;
    this.#counts[kind * COUNTS + DURATION_US] += durationUs;
    this.#latencies[kind * LATENCY_BUCKETS + latencyBucket(durationUs)]++;
  }

  /** Of each kind that has been asked for. */
  commands(): CommandFigures[] {
    return commandKinds.flatMap((command, kind) =>
      this.#counts[kind * COUNTS + ANSWERED] === 0 ? [] : [this.#figures(command, kind)],
    );
  }

  #figures(command: CommandKindName, kind: number): CommandFigures {
    const first = kind * LATENCY_BUCKETS;
    const counts = this.#counts.subarray(kind * COUNTS, (kind + 1) * COUNTS);
    return {
      command,
      answered: counts[ANSWERED],
      errors: counts[ERRORS],
      bytes: counts[BYTES],
      durationSeconds: counts[DURATION_US] / 1e6,
      latencyCounts: [...this.#latencies.subarray(first, first + LATENCY_BUCKETS)],
    };
  }

  errors(): Record<ErrorReasonName, number> {
    const counts = errorReasons.map((reason, index) => [reason, this.#reasons[index]]);
    return Object.fromEntries(counts) as Record<ErrorReasonName, number>;
  }

  /** When the disk last failed a request, in milliseconds of the wall clock. */
  get faultedAtMs(): number | undefined {
    return this.#faultedAtMs;
  }

  /** Renews `rates`; `elapsedSeconds` since the last call. */
  sample(elapsedSeconds: number): void {
    const read = this.#counts[CommandKind.read * COUNTS + BYTES];
    const written = this.#counts[CommandKind.write * COUNTS + BYTES];
    const operations = commandKinds.reduce(
      (sum, _, kind) => sum + this.#counts[kind * COUNTS + ANSWERED],
      0,
    );
    const [operationsBefore, readBefore, writtenBefore] = this.#before;
    this.rates = {
      operations: (operations - operationsBefore) / elapsedSeconds,
      readBytes: (read - readBefore) / elapsedSeconds,
      writtenBytes: (written - writtenBefore) / elapsedSeconds,
    };
    this.#before[0] = operations;
    this.#before[1] = read;
    this.#before[2] = written;
  }
}
