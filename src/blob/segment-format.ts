import { crc32 } from "node:zlib";
import { HASH_BYTES } from "./hash.ts";

/**
 * The bytes of the segment log, version 1, as docs/formats/segment-log.md describes them.
 * Everything is little-endian. Decoders take any bytes and answer undefined for what is not
 * theirs: what a crash or a failing disk left is not an error here.
 */
const FORMAT_VERSION = 1;
export const SECTOR_BYTES = 512;

export const SUPERBLOCK_NAME = "superblock";
/** The two copies are this far apart, so that no device writes both at once. */
export const SUPERBLOCK_STRIDE_BYTES = 4096;

/** Where the first frame of a segment begins: its header has a page of its own. */
export const FIRST_FRAME_OFFSET = 4096;
/** Payloads begin at multiples of this, so that an offset fits in 20 bits of the index. */
export const PAYLOAD_ALIGNMENT_BYTES = 64;
export const MAX_SEGMENT_BYTES = 64 * 1024 * 1024;

const SUPERBLOCK_MAGIC = Buffer.from("aoed segment log");
const SEGMENT_MAGIC = Buffer.from("aoed log segment");
const FOOTER_MAGIC = Buffer.from("aoed log footer\n");
export const FRAME_MAGIC = Buffer.from("aoedfram");
const CHECKSUM_OFFSET = SECTOR_BYTES - 4;

/** Where a frame is, and what its header must say. */
export interface LogPosition {
  slot: number;
  segmentNumber: number;
  offset: number;
  sequence: number;
  /** The header checksum of the frame before. */
  previousChecksum: number;
}

export interface Superblock {
  readonly storeId: Uint8Array;
  readonly segmentBytes: number;
  /** Counts the superblocks written: of two valid copies the higher one holds. */
  readonly counter: number;
  /** Counts how often the store was opened for writing. */
  readonly epoch: number;
  /** Where replay begins: the first frame of the last checkpoint. */
  readonly checkpoint: Readonly<LogPosition>;
  /** The checkpoint before: replay begins there when the last image turns out to be damaged. */
  readonly previousCheckpoint: Readonly<LogPosition>;
  /** Frames up to this one are known to have been made durable. */
  readonly durableSequence: number;
}

export interface SegmentHeader {
  readonly inUse: boolean;
  readonly segmentNumber: number;
  readonly firstSequence: number;
  readonly previousChecksum: number;
  readonly epoch: number;
}

export const FRAME_HEADER_BYTES = 64;
export const BLOB_ENTRY_BYTES = 40;
export const NOTE_HEADER_BYTES = 4;

export const FrameKind = { data: 0, checkpointStart: 1, checkpointMore: 2 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

export interface FrameHeader {
  segmentNumber: number;
  sequence: number;
  /** Frames up to this one were durable when this one was written. */
  syncedSequence: number;
  epoch: number;
  previousChecksum: number;
  frameBytes: number;
  blobCount: number;
  notesBytes: number;
  kind: number;
  /** Of a checkpoint: this is its last frame. */
  isLast: boolean;
  headerChecksum: number;
}

export interface Footer {
  readonly segmentNumber: number;
  readonly entryCount: number;
  readonly entriesOffset: number;
  readonly entriesChecksum: number;
  /** Where the frames end. */
  readonly framesEnd: number;
  readonly lastSequence: number;
  readonly lastChecksum: number;
}

export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Sequence numbers and counters are 64 bits wide on disk and stay below 2^53. */
function putUint64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % 0x100000000, true);
  view.setUint32(offset + 4, Math.floor(value / 0x100000000), true);
}

function getUint64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 0x100000000;
}

function hasMagic(bytes: Uint8Array, magic: Uint8Array): boolean {
  return bytes.length >= magic.length && magic.every((byte, index) => bytes[index] === byte);
}

function sealSector(sector: Uint8Array): Uint8Array {
  viewOf(sector).setUint32(CHECKSUM_OFFSET, crc32(sector.subarray(0, CHECKSUM_OFFSET)), true);
  return sector;
}

function isSealedSector(sector: Uint8Array, magic: Uint8Array): boolean {
  return (
    sector.length >= SECTOR_BYTES &&
    hasMagic(sector, magic) &&
    viewOf(sector).getUint32(CHECKSUM_OFFSET, true) === crc32(sector.subarray(0, CHECKSUM_OFFSET))
  );
}

