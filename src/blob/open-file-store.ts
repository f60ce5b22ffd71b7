import { close, fstat, open, statfs } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemErrorCode, UsageError } from "../errors.ts";
import { lockFile, lockHolder } from "../system/file-lock.ts";
import type { NoteReader } from "./blob-store.ts";
import { FileStore } from "./file-store.ts";
import { NodeDisk } from "./node-disk.ts";
import { MAX_SEGMENT_BYTES } from "./segment-format.ts";

const LOCK_NAME = "lock";

/**
 * Opens the store in a folder, or makes one there. One process at a time: another one is refused,
 * by a message that names the holder. @throws UsageError
 */
export async function openFileStore(
  folder: string,
  reader: NoteReader,
  segmentBytes?: number,
): Promise<FileStore> {
  const disk = await NodeDisk.open(folder);
  const unlock = await lockStore(folder);
  try {
    const size = segmentBytes ?? (await usualSegmentBytes(folder));
    return await FileStore.open({ disk, reader, unlock, segmentBytes: size });
  } catch (error) {
    await unlock();
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    throw new UsageError(`the store ${folder} cannot be opened (${code}): check its files`, {
      cause: error,
    });
  }
}

/**
 * Of a small disk so many segments are made: one of them is the reserve, another gets emptied. The
 * fewer, the larger the reserve: a full disk is freed from it, which takes a deletion, two
 * checkpoints with the nodes of all that changed, and the first copies.
 */
const FEWEST_SEGMENTS = 8;
const SMALLEST_SEGMENT_BYTES = 1024 * 1024;

/** For a new store: a power of two that fits the disk's size; an old store keeps its own. */
async function usualSegmentBytes(folder: string): Promise<number> {
  const { blocks, bsize } = await promisify(statfs)(folder);
  // Some file systems do not say.
  if (blocks === 0) return MAX_SEGMENT_BYTES;
  const share = Math.floor((blocks * bsize) / FEWEST_SEGMENTS);
  const fitting = 2 ** Math.floor(Math.log2(Math.max(1, share)));
  return Math.min(Math.max(fitting, SMALLEST_SEGMENT_BYTES), MAX_SEGMENT_BYTES);
}

/** For this process alone; resolves with what lets go of it. @throws UsageError */
export async function lockStore(folder: string): Promise<() => Promise<void>> {
  const descriptor = await promisify(open)(join(folder, LOCK_NAME), "a", 0o600).catch(
    (error: unknown) => {
      const code = systemErrorCode(error);
      throw new UsageError(
        `the store ${folder} cannot be locked (${code}): it must be a folder that can be written`,
        { cause: error },
      );
    },
  );
  if (lockFile(descriptor, false)) return () => promisify(close)(descriptor);
  const holder = lockHolder(await promisify(fstat)(descriptor)) ?? "another process";
  await promisify(close)(descriptor);
  throw new UsageError(
    `the store ${folder} is in use by ${holder}: stop it, or, if it is a server, go through it with --socket`,
  );
}
