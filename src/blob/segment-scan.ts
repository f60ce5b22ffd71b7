import { crc32 } from "node:zlib";
import type { LogFile } from "./log-disk.ts";
import {
  decodeFrameHeader,
  FIRST_FRAME_OFFSET,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  type FrameHeader,
  payloadStart,
  SECTOR_BYTES,
} from "./segment-format.ts";

const READ_BYTES = 8 * 1024 * 1024;

/** A frame in the bytes of a segment. */
export interface ScannedFrame {
  readonly header: FrameHeader;
  readonly offset: number;
  /** The frame up to its payloads. */
  readonly meta: Uint8Array;
}

/** The bytes of one segment in memory, and the frames in them. One buffer serves all segments. */
export class SegmentScan {
  #buffer: Uint8Array = new Uint8Array(0);
  #length = 0;

  async load(file: LogFile, segmentBytes: number): Promise<void> {
    const wanted = Math.min(file.sizeBytes, segmentBytes);
    if (this.#buffer.length < wanted) this.#buffer = new Uint8Array(segmentBytes);
    this.#length = 0;
    while (this.#length < wanted) {
      const end = Math.min(this.#length + READ_BYTES, wanted);
      const count = await file.read(this.#buffer.subarray(this.#length, end), this.#length);
      if (count === 0) break;
      this.#length += count;
    }
  }

  bytes(offset: number, lengthBytes: number): Uint8Array {
    return this.#buffer.subarray(offset, offset + lengthBytes);
  }

  /** The frame that begins at `offset`, if its header, entries and notes are whole. */
  frameAt(offset: number, segmentNumber: number): ScannedFrame | undefined {
    const frame = this.anyFrameAt(offset);
    return frame?.header.segmentNumber === segmentNumber ? frame : undefined;
  }

  anyFrameAt(offset: number): ScannedFrame | undefined {
    if (offset + FRAME_HEADER_BYTES > this.#length) return undefined;
    const header = decodeFrameHeader(this.#buffer.subarray(offset, this.#length));
    if (header === undefined || offset + header.frameBytes > this.#length) return undefined;
    const metaBytes = payloadStart(header.blobCount, header.notesBytes);
    return { header, offset, meta: this.bytes(offset, metaBytes) };
  }

  payloadsAreWhole({ header, offset }: ScannedFrame): boolean {
    const start = payloadStart(header.blobCount, header.notesBytes);
    const payloads = this.#buffer.subarray(offset + start, offset + header.frameBytes);
    return crc32(payloads) === header.payloadChecksum;
  }

  /** The next frame from `offset` on, wherever it begins. */
  nextFrame(offset: number, segmentNumber: number): ScannedFrame | undefined {
    let at = Math.max(offset, FIRST_FRAME_OFFSET);
    for (; at < this.#length; at += SECTOR_BYTES) {
      if (this.#buffer[at] !== FRAME_MAGIC[0] || this.#buffer[at + 1] !== FRAME_MAGIC[1]) continue;
      const frame = this.frameAt(at, segmentNumber);
      if (frame !== undefined) return frame;
    }
    return undefined;
  }

  /**
   * Whether a later frame of this segment says that frame `sequence` had become durable: then what
   * is wrong with it was not a crash.
   */
  provesDurable(offset: number, segmentNumber: number, sequence: number): boolean {
    let at = offset;
    for (;;) {
      const frame = this.nextFrame(at, segmentNumber);
      if (frame === undefined) return false;
      if (frame.header.sequence > sequence && frame.header.syncedSequence >= sequence) return true;
      at = frame.offset + SECTOR_BYTES;
    }
  }
}
