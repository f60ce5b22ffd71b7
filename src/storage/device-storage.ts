import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import type { FrameArena } from "../arena/frame-arena.ts";
import { systemErrorCode, UsageError } from "../errors.ts";
import {
  type BlockDeviceGeometry,
  blockDeviceGeometry,
  blockDeviceSize,
  blockDeviceUser,
  discardAbility,
} from "../system/block-device.ts";
import { lockFile, lockHolder } from "../system/file-lock.ts";
import { SECTOR_BYTES } from "./block-storage.ts";
import {
  checkDirectRange,
  checkDiskOptions,
  checkRange,
  type DiskOptions,
  diskStorageOptions,
  openError,
} from "./disk-options.ts";
import { DiskOperation } from "./disk-queue.ts";
import { DiskStorage, type OpenDisk } from "./disk-storage.ts";

/**
 * Serves a block device: exclusively, so that it can neither be mounted meanwhile nor be served
 * while it is mounted.
 * @throws UsageError when it cannot be served
 */
export async function openDeviceStorage(
  options: DiskOptions,
  arena: FrameArena,
): Promise<DiskStorage> {
  checkDiskOptions(options);
  const { path, readOnly = false } = options;
  const present = await statDevice(path, readOnly);
  const device = await openExclusively(options, present);
  try {
    const disk = describeDevice(options, device, present);
    return new DiskStorage(disk, diskStorageOptions(options), arena);
  } catch (error) {
    await device.close();
    throw error;
  }
}

async function statDevice(path: string, readOnly: boolean): Promise<Stats> {
  let present: Stats;
  try {
    present = await stat(path);
  } catch (error) {
    throw openError(path, readOnly, systemErrorCode(error));
  }
  if (!present.isBlockDevice()) {
    const remedy = present.isFile() ? 'use backend = "file"' : "correct the path";
    throw new UsageError(`${path} is not a block device: ${remedy}`);
  }
  return present;
}

async function openExclusively(options: DiskOptions, present: Stats): Promise<FileHandle> {
  const { path, readOnly = false, direct = false } = options;
  const access = readOnly ? constants.O_RDONLY : constants.O_RDWR;
  try {
    return await open(path, access | constants.O_EXCL | (direct ? constants.O_DIRECT : 0));
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== "EBUSY") throw openError(path, readOnly, code);
    const user = blockDeviceUser(present, path) ?? "in use by the kernel or another process";
    throw new UsageError(`${path} is ${user}: release it first, or serve another device`);
  }
}

function describeDevice(options: DiskOptions, device: FileHandle, present: Stats): OpenDisk {
  const { path, readOnly = false, offsetSectors = 0, lengthSectors } = options;
  if (!lockFile(device.fd, readOnly)) {
    const holder = lockHolder(present) ?? "another process";
    throw new UsageError(`${path} is in use by ${holder}: stop that, or serve another device`);
  }
  const geometry = blockDeviceGeometry(device.fd);
  if (geometry.readOnly && !readOnly) {
    throw new UsageError(`${path} is a read-only device: set read_only = true`);
  }
  if (geometry.sizeBytes === 0) {
    throw new UsageError(`${path} has no medium or no size: insert or attach one`);
  }
  checkRange(options, geometry.sizeBytes);
  if (options.direct === true) {
    checkDirectRange(options, geometry.sizeBytes, geometry.logicalBlockBytes);
  }
  return {
    descriptor: device.fd,
    description: `device ${path}`,
    readOnly,
    offsetSectors,
    lengthSectors,
    sizeBytes: geometry.sizeBytes,
    physicalBlockBytes: physicalBlock(geometry, offsetSectors),
    trimOperation: readOnly ? undefined : trimOperation(present),
    trimAlignmentBytes: geometry.logicalBlockBytes,
    directAlignmentBytes: options.direct === true ? geometry.logicalBlockBytes : 0,
    inMemory: false,
    currentSizeBytes: async () => blockDeviceSize(device.fd),
    close: () => device.close(),
  };
}

/**
 * Zeroing is preferred, because then a trimmed sector is known to read as zeros; a device that
 * discards without saying what is read afterwards is trimmed by a discard.
 */
function trimOperation(device: Stats): DiskOperation | undefined {
  const { canDiscard, canZero } = discardAbility(device);
  if (!canDiscard) return undefined;
  return canZero ? DiskOperation.punch : DiskOperation.discard;
}

/** ATA knows physical blocks of 512 and, for us, 4096 bytes; misaligned ones help nobody. */
function physicalBlock(geometry: BlockDeviceGeometry, offsetSectors: number): number {
  const isLarge = Math.max(geometry.physicalBlockBytes, geometry.logicalBlockBytes) >= 4096;
  return isLarge && (offsetSectors * SECTOR_BYTES) % 4096 === 0 ? 4096 : SECTOR_BYTES;
}
