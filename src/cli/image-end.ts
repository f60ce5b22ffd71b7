import { constants, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { messageOf, RuntimeFault, systemErrorCode, UsageError } from "../errors.ts";
import type { DiskEnd } from "../initiator/disk-copy.ts";
import { imageSizeBytes, readWhole, writeWhole } from "../system/image-file.ts";
import { NewFile } from "../system/new-file.ts";

/** An image file or a block device of this machine as an end of a copy. */
export class ImageEnd implements DiskEnd {
  readonly name: string;
  /** A file whose last sector is not whole counts as if zeros followed. */
  readonly sizeBytes: number;
  readonly #file: FileHandle;
  /** Not of a device, and not of what is only read. */
  readonly #newFile: NewFile | undefined;

  private constructor(name: string, file: FileHandle, sizeBytes: number, newFile?: NewFile) {
    this.name = name;
    this.#file = file;
    this.sizeBytes = sizeBytes;
    this.#newFile = newFile;
  }

  /** A file that was made for the copy: zeros, and gone when it is closed without being kept. */
  get isNew(): boolean {
    return this.#newFile !== undefined;
  }

  /** @throws UsageError */
  static async forReading(path: string): Promise<ImageEnd> {
    const file = await open(path, "r").catch((error: unknown) => {
      throw new UsageError(`${path}: cannot be read (${systemErrorCode(error)}); check the path`, {
        cause: error,
      });
    });
    return ImageEnd.#of(file, path);
  }

  /**
   * A block device that is there, else a new file of this size.
   * @throws UsageError when there is no room on the device, or a file is there already
   */
  static async forWriting(path: string, sizeBytes: number, overwrite: boolean): Promise<ImageEnd> {
    if (isBlockDevice(path)) {
      // O_EXCL refuses a device that is mounted.
      const flags = constants.O_RDWR | constants.O_EXCL;
      const file = await open(path, flags).catch((error: unknown) => {
        const right = "unmount it, and look at who uses it";
        throw new UsageError(`${path}: cannot be written (${systemErrorCode(error)}); ${right}`, {
          cause: error,
        });
      });
      const end = await ImageEnd.#of(file, path);
      if (end.sizeBytes >= sizeBytes) return end;
      await file.close();
      throw new UsageError(
        `${path}: has ${end.sizeBytes} octets, the source ${sizeBytes}; name a larger device`,
      );
    }
    const file = await NewFile.create(path, { sizeBytes, overwrite });
    return new ImageEnd(path, file.handle, sizeBytes, file);
  }

  /** Closes it again when it has no size. */
  static async #of(file: FileHandle, path: string): Promise<ImageEnd> {
    try {
      return new ImageEnd(path, file, await imageSizeBytes(file, path));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    const data = Buffer.alloc(lengthBytes);
    await this.#attempt("read", async () => readWhole(this.#file, data, offsetBytes));
    return data;
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    if (this.#newFile !== undefined) await this.#newFile.write(data, offsetBytes);
    else await this.#attempt("written", async () => writeWhole(this.#file, data, offsetBytes));
  }

  async sync(): Promise<void> {
    await this.#attempt("written", async () => this.#file.sync());
  }

  /** @throws RuntimeFault, UsageError */
  async #attempt(what: "read" | "written", action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (error instanceof UsageError) throw error;
      const reason = systemErrorCode(error) ?? messageOf(error);
      throw new RuntimeFault(`${this.name}: cannot be ${what} (${reason})`, { cause: error });
    }
  }

  /** What was written is durable, and a new file has its name, when it resolves. */
  async keep(): Promise<void> {
    if (this.#newFile === undefined) await this.sync();
    else await this.#newFile.keep();
  }

  async close(): Promise<void> {
    if (this.#newFile === undefined) await this.#file.close();
    else await this.#newFile[Symbol.asyncDispose]();
  }
}

function isBlockDevice(path: string): boolean {
  try {
    return statSync(path).isBlockDevice();
  } catch {
    // NewFile says what is wrong with the path, if anything is.
    return false;
  }
}
