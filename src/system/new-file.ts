import type { Stats } from "node:fs";
import { type FileHandle, link, lstat, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { messageOf, RuntimeFault, systemErrorCode, UsageError } from "../errors.ts";
import { writeWhole } from "./image-file.ts";
import { ownUserName } from "./account.ts";
import { lockFile, lockHolder } from "./file-lock.ts";

export interface NewFileOptions {
  /** It is sparse until it is written to. */
  readonly sizeBytes: number;
  /** Takes the place of a file that is there, and its owner and mode. */
  readonly overwrite: boolean;
}

/**
 * A file that gets its name only when it is whole. Until then it lies beside that, under a name
 * that ends in ".part", which is also the lock against another who makes the same file; what was
 * there before stays as it is.
 */
export class NewFile implements AsyncDisposable {
  /** For reading and writing. */
  readonly handle: FileHandle;
  readonly #path: string;
  readonly #folder: FileHandle;
  readonly #overwrite: boolean;
  readonly #opened: AsyncDisposableStack;
  #isKept = false;

  private constructor(
    path: string,
    handle: FileHandle,
    folder: FileHandle,
    overwrite: boolean,
    opened: AsyncDisposableStack,
  ) {
    this.#path = path;
    this.handle = handle;
    this.#folder = folder;
    this.#overwrite = overwrite;
    this.#opened = opened;
  }

  /**
   * @throws UsageError when there is something of this name, or it is in use, or there is no room;
   *   nothing is left then
   */
  static async create(path: string, options: NewFileOptions): Promise<NewFile> {
    const { sizeBytes, overwrite } = options;
    const old = await fileToReplace(path, overwrite);
    // The file itself, not a link to it, is what is replaced.
    const place = old === undefined ? path : await realpath(path);
    await using opened = new AsyncDisposableStack();
    const folder = opened.use(await openToRead(path, dirname(place)));
    if (old !== undefined) await holdUnused(path, opened.use(await openToRead(path, place)));
    const handle = opened.use(await openPart(place, old));
    const file = new NewFile(place, handle, folder, overwrite, opened.move());
    try {
      if (old !== undefined) await inherit(handle, old);
      await handle.truncate(sizeBytes);
      return file;
    } catch (error) {
      await file[Symbol.asyncDispose]();
      const code = systemErrorCode(error) ?? "unknown error";
      throw new UsageError(
        `${path}: cannot have ${sizeBytes} octets (${code}); name a file where there is room for it`,
        { cause: error },
      );
    }
  }

  /** Writes all of `data`. @throws RuntimeFault */
  async write(data: Uint8Array, position: number): Promise<void> {
    await this.#attempt(async () => writeWhole(this.handle, data, position));
  }

  /**
   * Makes the content durable, and gives it its name.
   * @throws UsageError when something has come to have this name; RuntimeFault
   */
  async keep(): Promise<void> {
    await this.#attempt(async () => this.handle.sync());
    const part = partOf(this.#path);
    const isLinked = !this.#overwrite && (await this.#link(part));
    await this.#attempt(async () => {
      await (isLinked ? rm(part) : rename(part, this.#path));
      this.#isKept = true;
      await syncFolder(this.#folder);
    });
  }

  /**
   * Unlike a rename this never replaces what has come to be there.
   * @returns false where the file system has no such call, and nothing is there
   */
  async #link(part: string): Promise<boolean> {
    try {
      await link(part, this.#path);
      return true;
    } catch (error) {
      if (systemErrorCode(error) === "EEXIST") throw isThereAlready(this.#path);
      if (await isThere(this.#path)) throw isThereAlready(this.#path);
      return false;
    }
  }

  async #attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      const reason = systemErrorCode(error) ?? messageOf(error);
      throw new RuntimeFault(`${this.#path}: cannot be written (${reason})`, { cause: error });
    }
  }

  /** Closes the file; what was not kept is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (!this.#isKept) await rm(partOf(this.#path), { force: true });
    } finally {
      await this.#opened.disposeAsync();
    }
  }
}

function partOf(path: string): string {
  return `${path}.part`;
}

/** @returns undefined where nothing is yet @throws UsageError when what is there has to stay */
async function fileToReplace(path: string, overwrite: boolean): Promise<Stats | undefined> {
  if (!(await isThere(path))) {
    // A file there would be in memory, in the place of the device that was meant.
    if (/^\/dev\/(?!shm\/)/.test(resolve(path))) {
      throw new UsageError(`${path}: does not exist; check the path`);
    }
    return undefined;
  }
  if (!overwrite) throw isThereAlready(path);
  const file = await stat(path).catch((error: unknown) => {
    throw cannotBeCreated(path, error);
  });
  if (!file.isFile()) throw new UsageError(`${path}: is not a file; name one`);
  return file;
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return false;
    throw cannotBeCreated(path, error);
  }
}

/** @param place what is opened for `path` */
async function openToRead(path: string, place: string): Promise<FileHandle> {
  return open(place, "r").catch((error: unknown) => {
    throw cannotBeCreated(path, error);
  });
}

/**
 * Locks a file that is to be replaced, as a server does with its disks: one that goes on with it
 * would write to a file without a name. @throws UsageError
 */
async function holdUnused(path: string, file: FileHandle): Promise<void> {
  if (lockFile(file.fd, false)) return;
  const holder = lockHolder(await file.stat()) ?? "another process";
  throw new UsageError(`${path} is in use by ${holder}: stop that, or choose another name`);
}

async function openPart(path: string, old: Stats | undefined): Promise<FileHandle> {
  try {
    // Nobody may read the new content who could not read the old.
    return await open(partOf(path), "wx+", old === undefined ? 0o666 : 0o600);
  } catch (error) {
    if (systemErrorCode(error) !== "EEXIST") throw cannotBeCreated(path, error);
    throw new UsageError(
      `${partOf(path)} is there already: another aoed is writing it; if none is, one was killed: remove it`,
      { cause: error },
    );
  }
}

async function inherit(file: FileHandle, { mode, uid, gid }: Stats): Promise<void> {
  if (process.geteuid?.() === 0) await file.chown(uid, gid);
  await file.chmod(mode & 0o777);
}

/** A new name is lost in a crash unless its folder is synced; some file systems have no such call. */
async function syncFolder(folder: FileHandle): Promise<void> {
  try {
    await folder.sync();
  } catch (error) {
    if (!["EINVAL", "ENOTSUP"].includes(systemErrorCode(error) ?? "")) throw error;
  }
}

function isThereAlready(path: string): UsageError {
  return new UsageError(
    `${path}: cannot be created (EEXIST); choose another name, or add --overwrite`,
  );
}

function cannotBeCreated(path: string, error: unknown): UsageError {
  const code = systemErrorCode(error);
  const isDenied = code === "EACCES" || code === "EPERM";
  const right = isDenied
    ? `user ${ownUserName()} may not write there, choose another folder`
    : "check the path";
  return new UsageError(`${path}: cannot be created (${code}); ${right}`, { cause: error });
}
