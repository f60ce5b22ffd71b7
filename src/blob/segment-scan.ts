import { HASH_BYTES, hashesEqual, hashPieces } from "./hash.ts";
import type { LogFile } from "./log-disk.ts";
import {
  BLOB_ENTRY_BYTES,
  decodeFrameHeader,
  entryLength,
  entryOffset,
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
  readonly #frameSeed: number;

  /** @param frameSeed of the store, see `frameSeedOf`: what another store wrote is no frame here */
  constructor(frameSeed: number) {
    this.#frameSeed = frameSeed;
  }

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
    const header = decodeFrameHeader(this.#buffer.subarray(offset, this.#length), this.#frameSeed);
    if (header === undefined || offset + header.frameBytes > this.#length) return undefined;
    const metaBytes = payloadStart(header.blobCount, header.notesBytes);
    return { header, offset, meta: this.bytes(offset, metaBytes) };
  }

  /** Whether every blob of the frame is what its entry says. */
  payloadsAreWhole({ header, offset, meta }: ScannedFrame): boolean {
    const { blobCount, frameBytes } = header;
    const offsets = new Uint32Array(blobCount);
    const lengths = new Uint32Array(blobCount);
    for (let blob = 0; blob < blobCount; blob++) {
      const at = FRAME_HEADER_BYTES + blob * BLOB_ENTRY_BYTES;
      offsets[blob] = entryOffset(meta, at);
      lengths[blob] = entryLength(meta, at);
      if (offsets[blob] + lengths[blob] > frameBytes) return false;
    }
    const names = new Uint8Array(blobCount * HASH_BYTES);
    hashPieces(this.bytes(offset, frameBytes), offsets, lengths, blobCount, names);
    for (let blob = 0; blob < blobCount; blob++) {
      const at = FRAME_HEADER_BYTES + blob * BLOB_ENTRY_BYTES;
      if (!hashesEqual(names, blob * HASH_BYTES, meta, at)) return false;
    }
    return true;
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
