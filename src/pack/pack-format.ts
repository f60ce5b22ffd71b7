import { crc32 } from "node:zlib";
import {
  BLOB_ENTRY_BYTES,
  decodeFrameHeader,
  entryOffset,
  FIRST_FRAME_OFFSET,
  FRAME_HEADER_BYTES,
  putUint32,
  SECTOR_BYTES,
} from "../blob/segment-format.ts";
import { HASH_BYTES } from "../blob/hash.ts";
import type { ObjectId } from "./pack-names.ts";

/**
 * A pack: one sector of header, a part of a segment of the log as it is, and the entries of the
 * blobs in it. See docs/formats/packs.md.
 */
const VERSION = 1;
const MAGIC = Buffer.from("aoed log pack\r\n\x1a");
const CHECKSUM_OFFSET = SECTOR_BYTES - 4;
/** Where the part of the segment begins in the object. */
export const PACK_BODY_OFFSET = SECTOR_BYTES;

export interface PackHeader extends ObjectId {
  readonly storeId: Uint8Array;
  readonly segmentNumber: number;
  readonly start: number;
  readonly end: number;
  readonly entryCount: number;
  readonly lastSequence: number;
  readonly lastChecksum: number;
  readonly entriesChecksum: number;
  readonly bodyChecksum: number;
}

/** The frames of a part of a segment: what a pack says of them. */
export interface PartFrames {
  /** The blobs, in order; offsets count from the start of the segment. */
  readonly entries: Uint8Array;
  /** Of the last frame that is of the log; 0: none is. */
  readonly lastSequence: number;
  readonly lastChecksum: number;
}

/**
 * Goes through the frames of a part, whose header checksums must be right.
 * @param start where in the segment the part begins
 * @param logSequence of the last frame of the segment that is of the log: what comes after it was
 *   given up, and its number belongs to the next segment
 * @returns undefined when something else than frames is in it
 */
export function framesOf(
  body: Uint8Array,
  start: number,
  segmentNumber: number,
  frameSeed: number,
  logSequence: number,
): PartFrames | undefined {
  const tables: Uint8Array[] = [];
  let lastSequence = 0;
  let lastChecksum = 0;
  let at = start === 0 ? FIRST_FRAME_OFFSET : 0;
  while (at < body.length) {
    const header = decodeFrameHeader(body.subarray(at), frameSeed);
    if (header === undefined || header.segmentNumber !== segmentNumber) return undefined;
    const tableEnd = at + FRAME_HEADER_BYTES + header.blobCount * BLOB_ENTRY_BYTES;
    // A copy, also of a Buffer, whose slices are none.
    const table = new Uint8Array(body.subarray(at + FRAME_HEADER_BYTES, tableEnd));
    for (let entry = 0; entry < table.length; entry += BLOB_ENTRY_BYTES) {
      putUint32(table, entry + HASH_BYTES, entryOffset(table, entry) + start + at);
    }
    tables.push(table);
    if (header.sequence <= logSequence) {
      lastSequence = header.sequence;
      lastChecksum = header.headerChecksum;
    }
    at += header.frameBytes;
  }
  if (at !== body.length || tables.length === 0) return undefined;
  return { entries: Buffer.concat(tables), lastSequence, lastChecksum };
}

/** Room for a pack: the part of the segment goes to `PACK_BODY_OFFSET`, its entries behind it. */
export function packRoom(bodyBytes: number): Buffer {
  // Entries take a hundredth of blocks of 4 KiB; a part full of smaller blobs is copied once more.
  return Buffer.allocUnsafe(PACK_BODY_OFFSET + bodyBytes + Math.ceil(bodyBytes / 64));
}

/**
 * Puts header and entries around a part of a segment that is in its place already.
 * @param room from `packRoom`; @returns the pack, as a rule in the same memory
 */
export function encodePack(
  room: Buffer,
  bodyBytes: number,
  frames: PartFrames,
  what: Pick<PackHeader, "storeId" | "segmentNumber" | "start" | "epoch" | "counter">,
): Uint8Array {
  const body = room.subarray(PACK_BODY_OFFSET, PACK_BODY_OFFSET + bodyBytes);
  const sector = room.subarray(0, SECTOR_BYTES).fill(0);
  MAGIC.copy(sector);
  sector.writeUInt32LE(VERSION, 16);
  sector.writeUInt32LE(frames.entries.length / BLOB_ENTRY_BYTES, 20);
  sector.set(what.storeId, 24);
  sector.writeBigUInt64LE(BigInt(what.segmentNumber), 40);
  sector.writeUInt32LE(what.start, 48);
  sector.writeUInt32LE(what.start + bodyBytes, 52);
  sector.writeUInt32LE(what.epoch, 56);
  sector.writeUInt32LE(what.counter, 60);
  sector.writeBigUInt64LE(BigInt(frames.lastSequence), 64);
  sector.writeUInt32LE(frames.lastChecksum, 72);
  sector.writeUInt32LE(crc32(frames.entries), 76);
  sector.writeUInt32LE(crc32(body), 80);
  sector.writeUInt32LE(crc32(sector.subarray(0, CHECKSUM_OFFSET)), CHECKSUM_OFFSET);
  const end = PACK_BODY_OFFSET + bodyBytes + frames.entries.length;
  if (end > room.length) return Buffer.concat([sector, body, frames.entries]);
  room.set(frames.entries, PACK_BODY_OFFSET + bodyBytes);
  return room.subarray(0, end);
}

/** The header, or undefined for anything else. */
export function decodePackHeader(bytes: Uint8Array): PackHeader | undefined {
  if (bytes.length < SECTOR_BYTES || !MAGIC.every((byte, at) => bytes[at] === byte)) {
    return undefined;
  }
  const sector = Buffer.from(bytes.buffer, bytes.byteOffset, SECTOR_BYTES);
  if (sector.readUInt32LE(CHECKSUM_OFFSET) !== crc32(sector.subarray(0, CHECKSUM_OFFSET))) {
    return undefined;
  }
  if (sector.readUInt32LE(16) !== VERSION) return undefined;
  return {
    entryCount: sector.readUInt32LE(20),
    storeId: new Uint8Array(sector.subarray(24, 40)),
    segmentNumber: Number(sector.readBigUInt64LE(40)),
    start: sector.readUInt32LE(48),
    end: sector.readUInt32LE(52),
    epoch: sector.readUInt32LE(56),
    counter: sector.readUInt32LE(60),
    lastSequence: Number(sector.readBigUInt64LE(64)),
    lastChecksum: sector.readUInt32LE(72),
    entriesChecksum: sector.readUInt32LE(76),
    bodyChecksum: sector.readUInt32LE(80),
  };
}

/** The part of the segment in a whole pack, if it is what the header says. */
export function bodyOf(pack: Uint8Array): Uint8Array | undefined {
  const header = decodePackHeader(pack);
  if (header === undefined) return undefined;
  const body = pack.subarray(PACK_BODY_OFFSET, PACK_BODY_OFFSET + header.end - header.start);
  return crc32(body) === header.bodyChecksum ? body : undefined;
}
