import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { UsageError } from "../errors.ts";
import { ownUserName } from "../system/account.ts";
import { type Durability, SECTOR_BYTES } from "./block-storage.ts";
import type { DiskStorageOptions } from "./disk-storage.ts";

/** What can be said of a file and of a block device that is served. */
export interface DiskOptions {
  readonly path: string;
  readonly readOnly?: boolean | undefined;
  /** Past the page cache (O_DIRECT). */
  readonly direct?: boolean | undefined;
  /** "durable" when not said. "remote" is for object stores and refused here. */
  readonly durability?: Durability | undefined;
  /** Under "writeback": acknowledged data is made durable at least this often; 1000 if not said. */
  readonly writebackIntervalMs?: number | undefined;
  /** Where the disk begins in the file or device; 0 when not said. */
  readonly offsetSectors?: number | undefined;
  /** Its length; to the end when not said. */
  readonly lengthSectors?: number | undefined;
  /** False: worker threads do everything; else io_uring what it can, where it is not forbidden. */
  readonly useRing?: boolean | undefined;
  /** Told in one line about faults of the disk, at most once a second. */
  readonly onFault?: ((message: string) => void) | undefined;
}

const DEFAULT_WRITEBACK_INTERVAL_MS = 1000;

/** What was not said is filled in. AOED_IO_URING=off is for those who look for a fault. */
export function diskStorageOptions(options: DiskOptions): DiskStorageOptions {
  return {
    durability: options.durability ?? "durable",
    writebackIntervalMs: options.writebackIntervalMs ?? DEFAULT_WRITEBACK_INTERVAL_MS,
    useRing: options.useRing ?? process.env["AOED_IO_URING"] !== "off",
    onFault: options.onFault,
  };
}

/** @throws UsageError for what no file or device can do */
export function checkDiskOptions(options: DiskOptions): void {
  if (options.durability === "remote") {
    throw new UsageError(
      `${options.path}: durability "remote" needs an object store; ` +
        'use "durable" or "writeback" for files and devices',
    );
  }
}

/**
 * Checks that the wanted range lies in a file or device of this size.
 * @throws UsageError
 */
export function checkRange(options: DiskOptions, sizeBytes: number): void {
  const { path, offsetSectors = 0, lengthSectors } = options;
  if (sizeBytes === 0) {
    throw new UsageError(`${path} is empty: give it a size with 'truncate -s 10G ${path}'`);
  }
  if (sizeBytes % SECTOR_BYTES !== 0) {
    const whole = Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
    throw new UsageError(
      `${path} has ${sizeBytes} bytes, which is no multiple of ${SECTOR_BYTES}: ` +
        `extend it with 'truncate -s ${whole} ${path}'`,
    );
  }
  const offsetBytes = offsetSectors * SECTOR_BYTES;
  if (offsetBytes >= sizeBytes) {
    throw new UsageError(
      `${path} has ${sizeBytes} bytes, so offset ${offsetBytes} is beyond its end: lower the offset`,
    );
  }
  if (lengthSectors === undefined) return;
  const lengthBytes = lengthSectors * SECTOR_BYTES;
  if (lengthSectors < 1) throw new UsageError(`${path}: length must be at least ${SECTOR_BYTES}`);
  if (offsetBytes + lengthBytes > sizeBytes) {
    throw new UsageError(
      `${path} has ${sizeBytes} bytes, so offset ${offsetBytes} and length ${lengthBytes} reach ` +
        "beyond its end: lower one of them",
    );
  }
}

/**
 * Checks that direct I/O can reach every sector by whole blocks.
 * @throws UsageError
 */
export function checkDirectRange(
  options: DiskOptions,
  sizeBytes: number,
  alignmentBytes: number,
): void {
  const { path, offsetSectors = 0, lengthSectors } = options;
  const offsetBytes = offsetSectors * SECTOR_BYTES;
  const endBytes =
    lengthSectors === undefined ? sizeBytes : offsetBytes + lengthSectors * SECTOR_BYTES;
  for (const [what, bytes] of [
    ["offset", offsetBytes],
    ["end", endBytes],
  ] as const) {
    if (bytes % alignmentBytes === 0) continue;
    throw new UsageError(
      `${path}: direct needs blocks of ${alignmentBytes} bytes, but the disk's ${what} is at ` +
        `${bytes}: align it, or set direct = false`,
    );
  }
}

/** The line for a system error while `path` was opened. */
export function openError(path: string, readOnly: boolean, code: string | undefined): UsageError {
  switch (code) {
    case "ENOENT":
      return new UsageError(`${path} does not exist: create it, or correct the path`);
    case "ENOTDIR":
      return new UsageError(`${path}: a part of the path is not a directory: correct the path`);
    case "EACCES":
    case "EPERM":
      return new UsageError(`${path}: user ${ownUserName()} may not ${denied(path, readOnly)}`);
    case "EROFS":
      return new UsageError(
        `${path} is on a read-only file system: set read_only = true, or use another file`,
      );
    case "ETXTBSY":
      return new UsageError(`${path} is a program that runs: correct the path`);
    case "EINVAL":
      return new UsageError(`${path}: no direct I/O is possible here: set direct = false`);
    case "ENXIO":
    case "ENOMEDIUM":
      return new UsageError(`${path}: the device is not there: connect it, or correct the path`);
    default:
      return new UsageError(`${path} cannot be opened: ${code ?? "unknown error"}`);
  }
}

/** What is denied, and what grants it; a file that is missing was to be made in its folder. */
function denied(path: string, readOnly: boolean): string {
  const need = readOnly ? "read" : "read and write";
  if (path.startsWith("/dev/")) {
    const service = "for the service: systemctl edit aoed, [Service], SupplementaryGroups=disk";
    return `${need} it: it needs the group of the device (${service})`;
  }
  const isThere = existsSync(path);
  const folder = dirname(path);
  const right = `choose another folder, or: chown ${ownUserName()}: ${isThere ? path : folder}`;
  return isThere ? `${need} it: ${right}` : `use the folder ${folder}: ${right}`;
}