export function encodeSuperblock(superblock: Superblock): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = viewOf(sector);
  sector.set(SUPERBLOCK_MAGIC);
  view.setUint32(16, FORMAT_VERSION, true);
  view.setUint32(20, superblock.segmentBytes, true);
  sector.set(superblock.storeId, 24);
  putUint64(view, 40, superblock.counter);
  view.setUint32(48, superblock.epoch, true);
  putPosition(view, 56, superblock.checkpoint);
  putPosition(view, 96, superblock.previousCheckpoint);
  putUint64(view, 136, superblock.durableSequence);
  return sealSector(sector);
}

/** "newer": a valid superblock of a version that this program does not know. */
export function decodeSuperblock(sector: Uint8Array): Superblock | "newer" | undefined {
  if (!isSealedSector(sector, SUPERBLOCK_MAGIC)) return undefined;
  const view = viewOf(sector);
  if (view.getUint32(16, true) !== FORMAT_VERSION) return "newer";
  return {
    segmentBytes: view.getUint32(20, true),
    storeId: sector.slice(24, 40),
    counter: getUint64(view, 40),
    epoch: view.getUint32(48, true),
    checkpoint: getPosition(view, 56),
    previousCheckpoint: getPosition(view, 96),
    durableSequence: getUint64(view, 136),
  };
}

function putPosition(view: DataView, at: number, position: Readonly<LogPosition>): void {
  putUint64(view, at, position.segmentNumber);
  putUint64(view, at + 8, position.sequence);
  view.setUint32(at + 16, position.slot, true);
  view.setUint32(at + 20, position.offset, true);
  view.setUint32(at + 24, position.previousChecksum, true);
}

function getPosition(view: DataView, at: number): LogPosition {
  return {
    segmentNumber: getUint64(view, at),
    sequence: getUint64(view, at + 8),
    slot: view.getUint32(at + 16, true),
    offset: view.getUint32(at + 20, true),
    previousChecksum: view.getUint32(at + 24, true),
  };
}

export function encodeSegmentHeader(storeId: Uint8Array, header: SegmentHeader): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = viewOf(sector);
  sector.set(SEGMENT_MAGIC);
  view.setUint32(16, FORMAT_VERSION, true);
  view.setUint32(20, header.inUse ? 1 : 0, true);
  sector.set(storeId, 24);
  putUint64(view, 40, header.segmentNumber);
  putUint64(view, 48, header.firstSequence);
  view.setUint32(56, header.previousChecksum, true);
  view.setUint32(60, header.epoch, true);
  return sealSector(sector);
}

export function decodeSegmentHeader(
  storeId: Uint8Array,
  sector: Uint8Array,
): SegmentHeader | undefined {
  if (!isSealedSector(sector, SEGMENT_MAGIC)) return undefined;
  const view = viewOf(sector);
  if (view.getUint32(16, true) !== FORMAT_VERSION) return undefined;
  if (Buffer.compare(sector.subarray(24, 40), storeId) !== 0) return undefined;
  return {
    inUse: view.getUint32(20, true) === 1,
    segmentNumber: getUint64(view, 40),
    firstSequence: getUint64(view, 48),
    previousChecksum: view.getUint32(56, true),
    epoch: view.getUint32(60, true),
  };
}

/** Bytes of a frame before its payloads: header, blob entries and notes, aligned. */
export function payloadStart(blobCount: number, notesBytes: number): number {
  return roundUp(
    FRAME_HEADER_BYTES + blobCount * BLOB_ENTRY_BYTES + notesBytes,
    PAYLOAD_ALIGNMENT_BYTES,
  );
}

/**
 * What the header checksums of a store begin with. The identity is random and nobody who writes
 * blobs knows it: a blob that looks like a frame is none of this store, and neither is what an
 * earlier store left on the medium.
 */
export function frameSeedOf(storeId: Uint8Array): number {
  return crc32(storeId);
}

/**
 * Fills in the header of a frame whose entries and notes are in place. The payloads need no
 * checksum: each entry has the hash of its blob.
 */
export function sealFrame(frame: Uint8Array, header: FrameHeader, frameSeed: number): void {
  const view = viewOf(frame);
  frame.set(FRAME_MAGIC);
  putUint64(view, 8, header.segmentNumber);
  putUint64(view, 16, header.sequence);
  putUint64(view, 24, header.syncedSequence);
  view.setUint32(32, header.epoch, true);
  view.setUint32(36, header.previousChecksum, true);
  view.setUint32(40, header.frameBytes, true);
  view.setUint32(44, header.blobCount, true);
  view.setUint32(48, header.notesBytes, true);
  view.setUint16(52, header.kind, true);
  view.setUint16(54, header.isLast ? 1 : 0, true);
  const start = payloadStart(header.blobCount, header.notesBytes);
  view.setUint32(56, 0, true);
  header.headerChecksum = headerChecksumOf(frame, start, frameSeed);
  view.setUint32(60, header.headerChecksum, true);
}

