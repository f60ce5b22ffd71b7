import { accessSync, constants, readdirSync, statSync, type Stats } from "node:fs";
import { dirname } from "node:path";
import { systemErrorCode, UsageError } from "../errors.ts";
import { checkRange } from "../storage/disk-options.ts";
import type { CasConfiguration, TargetConfiguration } from "../config/configuration.ts";

/** What keeps a target from being served: "KEY: …; …", as for mistakes in the file. */
export interface Obstacle {
  readonly key: string;
  readonly message: string;
}

/**
 * Looks at what the target names, without opening or changing anything.
 * @param stateDirectory a folder that the server makes when it is missing
 */
export function targetObstacle(
  target: TargetConfiguration,
  stateDirectory: string,
): Obstacle | undefined {
  switch (target.backend) {
    case "memory":
      return undefined;
    case "cas":
      return target.cas === undefined ? undefined : storeObstacle(target.cas);
    default:
      return pathObstacle(target, stateDirectory);
  }
}

/** In a folder that is empty otherwise: of a file system, and of a store that was never finished. */
const HARMLESS_NAMES = [
  "lost+found",
  "lock",
  "object-store.json",
  "remote",
  "pack-cache",
  "pack-cache-map",
];

/** What can be seen of a store without opening it, which would need its lock. */
function storeObstacle(cas: CasConfiguration): Obstacle | undefined {
  const { path, objectStore } = cas;
  if (path === undefined) return undefined;
  // Before an object store the folder is made for readers, too.
  const createsVolume = cas.createsVolume || objectStore !== undefined;
  const wrong = (message: string) => ({
    key: "cas.path",
    message: `${JSON.stringify(path)} ${message}`,
  });
  const stats = statOrCode(path);
  if (stats === "ENOENT") {
    if (!createsVolume) return wrong("does not exist; name the folder of a store");
    const folder = nearestFolder(path);
    const denied = accessCode(folder, constants.W_OK | constants.X_OK);
    if (denied === undefined) return undefined;
    return wrong(`cannot be created in ${JSON.stringify(folder)} (${denied}); choose another path`);
  }
  if (typeof stats === "string") return wrong(`cannot be reached (${stats}); check the path`);
  if (!stats.isDirectory()) return wrong("is not a folder; name the folder of a store");
  const denied = accessCode(path, constants.R_OK | constants.W_OK | constants.X_OK);
  if (denied !== undefined) return wrong(`cannot be opened (${denied}); check its permissions`);
  if (isStoreFolder(path)) return undefined;
  if (!createsVolume) return wrong("holds no store; name the folder of one");
  if (readdirSync(path).every((name) => HARMLESS_NAMES.includes(name))) return undefined;
  return wrong("has other files in it, and no store; name an empty folder, or one that is missing");
}

/** The folder that a new one would be made in. */
function nearestFolder(path: string): string {
  let folder = dirname(path);
  while (statOrCode(folder) === "ENOENT") folder = dirname(folder);
  return folder;
}

/** A store has a superblock; one that lost it still has segments, and is refused when opened. */
function isStoreFolder(path: string): boolean {
  return readdirSync(path).some((name) => /^(superblock|segment-\d{8})$/.test(name));
}

function pathObstacle(target: TargetConfiguration, stateDirectory: string): Obstacle | undefined {
  const { path, backend } = target;
  const quoted = JSON.stringify(path);
  const wrong = (message: string) => ({ key: "path", message: `${quoted} ${message}` });
  const stats = statOrCode(path);
  if (stats === "ENOENT" && backend === "file") return absentFileObstacle(target, stateDirectory);
  if (typeof stats === "string") return wrong(`cannot be reached (${stats}); check the path`);
  if (backend === "file" && stats.isBlockDevice()) {
    return wrong('is a block device; use backend = "device"');
  }
  if (backend === "file" && !stats.isFile()) return wrong("is not a regular file; name one");
  if (backend === "device" && stats.isFile()) return wrong('is a file; use backend = "file"');
  if (backend === "device" && !stats.isBlockDevice()) {
    return wrong("is not a block device; name one such as /dev/sdb");
  }
  if (backend === "file") {
    const obstacle = sizeObstacle(target, stats.size);
    if (obstacle !== undefined) return obstacle;
  }
  const denied = accessCode(
    path,
    target.readOnly ? constants.R_OK : constants.R_OK | constants.W_OK,
  );
  return denied === undefined
    ? undefined
    : wrong(`cannot be opened (${denied}); check its permissions, or set read_only = true`);
}

/** The storage's own checks, made before anything is opened. */
function sizeObstacle(target: TargetConfiguration, presentBytes: number): Obstacle | undefined {
  const { path, sizeBytes } = target;
  if (sizeBytes !== undefined && presentBytes < sizeBytes) {
    const right = `extend it with 'truncate -s ${sizeBytes} ${path}', or correct the size`;
    return { key: "size", message: `${path} has ${presentBytes} bytes, which is fewer; ${right}` };
  }
  try {
    checkRange(target, presentBytes);
    return undefined;
  } catch (error) {
    if (error instanceof UsageError) return { key: "path", message: error.message };
    throw error;
  }
}

function absentFileObstacle(
  target: TargetConfiguration,
  stateDirectory: string,
): Obstacle | undefined {
  const quoted = JSON.stringify(target.path);
  // A file there would be a disk in memory, in the place of the device that was meant.
  if (target.path.startsWith("/dev/") && !target.path.startsWith("/dev/shm/")) {
    return { key: "path", message: `${quoted} does not exist; check the path` };
  }
  if (target.sizeBytes === undefined) {
    const right = 'give a size such as "10GiB" to create it, or check the path';
    return { key: "path", message: `${quoted} does not exist; ${right}` };
  }
  if (target.readOnly) {
    const right = "name one that exists, or remove read_only";
    return { key: "path", message: `${quoted} does not exist and may not be written; ${right}` };
  }
  const folder = dirname(target.path);
  const denied = accessCode(folder, constants.W_OK | constants.X_OK);
  if (denied === undefined || (denied === "ENOENT" && folder === stateDirectory)) return undefined;
  const right = `make the folder ${JSON.stringify(folder)} first, writable for aoed`;
  return { key: "path", message: `${quoted} cannot be created (${denied}); ${right}` };
}

export function statOrCode(path: string): Stats | string {
  try {
    return statSync(path);
  } catch (error) {
    return systemErrorCode(error) ?? "unknown error";
  }
}

function accessCode(path: string, mode: number): string | undefined {
  try {
    accessSync(path, mode);
    return undefined;
  } catch (error) {
    return systemErrorCode(error) ?? "unknown error";
  }
}
