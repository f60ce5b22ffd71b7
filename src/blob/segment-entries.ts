import { crc32 } from "node:zlib";
import {
  BLOB_ENTRY_BYTES,
  decodeFooterTrailer,
  entryLength,
  entryOffset,
  FIRST_FRAME_OFFSET,
  FRAME_HEADER_BYTES,
  PAYLOAD_ALIGNMENT_BYTES,
  putUint32,
  SECTOR_BYTES,
} from "./segment-format.ts";
import { HASH_BYTES } from "./hash.ts";
import { SegmentScan } from "./segment-scan.ts";
import type { Segment, SegmentSpace } from "./segment-space.ts";

/** The blobs of a segment that takes no more appends, in the order of their places in it. */
export class SegmentEntries {
  readonly #bytes: Uint8Array;
  readonly #order: Uint32Array;

  private constructor(bytes: Uint8Array, segmentBytes: number) {
    this.#bytes = bytes;
    const count = bytes.length / BLOB_ENTRY_BYTES;
    // No two blobs begin in the same place: a table of all places puts them in order.
    const entryAt = new Uint32Array(segmentBytes / PAYLOAD_ALIGNMENT_BYTES);
    for (let entry = 0; entry < count; entry++) {
      const offset = entryOffset(bytes, entry * BLOB_ENTRY_BYTES);
      entryAt[Math.floor(offset / PAYLOAD_ALIGNMENT_BYTES)] = entry + 1;
    }
    this.#order = new Uint32Array(count);
    let next = 0;
    for (let place = 0; place < entryAt.length; place++) {
      if (entryAt[place] > 0) this.#order[next++] = entryAt[place] - 1;
    }
  }

  static async load(segment: Segment, space: SegmentSpace): Promise<SegmentEntries> {
    const { segmentBytes } = space;
    const bytes = (await fromFooter(segment, segmentBytes)) ?? (await fromFrames(segment, space));
    return new SegmentEntries(bytes, segmentBytes);
  }

  get count(): number {
    return this.#order.length;
  }

  /** All entries; the hash of entry i is at `hashAt(i)`. */
  get hashes(): Uint8Array {
    return this.#bytes;
  }

  hashAt(place: number): number {
    return this.#order[place] * BLOB_ENTRY_BYTES;
  }

  offset(place: number): number {
    return entryOffset(this.#bytes, this.hashAt(place));
  }

  lengthBytes(place: number): number {
    return entryLength(this.#bytes, this.hashAt(place));
  }
}

async function fromFooter(segment: Segment, segmentBytes: number): Promise<Uint8Array | undefined> {
  if (!segment.sealed) return undefined;
  const sector = new Uint8Array(SECTOR_BYTES);
  await segment.file.read(sector, segmentBytes - SECTOR_BYTES);
  const footer = decodeFooterTrailer(sector);
  if (footer === undefined || footer.segmentNumber !== segment.number) return undefined;
  const entries = new Uint8Array(footer.entryCount * BLOB_ENTRY_BYTES);
  await segment.file.read(entries, footer.entriesOffset);
  return crc32(entries) === footer.entriesChecksum ? entries : undefined;
}

async function fromFrames(segment: Segment, space: SegmentSpace): Promise<Uint8Array> {
  const scan = new SegmentScan(space.frameSeed);
  await scan.load(segment.file, space.segmentBytes);
  const tables: Uint8Array[] = [];
  let frame = scan.nextFrame(FIRST_FRAME_OFFSET, segment.number);
  while (frame !== undefined && frame.offset < segment.framesEnd) {
    const end = FRAME_HEADER_BYTES + frame.header.blobCount * BLOB_ENTRY_BYTES;
    const table = frame.meta.slice(FRAME_HEADER_BYTES, end);
    for (let at = 0; at < table.length; at += BLOB_ENTRY_BYTES) {
      putUint32(table, at + HASH_BYTES, entryOffset(table, at) + frame.offset);
    }
    tables.push(table);
    frame = scan.nextFrame(frame.offset + frame.header.frameBytes, segment.number);
  }
  return new Uint8Array(Buffer.concat(tables));
}