function headerChecksumOf(frame: Uint8Array, start: number, frameSeed: number): number {
  return crc32(frame.subarray(FRAME_HEADER_BYTES, start), crc32(frame.subarray(0, 60), frameSeed));
}

/** The header of the frame that begins `bytes`, if it is whole up to its payloads. */
export function decodeFrameHeader(bytes: Uint8Array, frameSeed: number): FrameHeader | undefined {
  if (bytes.length < FRAME_HEADER_BYTES || !hasMagic(bytes, FRAME_MAGIC)) return undefined;
  const view = viewOf(bytes);
  const header: FrameHeader = {
    segmentNumber: getUint64(view, 8),
    sequence: getUint64(view, 16),
    syncedSequence: getUint64(view, 24),
    epoch: view.getUint32(32, true),
    previousChecksum: view.getUint32(36, true),
    frameBytes: view.getUint32(40, true),
    blobCount: view.getUint32(44, true),
    notesBytes: view.getUint32(48, true),
    kind: view.getUint16(52, true),
    isLast: view.getUint16(54, true) === 1,
    headerChecksum: view.getUint32(60, true),
  };
  const start = payloadStart(header.blobCount, header.notesBytes);
  if (header.frameBytes > MAX_SEGMENT_BYTES || header.frameBytes % SECTOR_BYTES !== 0) {
    return undefined;
  }
  if (start > header.frameBytes) return undefined;
  if (start > bytes.length) return undefined;
  if (headerChecksumOf(bytes, start, frameSeed) !== header.headerChecksum) return undefined;
  return header;
}

/** Entry i of a frame or a footer. The offset counts from the frame, or from the segment. */
export function putBlobEntry(
  target: Uint8Array,
  at: number,
  hashes: Uint8Array,
  hashOffset: number,
  blobOffset: number,
  lengthBytes: number,
): void {
  for (let index = 0; index < HASH_BYTES; index++) {
    target[at + index] = hashes[hashOffset + index];
  }
  putUint32(target, at + HASH_BYTES, blobOffset);
  putUint32(target, at + HASH_BYTES + 4, lengthBytes);
}

export function entryOffset(bytes: Uint8Array, at: number): number {
  return getUint32(bytes, at + HASH_BYTES);
}

export function entryLength(bytes: Uint8Array, at: number): number {
  return getUint32(bytes, at + HASH_BYTES + 4);
}

/** Without a DataView: one would be allocated for each blob of each frame. */
export function putUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value;
  target[at + 1] = value >>> 8;
  target[at + 2] = value >>> 16;
  target[at + 3] = value >>> 24;
}

function getUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

/** The notes of a frame, in order; `meta` is the frame up to its payloads. */
export function* frameNotes(meta: Uint8Array, header: FrameHeader): Generator<Uint8Array> {
  const view = viewOf(meta);
  let at = FRAME_HEADER_BYTES + header.blobCount * BLOB_ENTRY_BYTES;
  const end = at + header.notesBytes;
  while (at + NOTE_HEADER_BYTES <= end) {
    const length = view.getUint32(at, true);
    at += NOTE_HEADER_BYTES;
    yield meta.subarray(at, at + length);
    at += length;
  }
}

/** The room that a footer takes at the end of a segment, its trailer included. */
export function footerBytes(entryCount: number): number {
  return roundUp(entryCount * BLOB_ENTRY_BYTES, SECTOR_BYTES) + SECTOR_BYTES;
}

export function encodeFooterTrailer(footer: Footer): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = viewOf(sector);
  sector.set(FOOTER_MAGIC);
  view.setUint32(16, FORMAT_VERSION, true);
  view.setUint32(20, footer.entryCount, true);
  putUint64(view, 24, footer.segmentNumber);
  view.setUint32(32, footer.entriesOffset, true);
  view.setUint32(36, footer.entriesChecksum, true);
  view.setUint32(40, footer.framesEnd, true);
  view.setUint32(44, footer.lastChecksum, true);
  putUint64(view, 48, footer.lastSequence);
  return sealSector(sector);
}

export function decodeFooterTrailer(sector: Uint8Array): Footer | undefined {
  if (!isSealedSector(sector, FOOTER_MAGIC)) return undefined;
  const view = viewOf(sector);
  if (view.getUint32(16, true) !== FORMAT_VERSION) return undefined;
  return {
    entryCount: view.getUint32(20, true),
    segmentNumber: getUint64(view, 24),
    entriesOffset: view.getUint32(32, true),
    entriesChecksum: view.getUint32(36, true),
    framesEnd: view.getUint32(40, true),
    lastChecksum: view.getUint32(44, true),
    lastSequence: getUint64(view, 48),
  };
}
