import { close, constants, fdatasync, fstat, open, read, write } from "node:fs";
import { mkdir, open as openHandle, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemErrorCode, UsageError } from "../errors.ts";
import type { LogDisk, LogFile } from "./log-disk.ts";

/** A LogDisk on a folder of a file system. */
export class NodeDisk implements LogDisk {
  readonly description: string;
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.description = folder;
  }

  /** Creates the folder, with its parents, when it is missing. */
  static async open(folder: string): Promise<NodeDisk> {
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      const code = systemErrorCode(error);
      throw new UsageError(`the store ${folder} cannot be created (${code}): choose another path`, {
        cause: error,
      });
    }
    return new NodeDisk(folder);
  }

  list(): Promise<string[]> {
    return readdir(this.#folder);
  }

  create(name: string): Promise<LogFile> {
    return NodeFile.open(join(this.#folder, name), "wx+");
  }

  open(name: string): Promise<LogFile> {
    return NodeFile.open(join(this.#folder, name), "r+");
  }

  remove(name: string): Promise<void> {
    return unlink(join(this.#folder, name));
  }

  async syncNames(): Promise<void> {
    const folder = await openHandle(this.#folder, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}

/** Callback forms of node:fs: a promise of FileHandle costs several times more per call. */
class NodeFile implements LogFile {
  sizeBytes: number;
  readonly #path: string;
  readonly #descriptor: number;
  /** The same file, opened so that a write is durable when it returns. */
  #durable: number | undefined;
  /** The same file again: an error of a write is reported once to each descriptor. */
  #ahead: number | undefined;
  /** Something was written that no sync has covered. */
  #isDirty = false;

  private constructor(path: string, descriptor: number, sizeBytes: number) {
    this.#path = path;
    this.#descriptor = descriptor;
    this.sizeBytes = sizeBytes;
  }

  static async open(path: string, flags: string): Promise<NodeFile> {
    const descriptor = await promisify(open)(path, flags, 0o600);
    const { size } = await promisify(fstat)(descriptor);
    return new NodeFile(path, descriptor, size);
  }

  write(data: Uint8Array, position: number): Promise<void> {
    this.#isDirty = true;
    return this.#write(this.#descriptor, data, position);
  }

  /** One trip to another thread instead of two, when there is nothing else to be synced. */
  async writeDurably(data: Uint8Array, position: number): Promise<void> {
    if (this.#isDirty) {
      await this.write(data, position);
      await this.sync();
      return;
    }
    this.#durable ??= await promisify(open)(this.#path, constants.O_WRONLY | constants.O_DSYNC);
    await this.#write(this.#durable, data, position);
  }

  #write(descriptor: number, data: Uint8Array, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const writeFrom = (done: number): void => {
        const remaining = data.byteLength - done;
        write(descriptor, data, done, remaining, position + done, (error, written) => {
          if (error !== null) return reject(error);
          this.sizeBytes = Math.max(this.sizeBytes, position + done + written);
          // A write may be cut short by a full disk; the call after it says why.
          return written === remaining ? resolve() : writeFrom(done + written);
        });
      };
      writeFrom(0);
    });
  }

  sync(): Promise<void> {
    this.#isDirty = false;
    return new Promise((resolve, reject) => {
      fdatasync(this.#descriptor, (error) => {
        if (error === null) return resolve();
        this.#isDirty = true;
        return reject(error);
      });
    });
  }

  async syncAhead(): Promise<void> {
    this.#ahead ??= await promisify(open)(this.#path, constants.O_RDONLY);
    await promisify(fdatasync)(this.#ahead);
  }

  read(target: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const readFrom = (done: number): void => {
        const remaining = target.byteLength - done;
        read(this.#descriptor, target, done, remaining, position + done, (error, count) => {
          if (error !== null) return reject(error);
          if (count === 0 || count === remaining) return resolve(done + count);
          readFrom(done + count);
        });
      };
      readFrom(0);
    });
  }

  async close(): Promise<void> {
    await promisify(close)(this.#descriptor);
    if (this.#durable !== undefined) await promisify(close)(this.#durable);
    if (this.#ahead !== undefined) await promisify(close)(this.#ahead);
  }
}
