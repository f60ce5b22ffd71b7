import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat, statfs, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { FrameArena } from "../arena/frame-arena.ts";
import { systemErrorCode, UsageError } from "../errors.ts";
import { lockFile, lockHolder } from "../system/file-lock.ts";
import { canPunchHoles, directAlignment } from "../system/file-range.ts";
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

const TMPFS_MAGIC = 0x01021994;
const RAMFS_MAGIC = 0x858458f6;

/** What O_DIRECT is taken to ask where the kernel does not tell. */
const CAUTIOUS_ALIGNMENT_BYTES = 4096;

/** The unit of the page cache and of most file systems. */
const FILE_BLOCK_BYTES = 4096;

export interface FileStorageOptions extends DiskOptions {
  /** Creates a sparse file of this size when there is none; one that is there must be as large. */
  readonly sizeBytes?: number | undefined;
  /** False: the file was in use before, and one that is missing now was moved. */
  readonly mayCreate?: boolean;
}

/**
 * Serves a regular file.
 * @throws UsageError when it cannot be served; then nothing has been created or changed
 */
export async function openFileStorage(
  options: FileStorageOptions,
  arena: FrameArena,
): Promise<DiskStorage> {
  checkDiskOptions(options);
  const created = await createIfAbsent(options);
  try {
    const disk = await openFile(options);
    return new DiskStorage(disk, diskStorageOptions(options), arena);
  } catch (error) {
    if (created) await unlink(options.path);
    throw error;
  }
}

/** @returns whether the file was created */
async function createIfAbsent(options: FileStorageOptions): Promise<boolean> {
  const { path, sizeBytes } = options;
  const present = await statOf(path, options.readOnly ?? false);
  if (present !== undefined) {
    checkPresent(options, present);
    return false;
  }
  if (options.mayCreate === false) {
    throw new UsageError(`${path} is not there any more: put it back, or say where it is`);
  }
  if (sizeBytes === undefined) {
    throw new UsageError(
      `${path} does not exist: create it with 'truncate -s 10G ${path}', or say its size`,
    );
  }
  if (options.readOnly === true) {
    throw new UsageError(`${path} does not exist, and read_only forbids to create it`);
  }
  checkRange(options, sizeBytes);
  await create(path, sizeBytes);
  return true;
}

function checkPresent(options: FileStorageOptions, present: Stats): void {
  const { path, sizeBytes } = options;
  if (present.isDirectory()) {
    throw new UsageError(`${path} is a directory: name a file in it`);
  }
  if (present.isBlockDevice()) {
    throw new UsageError(`${path} is a block device: use backend = "device"`);
  }
  if (!present.isFile()) {
    throw new UsageError(`${path} is not a regular file: correct the path`);
  }
  if (sizeBytes !== undefined && present.size < sizeBytes) {
    throw new UsageError(
      `${path} has ${present.size} bytes, fewer than the size ${sizeBytes} that is asked for: ` +
        `extend it with 'truncate -s ${sizeBytes} ${path}', or correct the size`,
    );
  }
}

async function statOf(path: string, readOnly: boolean): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT") return undefined;
    throw openError(path, readOnly, code);
  }
}

/** The file and its entry in the directory are durable when this returns. */
async function create(path: string, sizeBytes: number): Promise<void> {
  const file = await openOrExplain(path, false, constants.O_CREAT | constants.O_EXCL);
  try {
    await file.truncate(sizeBytes);
    await file.sync();
    await syncDirectory(dirname(path));
  } catch (error) {
    await unlink(path);
    throw new UsageError(
      `${path} cannot be created with ${sizeBytes} bytes: ${systemErrorCode(error)}; ` +
        "lower the size, or use another file system",
    );
  } finally {
    await file.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function openOrExplain(path: string, readOnly: boolean, flags: number): Promise<FileHandle> {
  try {
    return await open(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | flags, 0o600);
  } catch (error) {
    throw openError(path, readOnly, systemErrorCode(error));
  }
}

async function openFile(options: FileStorageOptions): Promise<OpenDisk> {
  const { path, readOnly = false, direct = false } = options;
  const file = await openOrExplain(path, readOnly, direct ? constants.O_DIRECT : 0);
  try {
    return await describeFile(options, file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function describeFile(options: FileStorageOptions, file: FileHandle): Promise<OpenDisk> {
  const { path, readOnly = false, offsetSectors = 0, lengthSectors } = options;
  const stats = await file.stat();
  if (!lockFile(file.fd, readOnly)) {
    const holder = lockHolder(stats) ?? "another process";
    throw new UsageError(
      `${path} is in use by ${holder}: stop that, or serve another file` +
        (readOnly ? "" : " (read_only = true shares it with other readers)"),
    );
  }
  checkRange(options, stats.size);
  const directAlignmentBytes = options.direct === true ? directBlock(options, file, stats) : 0;
  const aligned = (offsetSectors * SECTOR_BYTES) % FILE_BLOCK_BYTES === 0;
  const { type } = await statfs(path);
  return {
    descriptor: file.fd,
    description: `file ${path}`,
    readOnly,
    offsetSectors,
    lengthSectors,
    sizeBytes: stats.size,
    physicalBlockBytes: aligned ? FILE_BLOCK_BYTES : SECTOR_BYTES,
    trimOperation:
      !readOnly && canPunchHoles(file.fd, stats.size) ? DiskOperation.punch : undefined,
    trimAlignmentBytes: 0,
    directAlignmentBytes,
    inMemory: type === TMPFS_MAGIC || type === RAMFS_MAGIC,
    currentSizeBytes: async () => (await file.stat()).size,
    setSizeBytes: async (bytes) => setSize(file, path, bytes),
    close: () => file.close(),
  };
}

async function setSize(file: FileHandle, path: string, bytes: number): Promise<void> {
  try {
    await file.truncate(bytes);
    await file.sync();
  } catch (error) {
    throw new UsageError(`${path} cannot have ${bytes} bytes: ${systemErrorCode(error)}`, {
      cause: error,
    });
  }
}

function directBlock(options: FileStorageOptions, file: FileHandle, stats: Stats): number {
  const alignment = directAlignment(file.fd);
  if (alignment?.offsetBytes === 0) throw openError(options.path, false, "EINVAL");
  const bytes = alignment?.offsetBytes ?? CAUTIOUS_ALIGNMENT_BYTES;
  checkDirectRange(options, stats.size, bytes);
  return bytes;
}
