import type { BigIntStats, Dirent } from "node:fs";
import { type FileHandle, link, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { dirname, join } from "node:path";
import { systemErrorCode, UsageError } from "../errors.ts";
import { rangeOf } from "./byte-range.ts";
import { FolderLock } from "./folder-lock.ts";
import {
  type ByteRange,
  type CallOptions,
  checkObjectKey,
  isFailure,
  type ListOptions,
  newObjectStatistics,
  ObjectFault,
  type ObjectFaultCode,
  type ObjectInfo,
  type ObjectState,
  type ObjectStore,
  type PutOptions,
  type StoredObject,
} from "./object-store.ts";

/** Beginning with a dot, they are no objects. */
const UPLOADS = ".aoed-uploads";
const LOCK = ".aoed-lock";

/** An upload that nobody has touched for so long is one of a process that was killed. */
const ABANDONED_MS = 24 * 3_600_000;

/** What errors of a file system mean; everything else may pass by itself. */
const faultOfError: Record<string, ObjectFaultCode> = {
  ENOENT: "missing",
  EEXIST: "exists",
  EACCES: "denied",
  EPERM: "denied",
  EROFS: "denied",
  EISDIR: "unsupported",
  ENOTDIR: "unsupported",
  ENAMETOOLONG: "unsupported",
};

/**
 * Objects as plain files of a folder, a key with slashes in folders below it: a bucket that was
 * copied to a disk as it is can be opened, and the reverse. Any number of processes may use the
 * folder, where its file system has flock(2).
 */
export class DirectoryObjectStore implements ObjectStore {
  readonly description: string;
  readonly statistics = newObjectStatistics();
  readonly #folder: string;
  readonly #lock: FolderLock;
  #isClosed = false;

  private constructor(folder: string, lock: FolderLock) {
    this.#folder = folder;
    this.#lock = lock;
    this.description = `directory ${folder}`;
  }

  /** Makes the folder when it is missing. @throws UsageError */
  static async open(folder: string): Promise<DirectoryObjectStore> {
    try {
      await mkdir(join(folder, UPLOADS), { recursive: true, mode: 0o700 });
      await removeAbandoned(join(folder, UPLOADS));
      return new DirectoryObjectStore(folder, await FolderLock.open(join(folder, LOCK)));
    } catch (error) {
      throw new UsageError(
        `the object store ${folder} cannot be opened (${systemErrorCode(error)}): ` +
          "choose a folder that aoed may write to",
        { cause: error },
      );
    }
  }

  get(key: string, range?: ByteRange, options?: CallOptions): Promise<StoredObject> {
    return this.#run(key, options, async (path) => {
      this.statistics.gets++;
      await using file = await open(path, "r");
      const found = await file.stat({ bigint: true });
      const { begin, end } = rangeOf(range, Number(found.size), key);
      const data = Buffer.allocUnsafeSlow(end - begin);
      await readWholly(file, data, begin, key);
      this.statistics.bytesRead += data.length;
      return { data, etag: etagOf(found), sizeBytes: Number(found.size) };
    });
  }

  stat(key: string, options?: CallOptions): Promise<ObjectState> {
    return this.#run(key, options, async (path) => {
      this.statistics.gets++;
      const found = await stat(path, { bigint: true });
      return { key, sizeBytes: Number(found.size), etag: etagOf(found), writeId: undefined };
    });
  }

  putIfAbsent(key: string, data: Uint8Array, options?: PutOptions): Promise<string> {
    return this.#run(key, options, async (path) => {
      this.statistics.puts++;
      return this.#upload(data, options, async (upload) => {
        const etag = etagOf(await stat(upload, { bigint: true }));
        await this.#makeFolders(dirname(path));
        // Unlike rename, link never replaces.
        await link(upload, path);
        await syncFolder(dirname(path));
        return etag;
      });
    });
  }

  putIfMatch(key: string, data: Uint8Array, etag: string, options?: PutOptions): Promise<string> {
    return this.#run(key, options, async (path) => {
      this.statistics.puts++;
      return this.#upload(data, options, async (upload) =>
        this.#lock.run(options?.signal, async () => {
          const current = await statIfThere(path);
          if (current === undefined || etagOf(current) !== etag) {
            throw new ObjectFault("changed", `object ${key} is not the version ${etag}`);
          }
          await makeNewer(upload, current);
          const replacement = etagOf(await stat(upload, { bigint: true }));
          await rename(upload, path);
          await syncFolder(dirname(path));
          return replacement;
        }),
      );
    });
  }

  /** Writes the bytes to a file of its own, durably, and lets `publish` give it its name. */
  async #upload<T>(
    data: Uint8Array,
    options: PutOptions | undefined,
    publish: (path: string) => Promise<T>,
  ): Promise<T> {
    const path = join(this.#folder, UPLOADS, randomUUID());
    try {
      await using file = await open(path, "wx", 0o600);
      await file.writeFile(data);
      await file.sync();
      options?.signal?.throwIfAborted();
      const result = await publish(path);
      this.statistics.bytesWritten += data.length;
      return result;
    } finally {
      await rm(path, { force: true });
    }
  }

  async #makeFolders(folder: string): Promise<void> {
    const topmost = await mkdir(folder, { recursive: true, mode: 0o700 });
    if (topmost === undefined) return;
    for (let made = folder; made.length >= topmost.length; made = dirname(made)) {
      await syncFolder(dirname(made));
    }
  }

  delete(key: string, options?: CallOptions): Promise<void> {
    return this.#run(key, options, async (path) => {
      this.statistics.deletes++;
      await this.#lock.run(options?.signal, async () => {
        if ((await statIfThere(path)) === undefined) return;
        await rm(path);
        await syncFolder(dirname(path));
      });
    });
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    this.statistics.lists++;
    yield* this.#walk("", prefix, options);
  }

  /** @param parent "" or a folder's key with a slash behind it */
  async *#walk(
    parent: string,
    prefix: string,
    options: ListOptions | undefined,
  ): AsyncIterable<ObjectInfo> {
    const after = options?.after ?? "";
    for (const name of await this.#names(parent, options)) {
      const key = parent + name;
      if (name.endsWith("/")) {
        const mayHold = key.startsWith(prefix) || prefix.startsWith(key);
        // Everything in it sorts where the folder does, unless `after` is in it.
        if (mayHold && (key > after || after.startsWith(key))) {
          yield* this.#walk(key, prefix, options);
        }
      } else if (key.startsWith(prefix) && key > after) {
        const info = await this.#infoIfThere(key, options);
        if (info !== undefined) yield info;
      }
    }
  }

  /** Of a folder's objects and, with a slash, folders: so they sort as their keys do. */
  async #names(parent: string, options: ListOptions | undefined): Promise<string[]> {
    const entries = await this.#run(undefined, options, async () => {
      try {
        return await readdir(join(this.#folder, parent), { withFileTypes: true });
      } catch (error) {
        if (systemErrorCode(error) === "ENOENT" && parent !== "") return [];
        throw error;
      }
    });
    return entries
      .filter((entry: Dirent) => !entry.name.startsWith("."))
      .map((entry: Dirent) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
      .toSorted();
  }

  #infoIfThere(key: string, options: ListOptions | undefined): Promise<ObjectInfo | undefined> {
    return this.#run(key, options, async (path) => {
      const found = await statIfThere(path);
      return found && { key, sizeBytes: Number(found.size), etag: etagOf(found) };
    });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#lock.close();
  }

  /** @param key undefined for the folder itself */
  async #run<T>(
    key: string | undefined,
    options: CallOptions | undefined,
    action: (path: string) => Promise<T>,
  ): Promise<T> {
    if (key !== undefined) checkObjectKey(key);
    options?.signal?.throwIfAborted();
    if (this.#isClosed) throw new ObjectFault("unavailable", `${this.description} is closed`);
    try {
      return await action(join(this.#folder, key ?? ""));
    } catch (error) {
      const fault = this.#faultOf(error, key ?? "");
      if (fault instanceof ObjectFault && isFailure(fault.code)) this.statistics.failures++;
      throw fault;
    }
  }

  /** What is no error of the file system, such as an abort, stays what it is. */
  #faultOf(error: unknown, key: string): unknown {
    const errorCode = systemErrorCode(error);
    if (errorCode === undefined || !/^E[A-Z0-9]+$/.test(errorCode)) return error;
    const code = faultOfError[errorCode] ?? "unavailable";
    const what = code === "exists" ? "there is an object already" : errorCode;
    return new ObjectFault(code, `${join(this.#folder, key)}: ${what}`, { cause: error });
  }
}

async function removeAbandoned(uploads: string): Promise<void> {
  for (const name of await readdir(uploads)) {
    const path = join(uploads, name);
    const found = await statIfThere(path);
    if (found === undefined || Date.now() - Number(found.mtimeMs) < ABANDONED_MS) continue;
    await rm(path, { force: true });
  }
}

async function readWholly(
  file: FileHandle,
  data: Buffer,
  begin: number,
  key: string,
): Promise<void> {
  let filled = 0;
  while (filled < data.length) {
    const { bytesRead } = await file.read(data, filled, data.length - filled, begin + filled);
    if (bytesRead === 0) throw new ObjectFault("corrupt", `object ${key} became shorter`);
    filled += bytesRead;
  }
}

/**
 * Names a version: a replacement is another file, made while the one before it was there, so it
 * has another inode, and it is newer than that one (`makeNewer`).
 */
function etagOf(found: BigIntStats): string {
  return [found.ino, found.mtimeNs, found.size].map((part) => part.toString(36)).join("-");
}

/** For clocks so coarse that a reused inode could look like the version it once was. */
async function makeNewer(path: string, current: BigIntStats): Promise<void> {
  await using file = await open(path, "r+");
  const { mtimeNs } = await file.stat({ bigint: true });
  if (mtimeNs > current.mtimeNs) return;
  const newer = Number(current.mtimeNs / 1_000_000n + 1n) / 1000;
  await file.utimes(newer, newer);
  await file.sync();
}

async function statIfThere(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}
