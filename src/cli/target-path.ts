import { accessSync, constants, statSync, type Stats } from "node:fs";
import { dirname } from "node:path";
import { systemErrorCode, UsageError } from "../errors.ts";
import { checkRange } from "../storage/disk-options.ts";
import type { TargetConfiguration } from "../config/configuration.ts";

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
  if (target.backend === "memory") return undefined;
  if (target.backend !== "cas") return pathObstacle(target, stateDirectory);
  const message = '"cas" is not in this version; use "file", "device" or "memory"';
  return { key: "backend", message };
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
