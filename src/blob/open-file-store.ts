import { close, fstat, open } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemErrorCode, UsageError } from "../errors.ts";
import { lockFile, lockHolder } from "../system/file-lock.ts";
import type { NoteReader } from "./blob-store.ts";
import { FileStore } from "./file-store.ts";
import { NodeDisk } from "./node-disk.ts";

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
    const size = segmentBytes === undefined ? {} : { segmentBytes };
    return await FileStore.open({ disk, reader, unlock, ...size });
  } catch (error) {
    await unlock();
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    throw new UsageError(`the store ${folder} cannot be opened (${code}): check its files`, {
      cause: error,
    });
  }
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
