import * as v from "valibot";
import {
  BACKENDS,
  BLOB_STORES,
  DEFAULT_BUFFER_COUNT,
  DURABILITIES,
  DEFAULT_WORKERS,
  GARBAGE_COLLECTION_MODES,
  MAX_WORKERS,
  PORT_KINDS,
} from "./configuration.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { WIRE_CHANGES } from "../target/wire-change.ts";
import { flag, describeValue, oneOf, pathSuchAs, readWith, wholeNumber } from "./values.ts";
import { azureSchema, directorySchema, s3Schema } from "./object-store-keys.ts";
import { parseMetricsAddress } from "./metrics-address.ts";
import { parseMac } from "../mac-address.ts";
import { frontEntries } from "./front-keys.ts";
import { parseDuration, parseSize } from "./units.ts";

/**
 * The keys of the configuration file, one by one. A message says what is wrong, then what would be
 * right; what concerns several keys is in rules.ts.
 */

/** The Linux driver takes a shelf of all ones for a wrongly set switch and ignores the target. */
const SHELF_THAT_LINUX_REFUSES = 4095;
const MAX_CONFIG_STRING_BYTES = 1024;
const MAX_INTERFACE_NAME_BYTES = 15;
const DEFAULT_WRITEBACK_INTERVAL = "1s";
const DEFAULT_CACHE = "256MiB";
const LEAST_CACHE_BYTES = 1024 * 1024;
const MAX_CACHE_BYTES = 2 ** 40;
/** More snapshots than the timer of one volume can use sensibly. */
const MAX_KEPT_SNAPSHOTS = 10_000;
const DEFAULT_KEPT_SNAPSHOTS = 24;
const YEAR_MS = 366 * 86_400_000;

/** Octets: "16MiB", or a bare number of octets; whole sectors. */
function readSectorSize(input: unknown): number | undefined {
  const bytes = typeof input === "string" ? parseSize(input) : input;
  if (typeof bytes !== "number" || !Number.isSafeInteger(bytes)) return undefined;
  return bytes >= 0 && bytes % SECTOR_BYTES === 0 ? bytes : undefined;
}

const size = readWith(
  (input) => readSectorSize(input) || undefined,
  "is not a size in whole sectors",
  'use a multiple of 512 octets such as "10GiB" or 1048576',
);

const offset = readWith(
  readSectorSize,
  "is not an offset in whole sectors",
  'use a multiple of 512 octets such as "1MiB" or 0',
);

export function isBlockSize(bytes: number): boolean {
  return bytes >= 512 && bytes <= 65536 && Number.isInteger(Math.log2(bytes));
}

const blockSize = readWith(
  (input) => {
    const bytes = readSectorSize(input) ?? 0;
    return isBlockSize(bytes) ? bytes : undefined;
  },
  "is not a block size",
  "use a power of two from 512 to 65536, best 4096",
);

const writebackInterval = readWith(
  (input) => {
    const durationMs = typeof input === "string" ? parseDuration(input) : undefined;
    if (durationMs === undefined) return undefined;
    return durationMs >= 10 && durationMs <= 3_600_000 ? durationMs : undefined;
  },
  "is not a duration from 10ms to 1h",
  'use a string such as "1s"',
);

const cache = readWith(
  (input) => {
    const bytes = typeof input === "string" ? parseSize(input) : input;
    if (typeof bytes !== "number" || !Number.isSafeInteger(bytes)) return undefined;
    return bytes >= LEAST_CACHE_BYTES && bytes <= MAX_CACHE_BYTES ? bytes : undefined;
  },
  "is not a cache size",
  'use one from "1MiB" to "1TiB"',
);

const snapshotInterval = readWith(
  (input) => {
    const durationMs = typeof input === "string" ? parseDuration(input) : undefined;
    if (durationMs === undefined) return undefined;
    return durationMs >= 1000 && durationMs <= YEAR_MS ? durationMs : undefined;
  },
  "is not a duration from 1s to 366d",
  'use a string such as "1h"',
);

const keptSnapshots = readWith(
  (input) => wholeNumber(input, 1, MAX_KEPT_SNAPSHOTS),
  "is not a number of snapshots",
  `use a whole number from 1 to ${MAX_KEPT_SNAPSHOTS}`,
);

/** Names are shown, typed, and part of addresses of the control API. */
export function isVolumeName(input: unknown): input is string {
  return typeof input === "string" && /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/.test(input);
}

export const VOLUME_NAME_RULE =
  'use up to 100 letters, digits, ".", "_" and "-", such as "databases"';

const volumeName = readWith(
  (input) => (isVolumeName(input) ? input : undefined),
  "is not the name of a volume",
  VOLUME_NAME_RULE,
);

const snapshotReference = readWith(
  (input) => (typeof input === "string" && /^[0-9a-fA-F]{1,64}$/.test(input) ? input : undefined),
  "is not a snapshot",
  'use its id such as "17" or the beginning of its root hash; aoed snapshot list shows them',
);

export function isInterfaceName(input: unknown): input is string {
  return (
    typeof input === "string" &&
    Buffer.byteLength(input) <= MAX_INTERFACE_NAME_BYTES &&
    /^[^\s/:\p{Cc}]+$/u.test(input) &&
    input !== "." &&
    input !== ".."
  );
}

const interfaceName = readWith(
  (input) => (isInterfaceName(input) ? input : undefined),
  "is not the name of a network interface",
  'use one such as "eth0"',
);

const accountName = readWith(
  (input) =>
    typeof input === "string" && /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?$/.test(input)
      ? input
      : undefined,
  "is not the name of a user or group",
  'use one such as "aoed"',
);

