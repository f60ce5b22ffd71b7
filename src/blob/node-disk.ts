import { close, fdatasync, fstat, open, read, write } from "node:fs";
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
  readonly #descriptor: number;

  private constructor(descriptor: number, sizeBytes: number) {
    this.#descriptor = descriptor;
    this.sizeBytes = sizeBytes;
  }

  static async open(path: string, flags: string): Promise<NodeFile> {
    const descriptor = await promisify(open)(path, flags, 0o600);
    const { size } = await promisify(fstat)(descriptor);
    return new NodeFile(descriptor, size);
  }

  write(data: Uint8Array, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#writeFrom(data, 0, position, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  writeDurably(data: Uint8Array, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#writeFrom(data, 0, position, (error) => {
        if (error !== null) return reject(error);
        fdatasync(this.#descriptor, (failure) => (failure === null ? resolve() : reject(failure)));
      });
    });
  }

  /** A write may be cut short by a full disk; the call after it says why. */
  #writeFrom(
    data: Uint8Array,
    done: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    const remaining = data.byteLength - done;
    write(this.#descriptor, data, done, remaining, position + done, (error, written) => {
      if (error !== null) return callback(error);
      this.sizeBytes = Math.max(this.sizeBytes, position + done + written);
      if (written === remaining) return callback(null);
      this.#writeFrom(data, done + written, position, callback);
    });
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.#descriptor, (error) => (error === null ? resolve() : reject(error)));
    });
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

  close(): Promise<void> {
    return promisify(close)(this.#descriptor);
  }
}
