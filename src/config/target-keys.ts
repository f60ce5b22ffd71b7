import { UsageError } from "../errors.ts";
import { formatMac } from "../mac-address.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { WIRE_CHANGES } from "../target/wire-change.ts";
import { type TargetConfiguration, targetName } from "./configuration.ts";

/** The keys of a [[target]] table, as a TOML document has them. */
export type TargetTable = Record<string, unknown>;

/**
 * The table that a target would have in the configuration file: keys at their defaults are left out.
 * @throws UsageError for a target on an object store, whose table only its file has
 */
export function targetTable(target: TargetConfiguration): TargetTable {
  const { backend, durability, cas } = target;
  const isSnapshot = cas?.snapshot !== undefined;
  return withoutUndefined({
    shelf: target.shelf,
    slot: target.slot,
    backend,
    path: target.path === "" ? undefined : target.path,
    size: target.sizeBytes,
    read_only: target.readOnly && !isSnapshot ? true : undefined,
    direct: target.direct ? true : undefined,
    durability: durability === "durable" ? undefined : durability,
    writeback_interval:
      durability === "writeback" && target.writebackIntervalMs !== 1000
        ? `${target.writebackIntervalMs}ms`
        : undefined,
    offset: target.offsetSectors === 0 ? undefined : target.offsetSectors * SECTOR_BYTES,
    length: target.lengthSectors === undefined ? undefined : target.lengthSectors * SECTOR_BYTES,
    allow: target.allow.length === 0 ? undefined : target.allow.map(formatMac),
    wire_changes:
      target.wireChanges.length === WIRE_CHANGES.length ? undefined : [...target.wireChanges],
    config_string:
      target.configString === undefined ? undefined : Buffer.from(target.configString).toString(),
    cas: casTable(target),
  });
}

function casTable(target: TargetConfiguration): TargetTable | undefined {
  const { cas } = target;
  if (cas === undefined) return undefined;
  if (cas.blobStore !== "file") {
    throw new UsageError(
      `${targetName(target)} is on an object store: change it in the configuration file, then aoed reload`,
    );
  }
  return withoutUndefined({
    path: cas.path,
    block_size: cas.blockSizeBytes,
    volume: cas.snapshot === undefined ? cas.volume : undefined,
    snapshot: cas.snapshot,
    cache: cas.cacheBytes,
    snapshots: cas.snapshots && { every: `${cas.snapshots.everyMs}ms`, keep: cas.snapshots.keep },
  });
}

export function withoutUndefined(table: TargetTable): TargetTable {
  return Object.fromEntries(Object.entries(table).filter(([, value]) => value !== undefined));
}

/** A table with some keys replaced; null takes a key away. Tables within it are merged likewise. */
export function mergedTable(table: TargetTable, changes: TargetTable): TargetTable {
  const merged: TargetTable = { ...table };
  for (const [key, value] of Object.entries(changes)) {
    const before = merged[key];
    if (value === null) delete merged[key];
    else
      merged[key] =
        isPlainTable(value) && isPlainTable(before) ? mergedTable(before, value) : value;
  }
  return merged;
}

function isPlainTable(value: unknown): value is TargetTable {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
