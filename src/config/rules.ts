import { resolve } from "node:path";
import type { CasConfiguration, PortKind, TargetConfiguration } from "./configuration.ts";
import { targetName } from "./configuration.ts";
import { frontKeysBeside, frontOf } from "./front-keys.ts";
import { objectStoreOf, objectStoreRules } from "./object-store-keys.ts";
import type { TargetKeys } from "./schema.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";

/** What is wrong with one key of a table, and what would be right: "KEY: …; …". */
export interface RuleViolation {
  /** The key within its table; "" for the table as a whole. */
  readonly key: string;
  readonly message: string;
}

/** Keys that a backend does not have; saying so beats ignoring them. */
const FOREIGN_KEYS: Record<TargetConfiguration["backend"], readonly (keyof TargetKeys)[]> = {
  file: ["cas"],
  device: ["cas", "size"],
  memory: ["cas", "path", "direct", "durability", "writeback_interval", "offset", "length"],
  cas: ["path", "direct", "offset", "length"],
};

/** Rules between the keys of one target. `present` holds the keys that the file really has. */
export function targetRules(keys: TargetKeys, present: ReadonlySet<string>): RuleViolation[] {
  const violations: RuleViolation[] = [];
  const wrong = (key: string, message: string) => violations.push({ key, message });
  for (const key of FOREIGN_KEYS[keys.backend]) {
    if (present.has(key)) wrong(key, `does not apply to a ${keys.backend} target; remove it`);
  }
  if ((keys.backend === "file" || keys.backend === "device") && keys.path === undefined) {
    wrong("path", `is missing; name the ${keys.backend} to export`);
  }
  if (keys.backend === "memory" && keys.size === undefined) {
    wrong("size", 'is missing; a memory target needs one such as "64MiB"');
  }
  if (keys.backend === "cas") violations.push(...casRules(keys));
  if (keys.durability === "remote" && !isOnObjectStore(keys)) {
    const right = 'use "durable" or "writeback"';
    wrong("durability", `"remote" is for cas targets on an object store only; ${right}`);
  }
  if (present.has("writeback_interval") && keys.durability !== "writeback") {
    wrong("writeback_interval", 'has no effect; set durability = "writeback" or remove it');
  }
  if (keys.size !== undefined && keys.offset + (keys.length ?? SECTOR_BYTES) > keys.size) {
    const key = keys.length === undefined ? "offset" : "length";
    wrong(key, "reaches beyond size; make size larger or this smaller");
  }
  return violations;
}

function isOnObjectStore(keys: TargetKeys): boolean {
  return keys.backend === "cas" && keys.cas !== undefined && keys.cas.blob_store !== "file";
}

function casRules(keys: TargetKeys): RuleViolation[] {
  if (keys.cas === undefined) {
    return [
      { key: "cas", message: "is missing; add a table [target.cas] with blob_store and path" },
    ];
  }
  const violations: RuleViolation[] = [];
  const wrong = (key: string, message: string) => violations.push({ key, message });
  if (keys.cas.path === undefined) {
    const isLocal = keys.cas.blob_store === "file";
    const what = isLocal ? "the folder of the blob store" : "a local folder for its log and cache";
    wrong("cas.path", `is missing; name ${what}`);
  }
  for (const { key, message } of objectStoreRules(keys.cas)) wrong(`cas.${key}`, message);
  if (keys.cas.blob_store === "file") {
    for (const key of frontKeysBeside(keys.cas)) {
      wrong(
        `cas.${key}`,
        "is for what is in an object store; remove it, or name one in blob_store",
      );
    }
  }
  if (keys.cas.snapshots !== undefined && keys.cas.snapshots.every === undefined) {
    wrong("cas.snapshots.every", 'is missing; say how often, such as "1h"');
  }
  if (keys.cas.snapshots !== undefined && keys.read_only) {
    wrong("cas.snapshots", "has no effect on a read-only target; remove one of the two");
  }
  if (keys.cas.snapshot === undefined) return violations;
  for (const key of ["volume", "block_size", "snapshots"] as const) {
    if (keys.cas[key] === undefined) continue;
    wrong(`cas.${key}`, "does not apply to a target of a snapshot; remove it or cas.snapshot");
  }
  if (keys.size !== undefined) {
    wrong("size", "does not apply to a target of a snapshot, which has its own; remove it");
  }
  if (keys.durability !== "durable") {
    wrong("durability", "does not apply to a target of a snapshot, which takes no writes");
  }
  return violations;
}

