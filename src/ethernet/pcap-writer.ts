import { closeSync, openSync, write } from "node:fs";
import { resolve } from "node:path";
import { systemErrorCode, UsageError } from "../errors.ts";

/**
 * A capture file with nanosecond timestamps (the pcap format, link type Ethernet):
 *
 * ```
 *   file   | magic 4 | version 2+2 | – 8 | longest frame 4 | link type 4 | records …
 *   record | seconds 4 | nanoseconds 4 | octets kept 4 | octets on the wire 4 | frame …
 * ```
 */
const NANOSECOND_MAGIC = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const LONGEST_FRAME_BYTES = 65535;

/** One buffer fills while the other is written; beyond both, records are dropped. */
const BUFFER_BYTES = 4 * 1024 * 1024;

/** How long a record may wait before it is written. */
const FLUSH_INTERVAL_MS = 100;

/** Writes records behind the data path: it never waits for the disk, it drops and counts. */
export class PcapWriter {
  /** Records that came faster than the disk took them, after it failed or after `close`. */
  droppedRecords = 0;
  /** The first error of the disk, after which nothing more is written. */
  failure: Error | undefined;
  readonly #descriptor: number;
  #filling = Buffer.alloc(BUFFER_BYTES);
  #filledBytes = 0;
  #writing = Buffer.alloc(BUFFER_BYTES);
  #isWriting = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  #onIdle: (() => void) | undefined;

  /** @throws UsageError when the file cannot be created */
  constructor(path: string) {
    try {
      this.#descriptor = openSync(path, "w", 0o600);
    } catch (error) {
      const code = systemErrorCode(error) ?? String(error);
      throw new UsageError(`cannot write the capture file '${path}': ${code}`, { cause: error });
    }
    const header = this.#filling;
    header.writeUInt32LE(NANOSECOND_MAGIC, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(LONGEST_FRAME_BYTES, 16);
    header.writeUInt32LE(LINKTYPE_ETHERNET, 20);
    this.#filledBytes = FILE_HEADER_BYTES;
    this.#flushLater();
  }

  /** Records the frame at `offset` of `bytes` with the time of now. */
  record(bytes: Uint8Array, offset: number, lengthBytes: number): void {
    if (this.#isClosed || this.failure !== undefined) {
      this.droppedRecords++;
      return;
    }
    const needed = RECORD_HEADER_BYTES + lengthBytes;
    if (this.#filledBytes + needed > BUFFER_BYTES && !this.#isWriting) this.#flush();
    if (this.#filledBytes + needed > BUFFER_BYTES) {
      this.droppedRecords++;
      return;
    }
    const milliseconds = performance.timeOrigin + performance.now();
    const seconds = Math.floor(milliseconds / 1000);
    const target = this.#filling;
    let at = this.#filledBytes;
    at = target.writeUInt32LE(seconds, at);
    at = target.writeUInt32LE(Math.floor((milliseconds - seconds * 1000) * 1e6), at);
    at = target.writeUInt32LE(lengthBytes, at);
    at = target.writeUInt32LE(lengthBytes, at);
    target.set(bytes.subarray(offset, offset + lengthBytes), at);
    this.#filledBytes = at + lengthBytes;
    this.#flushLater();
  }

  /** Writes what is left and closes the file. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    while (this.#isWriting || (this.#filledBytes > 0 && this.failure === undefined)) {
      if (!this.#isWriting) this.#flush();
      await new Promise<void>((idle) => {
        this.#onIdle = idle;
      });
    }
    closeSync(this.#descriptor);
  }

  #flushLater(): void {
    if (this.#timer !== undefined || this.#isWriting) return;
    this.#timer = setTimeout(() => this.#flush(), FLUSH_INTERVAL_MS);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#isWriting || this.#filledBytes === 0) return;
    const filled = this.#filling;
    const lengthBytes = this.#filledBytes;
    this.#filling = this.#writing;
    this.#writing = filled;
    this.#filledBytes = 0;
    this.#isWriting = true;
    this.#write(0, lengthBytes);
  }

  #write(offset: number, lengthBytes: number): void {
    write(this.#descriptor, this.#writing, offset, lengthBytes - offset, null, (error, written) => {
      if (error === null && offset + written < lengthBytes) {
        this.#write(offset + written, lengthBytes);
        return;
      }
      if (error !== null) this.failure = error;
      this.#isWriting = false;
      if (this.#filledBytes > 0 && this.failure === undefined) this.#flushLater();
      this.#onIdle?.();
    });
  }
}

/** Several ports may record to one file. */
const openWriters = new Map<string, { writer: PcapWriter; users: number }>();

/** The writer of the file, created when nobody has it open. @throws UsageError */
export function acquirePcapWriter(path: string): PcapWriter {
  const key = resolve(path);
  const open = openWriters.get(key) ?? { writer: new PcapWriter(key), users: 0 };
  open.users++;
  openWriters.set(key, open);
  return open.writer;
}

/** Closes the file when its last user is gone. */
export async function releasePcapWriter(path: string): Promise<void> {
  const key = resolve(path);
  const open = openWriters.get(key);
  if (open === undefined || --open.users > 0) return;
  openWriters.delete(key);
  await open.writer.close();
}
