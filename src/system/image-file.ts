import type { FileHandle } from "node:fs/promises";
import { UsageError } from "../errors.ts";
import { blockDeviceSize } from "./block-device.ts";

/** An image that is no multiple of it counts as if zeros followed, as a disk would have them. */
const SECTOR_BYTES = 512;

/**
 * The size of an image file or a block device, in whole sectors.
 * @throws UsageError when it is something else; Error when the kernel does not say
 */
export async function imageSizeBytes(file: FileHandle, path: string): Promise<number> {
  const stats = await file.stat();
  if (!stats.isFile() && !stats.isBlockDevice()) {
    throw new UsageError(`${path}: is neither a file nor a block device; name one`);
  }
  const sizeBytes = stats.isFile() ? stats.size : blockDeviceSize(file.fd);
  return Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
}

/** Writes all of `data`; a single call to the system may write less. @throws Error of the system */
export async function writeWhole(
  file: FileHandle,
  data: Uint8Array,
  position: number,
): Promise<void> {
  for (let written = 0; written < data.length;) {
    const left = data.length - written;
    const { bytesWritten } = await file.write(data, written, left, position + written);
    if (bytesWritten === 0) throw new Error(`nothing could be written at ${position + written}`);
    written += bytesWritten;
  }
}

/**
 * Reads until `target` is full; a single call to the system may read less. A file that ends within
 * the last sector has zeros there.
 *
 * @throws UsageError when the file ends before
 */
export async function readWhole(
  file: FileHandle,
  target: Uint8Array,
  position: number,
): Promise<void> {
  for (let read = 0; read < target.length;) {
    const left = target.length - read;
    const { bytesRead } = await file.read(target, read, left, position + read);
    if (bytesRead === 0) {
      if (left >= SECTOR_BYTES) throw endsEarly(position + read);
      target.fill(0, read);
      return;
    }
    read += bytesRead;
  }
}

function endsEarly(position: number): UsageError {
  return new UsageError(
    `the image ends at ${position} now: it became shorter while it was read; begin again`,
  );
}
