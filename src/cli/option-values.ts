import { UsageError } from "../errors.ts";
import { parseDuration } from "../config/units.ts";

/** Reads "1s" or "250ms" into milliseconds. */
export function readDuration(text: string, option: string): number {
  const durationMs = parseDuration(text);
  if (durationMs !== undefined && durationMs > 0 && durationMs <= 3_600_000) return durationMs;
  const right = "use one up to 1h such as 1s or 250ms";
  throw new UsageError(`${option}: ${JSON.stringify(text)} is not a duration; ${right}`);
}

export function readCount(text: string, option: string): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count > 0) return count;
  const right = "use a whole number of at least 1";
  throw new UsageError(`${option}: ${JSON.stringify(text)} is not a count; ${right}`);
}

/** How JSON output shows octets that may be anything. */
export function octetsAsBase64(octets: Uint8Array): string {
  return Buffer.from(octets).toString("base64");
}
