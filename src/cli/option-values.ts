import { UsageError } from "../errors.ts";
import { isBlockSize, isVolumeName, VOLUME_NAME_RULE } from "../config/schema.ts";
import { parseDuration, parseSize } from "../config/units.ts";

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

/** Looked at before a store is opened or made: a mistake must not leave a new one behind. */
export function checkNewName(name: string, option: string): void {
  if (isVolumeName(name)) return;
  const wrong = `${JSON.stringify(name)} is not the name of a volume`;
  throw new UsageError(`${option}: ${wrong}; ${VOLUME_NAME_RULE}`);
}

export function readBlockSize(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseSize(text);
  if (bytes !== undefined && isBlockSize(bytes)) return bytes;
  const right = "use a power of two from 512 to 65536, best 4096";
  throw new UsageError(`--block-size: ${JSON.stringify(text)} is not a block size; ${right}`);
}

/** Reads "100MiB", octets a second. */
export function readRate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytesPerSecond = parseSize(text.replace(/\/s$/, ""));
  if (bytesPerSecond !== undefined && bytesPerSecond > 0) return bytesPerSecond;
  const right = "use octets a second such as 100MiB";
  throw new UsageError(`--rate: ${JSON.stringify(text)} is not a rate; ${right}`);
}

/** How JSON output shows octets that may be anything. */
export function octetsAsBase64(octets: Uint8Array): string {
  return Buffer.from(octets).toString("base64");
}
