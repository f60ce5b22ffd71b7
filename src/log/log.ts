import { createRequire } from "node:module";
import { destination, type Logger, pino } from "pino";
import type PinoPretty from "pino-pretty";
import type { LogLevel } from "./levels.ts";

/**
 * Logs go to standard error: for people when that is a terminal, one JSON object a line otherwise.
 * Standard output is kept for what a command answers.
 */
export type Log = Logger;

const STANDARD_ERROR = 2;

export interface LogOptions {
  readonly level: LogLevel;
  /** Whether a person reads it; by default, whether standard error is a terminal. */
  readonly humanReadable?: boolean;
  /** Where lines go instead of standard error. */
  readonly stream?: { write(line: string): void };
}

export function createLog(options: LogOptions): Log {
  const humanReadable = options.humanReadable ?? process.stderr.isTTY;
  const stream = options.stream ?? (humanReadable ? prettyStream() : synchronousStandardError());
  return pino({ level: options.level, base: null, timestamp: isoTime }, stream);
}

/** Lines are written at once, so that none is lost when the process ends or dies. */
function synchronousStandardError(): { write(line: string): void } {
  return destination({ fd: STANDARD_ERROR, sync: true });
}

/** Loaded only here: it costs tens of milliseconds that a service does not need. */
function prettyStream(): { write(line: string): void } {
  const pretty = createRequire(import.meta.url)("pino-pretty") as typeof PinoPretty;
  return pretty({ destination: STANDARD_ERROR, sync: true, translateTime: "SYS:HH:MM:ss.l" });
}

function isoTime(): string {
  return `,"time":"${new Date().toISOString()}"`;
}

/** Milliseconds that only grow. */
export type MonotonicClock = () => number;

export interface RateLimit {
  /** Lines of one kind that may follow each other at once. */
  readonly burst: number;
  /** After the burst: one line of that kind in this time. */
  readonly intervalMs: number;
}

/**
 * Warnings that anybody on the wire can cause, limited so that a flood cannot fill a disk. Each
 * kind has a bucket of its own; the first line after a pause says how many were left out.
 */
export class RateLimitedLog {
  readonly #log: Pick<Log, "warn">;
  readonly #clock: MonotonicClock;
  readonly #limit: RateLimit;
  readonly #buckets = new Map<string, Bucket>();

  constructor(
    log: Pick<Log, "warn">,
    clock: MonotonicClock = () => performance.now(),
    limit: RateLimit = { burst: 5, intervalMs: 10_000 },
  ) {
    this.#log = log;
    this.#clock = clock;
    this.#limit = limit;
  }

  /**
   * @param kind one of a fixed few: a kind made from what a frame holds would grow without bound
   * @param details called only when the line is written
   */
  warn(kind: string, message: string, details?: () => Record<string, unknown>): void {
    const bucket = this.#bucket(kind);
    const { burst, intervalMs } = this.#limit;
    const now = this.#clock();
    bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.filledAtMs) / intervalMs);
    bucket.filledAtMs = now;
    if (bucket.tokens < 1) {
      bucket.suppressed++;
      return;
    }
    bucket.tokens--;
    const suppressed = bucket.suppressed === 0 ? {} : { suppressed: bucket.suppressed };
    bucket.suppressed = 0;
    this.#log.warn({ kind, ...details?.(), ...suppressed }, message);
  }

  #bucket(kind: string): Bucket {
    const known = this.#buckets.get(kind);
    if (known !== undefined) return known;
    const bucket = { tokens: this.#limit.burst, filledAtMs: this.#clock(), suppressed: 0 };
    this.#buckets.set(kind, bucket);
    return bucket;
  }
}

interface Bucket {
  tokens: number;
  filledAtMs: number;
  /** Lines left out since the last one written. */
  suppressed: number;
}