const permissionBits = readWith(
  (input) => {
    const bits = typeof input === "string" && /^0?[0-7]{3}$/.test(input) ? parseInt(input, 8) : NaN;
    // Nobody can use a socket that its owner cannot; it is no program.
    return (bits & 0o600) === 0o600 && (bits & 0o111) === 0 ? bits : undefined;
  },
  "is not a mode for a socket",
  'use octal digits such as "0660"',
);

const macAddress = readWith(
  (input) => (typeof input === "string" ? parseMac(input) : undefined),
  "is not a MAC address",
  'use a string such as "52:54:00:12:34:56"',
);

function listOf<Item extends ReturnType<typeof readWith<string | number>>>(
  item: Item,
  what: string,
  example: string,
) {
  return v.array(
    item,
    ({ input }) => `${describeValue(input)} is not a list of ${what}; use one such as ${example}`,
  );
}

const configString = readWith(
  (input) => {
    if (typeof input !== "string") return undefined;
    const octets = new TextEncoder().encode(input);
    return octets.length <= MAX_CONFIG_STRING_BYTES ? octets : undefined;
  },
  "is not a config string",
  "use a string of at most 1024 octets",
);

const metricsAddresses = readWith(
  (input) => {
    const texts: unknown[] = Array.isArray(input) ? input : [input];
    const addresses = texts.flatMap((text) =>
      typeof text === "string" ? (parseMetricsAddress(text) ?? []) : [],
    );
    return addresses.length > 0 && addresses.length === texts.length ? addresses : undefined;
  },
  "is not an address to listen on",
  'use "127.0.0.1:9190", "[::1]:9190", "unix:/run/aoed/metrics.sock", or a list of these',
);

function shelfNumber(input: unknown): number | undefined {
  return input === SHELF_THAT_LINUX_REFUSES ? undefined : wholeNumber(input, 0, 65534);
}

const MAX_BUSY_POLL_MS = 1;

const busyPoll = readWith(
  (input) => {
    const durationMs = typeof input === "string" ? parseDuration(input) : undefined;
    if (durationMs === undefined) return undefined;
    return durationMs >= 0 && durationMs <= MAX_BUSY_POLL_MS ? durationMs : undefined;
  },
  "is not a duration of at most 1ms",
  'use for example "50us", or leave it out',
);

export const serverSchema = v.object({
  interface: v.optional(interfaceName),
  interfaces: v.optional(listOf(interfaceName, "interfaces", '["eth0", "eth1"]')),
  port: v.optional(oneOf(PORT_KINDS, "a kind of port"), "auto"),
  buffer_count: v.optional(
    readWith(
      (input) => wholeNumber(input, 2, 1024),
      "is not a buffer count",
      "use a whole number from 2 to 1024",
    ),
    DEFAULT_BUFFER_COUNT,
  ),
  busy_poll: v.optional(busyPoll),
  workers: v.optional(
    readWith(
      (input) => wholeNumber(input, 1, MAX_WORKERS),
      "is not a number of workers",
      `use a whole number from 1 to ${MAX_WORKERS}`,
    ),
    DEFAULT_WORKERS,
  ),
  state_dir: v.optional(pathSuchAs("/var/lib/aoed")),
  control_socket: v.optional(pathSuchAs("/run/aoed/control.sock")),
  gc: v.optional(oneOf(GARBAGE_COLLECTION_MODES, "a way to collect garbage"), "auto"),
  metrics: v.optional(metricsAddresses),
  web_control: v.optional(flag, false),
  user: v.optional(accountName),
  control_socket_owner: v.optional(accountName),
  control_socket_group: v.optional(accountName),
  control_socket_mode: v.optional(permissionBits, "0600"),
});

export const snapshotsSchema = v.object({
  every: v.optional(snapshotInterval),
  keep: v.optional(keptSnapshots, DEFAULT_KEPT_SNAPSHOTS),
});

export const casSchema = v.object({
  blob_store: v.optional(oneOf(BLOB_STORES, "a blob store"), "file"),
  path: v.optional(pathSuchAs("/data/aoe-store")),
  block_size: v.optional(blockSize),
  volume: v.optional(volumeName),
  snapshot: v.optional(snapshotReference),
  cache: v.optional(cache, DEFAULT_CACHE),
  snapshots: v.optional(snapshotsSchema),
  ...frontEntries,
  directory: v.optional(directorySchema),
  s3: v.optional(s3Schema),
  azure: v.optional(azureSchema),
});

export const targetSchema = v.object({
  shelf: readWith(
    shelfNumber,
    "is not a shelf",
    "use a whole number from 0 to 65534, but not 4095, which Linux clients ignore",
  ),
  slot: readWith(
    (input) => wholeNumber(input, 0, 254),
    "is not a slot",
    "use a whole number from 0 to 254 (255 means every slot)",
  ),
  backend: oneOf(BACKENDS, "a backend"),
  path: v.optional(pathSuchAs("/data/disk.img")),
  size: v.optional(size),
  read_only: v.optional(flag, false),
  direct: v.optional(flag, false),
  durability: v.optional(oneOf(DURABILITIES, "a durability"), "durable"),
  writeback_interval: v.optional(writebackInterval, DEFAULT_WRITEBACK_INTERVAL),
  offset: v.optional(offset, 0),
  length: v.optional(size),
  allow: v.optional(listOf(macAddress, "MAC addresses", '["52:54:00:12:34:56"]'), []),
  wire_changes: v.optional(
    v.array(
      oneOf(WIRE_CHANGES, "what initiators may change"),
      ({ input }) => `${describeValue(input)} is not a list; use one such as ["config", "reserve"]`,
    ),
    [...WIRE_CHANGES],
  ),
  config_string: v.optional(configString),
  cas: v.optional(casSchema),
});

export type TargetKeys = v.InferOutput<typeof targetSchema>;
