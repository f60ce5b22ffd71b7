import { createRequire } from "node:module";
import { destination, type Logger, pino } from "pino";
import type PinoPretty from "pino-pretty";
import type { LogLevel } from "./levels.ts";
import { LineBudget, type MonotonicClock, type RateLimit } from "./line-budget.ts";

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

/**
 * Warnings that anybody on the wire can cause, limited so that a flood cannot fill a disk. Each
 * kind has a budget of its own; the first line after a pause says how many were left out.
 */
export class RateLimitedLog {
  readonly #log: Pick<Log, "warn">;
  readonly #budget: LineBudget;

  constructor(log: Pick<Log, "warn">, clock?: MonotonicClock, limit?: RateLimit) {
    this.#log = log;
    this.#budget = new LineBudget(clock, limit);
  }

  /**
   * @param kind one of a fixed few
   * @param details called only when the line is written
   */
  warn(kind: string, message: string, details?: () => Record<string, unknown>): void {
    const suppressed = this.#budget.take(kind);
    if (suppressed === undefined) return;
    this.#log.warn({ kind, ...details?.(), ...(suppressed > 0 ? { suppressed } : {}) }, message);
  }
}
