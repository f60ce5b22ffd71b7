import * as v from "valibot";
import { flag, readWith } from "./values.ts";
import { parseDuration, parseSize } from "./units.ts";

/**
 * The keys of [target.cas] that concern what stands in front of an object store: how much of it may
 * be here only, how much of it is kept here, and who may write.
 */

function sizeFrom(least: number, leastText: string, what: string) {
  return readWith(
    (input) => {
      const bytes = typeof input === "string" ? parseSize(input) : input;
      const isOne = typeof bytes === "number" && Number.isSafeInteger(bytes);
      return isOne && bytes >= least && bytes <= 2 ** 50 ? bytes : undefined;
    },
    `is not ${what}`,
    `use one from "${leastText}" to "1PiB"`,
  );
}

function durationFrom(leastMs: number, mostMs: number, range: string, example: string) {
  return readWith(
    (input) => {
      const durationMs = typeof input === "string" ? parseDuration(input) : undefined;
      const isOne = durationMs !== undefined && durationMs >= leastMs && durationMs <= mostMs;
      return isOne ? durationMs : undefined;
    },
    `is not a duration from ${range}`,
    `use a string such as "${example}"`,
  );
}

export const frontEntries = {
  max_dirty: v.optional(sizeFrom(2 ** 20, "1MiB", "a limit of what is not sent yet")),
  disk_cache: v.optional(sizeFrom(64 * 2 ** 20, "64MiB", "the size of a disk cache")),
  upload_interval: v.optional(durationFrom(100, 3_600_000, "100ms to 1h", "5s")),
  lease: v.optional(durationFrom(10_000, 3_600_000, "10s to 1h", "90s")),
  take_over: v.optional(flag),
};

export interface FrontKeys {
  readonly max_dirty?: number | undefined;
  readonly disk_cache?: number | undefined;
  readonly upload_interval?: number | undefined;
  readonly lease?: number | undefined;
  readonly take_over?: boolean | undefined;
}

/** What was asked for; the rest is as the store sees fit. */
export interface FrontConfiguration {
  readonly maxDirtyBytes?: number;
  readonly diskCacheBytes?: number;
  readonly uploadIntervalMs?: number;
  readonly leaseMs?: number;
  readonly takeOver?: boolean;
}

/** The keys have a meaning before an object store only. */
export function frontKeysBeside(keys: FrontKeys): (keyof FrontKeys)[] {
  const names: (keyof FrontKeys)[] = [
    "max_dirty",
    "disk_cache",
    "upload_interval",
    "lease",
    "take_over",
  ];
  return names.filter((name) => keys[name] !== undefined);
}

export function frontOf(keys: FrontKeys): FrontConfiguration {
  return {
    ...(keys.max_dirty === undefined ? {} : { maxDirtyBytes: keys.max_dirty }),
    ...(keys.disk_cache === undefined ? {} : { diskCacheBytes: keys.disk_cache }),
    ...(keys.upload_interval === undefined ? {} : { uploadIntervalMs: keys.upload_interval }),
    ...(keys.lease === undefined ? {} : { leaseMs: keys.lease }),
    ...(keys.take_over === undefined ? {} : { takeOver: keys.take_over }),
  };
}
