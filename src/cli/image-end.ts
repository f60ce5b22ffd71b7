import { constants, fstatSync, rmSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { systemErrorCode, UsageError } from "../errors.ts";
import type { DiskEnd } from "../initiator/disk-copy.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { blockDeviceSize } from "../system/block-device.ts";

/** An image file or a block device of this machine as an end of a copy. */
export class ImageEnd implements DiskEnd {
  readonly name: string;
  /** A file whose last sector is not whole counts as if zeros followed. */
  readonly sizeBytes: number;
  /** A file that was made for the copy: zeros, and of no use when the copy fails. */
  readonly isNew: boolean;
  readonly #file: FileHandle;

  private constructor(name: string, file: FileHandle, sizeBytes: number, isNew: boolean) {
    this.name = name;
    this.#file = file;
    this.sizeBytes = Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
    this.isNew = isNew;
  }

  /** @throws UsageError */
  static async forReading(path: string): Promise<ImageEnd> {
    const file = await open(path, "r").catch((error: unknown) => {
      throw new UsageError(`${path}: cannot be read (${systemErrorCode(error)}); check the path`, {
        cause: error,
      });
    });
    return new ImageEnd(path, file, sizeOf(file.fd, path), false);
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
      const end = new ImageEnd(path, file, sizeOf(file.fd, path), false);
      if (end.sizeBytes >= sizeBytes) return end;
      await file.close();
      throw new UsageError(
        `${path}: has ${end.sizeBytes} octets, the source ${sizeBytes}; name a larger device`,
      );
    }
    const file = await open(path, overwrite ? "w+" : "wx+").catch((error: unknown) => {
      const code = systemErrorCode(error);
      const remedy =
        code === "EEXIST" ? "choose another name, or add --overwrite" : "check the path";
      throw new UsageError(`${path}: cannot be created (${code}); ${remedy}`, { cause: error });
    });
    try {
      await file.truncate(sizeBytes);
    } catch (error) {
      const isFile = fstatSync(file.fd).isFile();
      await file.close();
      if (isFile) rmSync(path, { force: true });
      const code = systemErrorCode(error) ?? "unknown error";
      throw new UsageError(
        `${path}: cannot have ${sizeBytes} octets (${code}); name a file where there is room for it`,
        { cause: error },
      );
    }
    return new ImageEnd(path, file, sizeBytes, true);
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    const data = Buffer.alloc(lengthBytes);
    for (let done = 0; done < lengthBytes;) {
      const left = lengthBytes - done;
      const { bytesRead } = await this.#file.read(data, done, left, offsetBytes + done);
      // The rest of the last sector; what a file lost while it is read is found by the comparison.
      if (bytesRead === 0 && left < SECTOR_BYTES) return data;
      if (bytesRead === 0) throw new UsageError(`${this.name}: became shorter while it was read`);
      done += bytesRead;
    }
    return data;
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    for (let done = 0; done < data.length;) {
      const left = data.length - done;
      const { bytesWritten } = await this.#file.write(data, done, left, offsetBytes + done);
      done += bytesWritten;
    }
  }

  async sync(): Promise<void> {
    await this.#file.sync();
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** Removes what a copy that failed has left in a new file. */
  discard(): void {
    if (this.isNew) rmSync(this.name, { force: true });
  }
}

function isBlockDevice(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isBlockDevice() === true;
}

function sizeOf(descriptor: number, path: string): number {
  const stats = fstatSync(descriptor);
  if (stats.isFile()) return stats.size;
  if (stats.isBlockDevice()) return blockDeviceSize(descriptor);
  throw new UsageError(`${path}: is neither a file nor a block device; name one`);
}