/** @param folder what relative paths are relative to */
export function toTargetConfiguration(keys: TargetKeys, folder: string): TargetConfiguration {
  return {
    shelf: keys.shelf,
    slot: keys.slot,
    backend: keys.backend,
    path: keys.path === undefined ? "" : resolve(folder, keys.path),
    sizeBytes: keys.size,
    readOnly: keys.read_only || (keys.backend === "cas" && keys.cas?.snapshot !== undefined),
    direct: keys.direct,
    durability: keys.durability,
    writebackIntervalMs: keys.writeback_interval,
    offsetSectors: keys.offset / SECTOR_BYTES,
    lengthSectors: keys.length === undefined ? undefined : keys.length / SECTOR_BYTES,
    allow: [...new Set(keys.allow)],
    wireChanges: [...new Set(keys.wire_changes)],
    configString: keys.config_string,
    cas:
      keys.backend === "cas" && keys.cas !== undefined
        ? casOf(keys.cas, folder, targetName(keys), keys.read_only)
        : undefined,
  };
}

function casOf(
  keys: NonNullable<TargetKeys["cas"]>,
  folder: string,
  defaultVolume: string,
  readOnly: boolean,
): CasConfiguration {
  const { every, keep } = keys.snapshots ?? {};
  return {
    blobStore: keys.blob_store,
    path: keys.path === undefined ? undefined : resolve(folder, keys.path),
    objectStore: objectStoreOf(keys, folder),
    front: keys.blob_store === "file" ? undefined : frontOf(keys),
    blockSizeBytes: keys.block_size,
    volume: keys.volume ?? defaultVolume,
    createsVolume: keys.snapshot === undefined && !readOnly,
    snapshot: keys.snapshot,
    cacheBytes: keys.cache,
    snapshots: every === undefined || keep === undefined ? undefined : { everyMs: every, keep },
  };
}

/** What is wrong with this port and this number of workers, if anything is. */
export function portConflict(port: PortKind, workers: number): string | undefined {
  if (port !== "tap" || workers === 1) return undefined;
  return 'is more than one, and a TAP interface has one owner; use 1, or port = "packet" on a NIC';
}

export interface TargetConflict extends RuleViolation {
  /** The later of the two targets, by its place in the list. */
  readonly index: number;
}

/** Rules between targets: an address serves once, and one target alone writes to a path. */
export function targetConflicts(
  targets: readonly (TargetConfiguration | undefined)[],
): TargetConflict[] {
  const conflicts: TargetConflict[] = [];
  const byAddress = new Set<string>();
  const userByPath = new Map<string, { name: string; readOnly: boolean }>();
  const userByVolume = new Map<string, string>();
  const storeByPath = new Map<string, string>();
  for (const [index, target] of targets.entries()) {
    if (target === undefined) continue;
    const name = targetName(target);
    const { path, blobStore, objectStore } = target.cas ?? {};
    if (path !== undefined) {
      const store = JSON.stringify([blobStore, objectStore]);
      if ((storeByPath.get(path) ?? store) !== store) {
        const message = `${JSON.stringify(path)} belongs to another blob store; use another path`;
        conflicts.push({ index, key: "cas.path", message });
      }
      storeByPath.set(path, store);
    }
    if (byAddress.has(name)) {
      const message = `${name} is defined twice; give one of the two another shelf or slot`;
      conflicts.push({ index, key: "slot", message });
    }
    byAddress.add(name);
    const volume = volumeOf(target);
    if (volume !== undefined) {
      const user = userByVolume.get(volume);
      if (user !== undefined) {
        const right = "name another volume with cas.volume, or a snapshot with cas.snapshot";
        const message = `the volume ${target.cas?.volume} is already used by ${user}; ${right}`;
        conflicts.push({ index, key: "cas.volume", message });
      }
      userByVolume.set(volume, user ?? name);
    }
    if (target.path === "") continue;
    const user = userByPath.get(target.path);
    if (user !== undefined && !(user.readOnly && target.readOnly)) {
      const right = "use another path, or set read_only = true in both";
      const message = `${JSON.stringify(target.path)} is already used by ${user.name}; ${right}`;
      conflicts.push({ index, key: "path", message });
    }
    userByPath.set(target.path, user ?? { name, readOnly: target.readOnly });
  }
  return conflicts;
}

/** The volume that a target needs for itself alone, if it does. */
function volumeOf({ cas }: TargetConfiguration): string | undefined {
  if (cas === undefined || cas.snapshot !== undefined || cas.path === undefined) return undefined;
  return JSON.stringify([cas.path, cas.volume]);
}
