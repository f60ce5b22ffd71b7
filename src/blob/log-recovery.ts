import { crc32 } from "node:zlib";
import { UsageError } from "../errors.ts";
import type { BlobIndex } from "./blob-index.ts";
import { MAX_BLOB_BYTES, type NoteReader } from "./blob-store.ts";
import { FooterEntries } from "./footer-entries.ts";
import {
  BLOB_ENTRY_BYTES,
  decodeFooterTrailer,
  decodeSegmentHeader,
  entryLength,
  entryOffset,
  FIRST_FRAME_OFFSET,
  type Footer,
  FRAME_HEADER_BYTES,
  FrameKind,
  frameNotes,
  type LogPosition,
  SECTOR_BYTES,
  type SegmentHeader,
} from "./segment-format.ts";
import { type ScannedFrame, SegmentScan } from "./segment-scan.ts";
import { newSegment, type Segment, SEGMENT_NAME, type SegmentSpace } from "./segment-space.ts";
import type { SuperblockFile } from "./superblock-file.ts";

interface FoundSegment {
  readonly segment: Segment;
  readonly header: SegmentHeader;
  readonly footer: Footer | undefined;
}

/** A segment that holds a part of the log since the checkpoint, and where that part ends. */
interface ChainLink {
  readonly found: FoundSegment;
  readonly end: number;
}

/** Where the log goes on; `active` is undefined when the next frame begins a new segment. */
export interface LogTail {
  readonly active: Segment | undefined;
  readonly entries: FooterEntries;
  readonly sequence: number;
  readonly previousChecksum: number;
  readonly nextSegmentNumber: number;
}

/** The image that a checkpoint points at is not whole. */
class DamagedCheckpoint extends Error {}

/**
 * Opens the log: fills the index, hands the last checkpoint and the notes after it to the layer
 * above, and finds the place where the log goes on.
 *
 * The log ends where the chain of frames breaks. A break is taken for damage, not for the end, when
 * something later proves that the frame had been durable; see docs/formats/segment-log.md.
 */
export class LogRecovery {
  readonly #space: SegmentSpace;
  readonly #superblock: SuperblockFile;
  readonly #index: BlobIndex;
  readonly #reader: NoteReader;
  readonly #scan: SegmentScan;
  readonly #found: FoundSegment[] = [];
  #sequence = 0;
  #previousChecksum = 0;
  #epoch = 0;
  #imagePieces: Uint8Array[] | undefined;
  tailBytes = 0;

  constructor(
    space: SegmentSpace,
    superblock: SuperblockFile,
    index: BlobIndex,
    reader: NoteReader,
  ) {
    this.#space = space;
    this.#superblock = superblock;
    this.#index = index;
    this.#reader = reader;
    this.#scan = new SegmentScan(space.frameSeed);
  }

  async run(): Promise<LogTail> {
    await this.#findSegments();
    const chain = await this.#replayNewest();
    const last = chain.at(-1);
    const entries = new FooterEntries();
    for (const found of this.#found) {
      if (found === last?.found) await this.#indexSegment(found, last.end, entries);
      else await this.#indexSegment(found, Infinity, undefined);
      this.#space.adopt(found.segment);
    }
    // What a process before this one wrote may still be on its way to the disk.
    for (const { found } of chain) await found.segment.file.sync();
    const isOpen = last !== undefined && !last.found.segment.sealed;
    return {
      active: isOpen ? last.found.segment : undefined,
      entries: isOpen ? entries : new FooterEntries(),
      sequence: this.#sequence,
      previousChecksum: this.#previousChecksum,
      nextSegmentNumber: Math.max(0, ...this.#found.map(({ segment }) => segment.number)) + 1,
    };
  }

  async #replayNewest(): Promise<ChainLink[]> {
    const { checkpoint, previousCheckpoint } = this.#superblock.current;
    for (const start of [checkpoint, previousCheckpoint]) {
      try {
        return await this.#replay(start);
      } catch (error) {
        if (!(error instanceof DamagedCheckpoint)) throw error;
      }
    }
    throw this.#damage("neither of the last two checkpoints can be read");
  }

  #damage(what: string): UsageError {
    return new UsageError(
      `the store ${this.#space.disk.description} is damaged: ${what}; ` +
        "restore it from a copy, or move it away to begin anew",
    );
  }

  async #findSegments(): Promise<void> {
    const { storeId } = this.#superblock.current;
    for (const name of (await this.#space.disk.list()).toSorted()) {
      const match = SEGMENT_NAME.exec(name);
      if (match === null) continue;
      const segment = newSegment(Number(match[1]), await this.#space.disk.open(name));
      const sector = new Uint8Array(SECTOR_BYTES);
      await segment.file.read(sector, 0);
      const header = decodeSegmentHeader(storeId, sector) ?? (await this.#headerFromFrame(segment));
      if (header === undefined || !header.inUse) {
        if (header === undefined && !isZero(sector)) {
          throw this.#damage(`the header and the first frame of ${name} cannot be read`);
        }
        this.#space.adopt(segment);
        continue;
      }
      segment.number = header.segmentNumber;
      segment.firstSequence = header.firstSequence;
      this.#found.push({ segment, header, footer: await this.#readFooter(segment) });
    }
    this.#found.sort((left, right) => left.segment.number - right.segment.number);
  }

  /** The first frame says again what the header says. */
  async #headerFromFrame(segment: Segment): Promise<SegmentHeader | undefined> {
    await this.#scan.load(segment.file, this.#space.segmentBytes);
    const frame = this.#scan.anyFrameAt(FIRST_FRAME_OFFSET);
    if (frame === undefined) return undefined;
    const { segmentNumber, sequence, previousChecksum, epoch } = frame.header;
    return { inUse: true, segmentNumber, firstSequence: sequence, previousChecksum, epoch };
  }

  async #readFooter(segment: Segment): Promise<Footer | undefined> {
    const { segmentBytes } = this.#space;
    if (segment.file.sizeBytes < segmentBytes) return undefined;
    const sector = new Uint8Array(SECTOR_BYTES);
    await segment.file.read(sector, segmentBytes - SECTOR_BYTES);
    const footer = decodeFooterTrailer(sector);
    return footer?.segmentNumber === segment.number ? footer : undefined;
  }

  /**
   * Fills the index with the blobs of a segment.
   *
   * @param end frames from here on are not of the log, and will be overwritten
   * @param entries collects the blobs of the segment that the log goes on in
   */
  async #indexSegment(
    { segment, footer }: FoundSegment,
    end: number,
    entries: FooterEntries | undefined,
  ): Promise<void> {
    if (footer !== undefined && (await this.#indexFooter(segment, footer))) return;
    await this.#scan.load(segment.file, this.#space.segmentBytes);
    segment.framesEnd = end === Infinity ? FIRST_FRAME_OFFSET : end;
    let frame = this.#scan.nextFrame(FIRST_FRAME_OFFSET, segment.number);
    while (frame !== undefined && frame.offset < end) {
      // Frames that a crash or an error left half-written are of no use; whole ones are, whether
      // or not they belong to the chain: a blob is known by its content.
      const isUseful =
        end !== Infinity || this.#scan.payloadsAreWhole(frame) || this.#wasDurable(frame);
      if (isUseful) this.#indexFrame(segment, frame, entries);
      const frameEnd = frame.offset + frame.header.frameBytes;
      if (end === Infinity) segment.framesEnd = Math.max(segment.framesEnd, frameEnd);
      frame = this.#scan.nextFrame(
        isUseful ? frameEnd : frame.offset + SECTOR_BYTES,
        segment.number,
      );
    }
  }

  #wasDurable({ header, offset }: ScannedFrame): boolean {
    return (
      header.sequence <= this.#superblock.current.durableSequence ||
      this.#found.some(({ segment }) => segment.firstSequence > header.sequence) ||
      this.#scan.provesDurable(offset, header.segmentNumber, header.sequence)
    );
  }

  async #indexFooter(segment: Segment, footer: Footer): Promise<boolean> {
    const entries = new Uint8Array(footer.entryCount * BLOB_ENTRY_BYTES);
    await segment.file.read(entries, footer.entriesOffset);
    if (crc32(entries) !== footer.entriesChecksum) return false;
    segment.sealed = true;
    segment.framesEnd = footer.framesEnd;
    for (let at = 0; at < entries.length; at += BLOB_ENTRY_BYTES) {
      this.#indexEntry(segment, entries, at, entryOffset(entries, at));
    }
    return true;
  }

  #indexFrame(
    segment: Segment,
    { header, offset, meta }: ScannedFrame,
    entries: FooterEntries | undefined,
  ): void {
    const tableEnd = FRAME_HEADER_BYTES + header.blobCount * BLOB_ENTRY_BYTES;
    entries?.addFrame(meta.subarray(FRAME_HEADER_BYTES, tableEnd), offset);
    for (let entry = 0; entry < header.blobCount; entry++) {
      const at = FRAME_HEADER_BYTES + entry * BLOB_ENTRY_BYTES;
      this.#indexEntry(segment, meta, at, offset + entryOffset(meta, at));
    }
  }

  #indexEntry(segment: Segment, entries: Uint8Array, at: number, offset: number): void {
    const length = entryLength(entries, at);
    if (length === 0 || length > MAX_BLOB_BYTES) return;
    if (offset + length > this.#space.segmentBytes) return;
    if (this.#index.findAt(entries, at, segment.slot, offset)) return;
    this.#index.insert(entries, at, segment.slot, offset, length);
  }

  /** Follows the chain from a checkpoint to the end of the log. */
  async #replay(start: Readonly<LogPosition>): Promise<ChainLink[]> {
    this.#sequence = start.sequence;
    this.#previousChecksum = start.previousChecksum;
    this.#epoch = 0;
    this.#imagePieces = undefined;
    this.tailBytes = 0;
    const begins = this.#found.findIndex(({ segment }) => segment.number === start.segmentNumber);
    if (begins < 0 && start.sequence > 1) throw new DamagedCheckpoint();
    const chain: ChainLink[] = [];
    for (const found of begins < 0 ? [] : this.#found.slice(begins)) {
      const { header, segment } = found;
      const isFirst = segment.number === start.segmentNumber;
      const continues =
        header.firstSequence === this.#sequence &&
        header.previousChecksum === this.#previousChecksum;
      if (!isFirst && !continues) continue;
      const end = await this.#replaySegment(found, isFirst ? start : undefined);
      chain.push({ found, end });
    }
    this.#refuseGaps();
    if (this.#imagePieces !== undefined) throw new DamagedCheckpoint();
    return chain;
  }

  /** A segment begins when everything before it is durable: what it misses was lost later. */
  #refuseGaps(): void {
    const later = this.#found.find(({ segment }) => segment.firstSequence > this.#sequence);
    if (later === undefined) return;
    throw this.#damage(
      `frame ${this.#sequence} of the log cannot be read, although frames after it were written`,
    );
  }

  async #replaySegment(
    { segment, footer }: FoundSegment,
    start: Readonly<LogPosition> | undefined,
  ): Promise<number> {
    await this.#scan.load(segment.file, this.#space.segmentBytes);
    let offset = start?.offset ?? FIRST_FRAME_OFFSET;
    for (;;) {
      const frame = this.#scan.frameAt(offset, segment.number);
      if (frame === undefined || !this.#continuesChain(frame)) break;
      // A frame whose sync failed may be whole: it was given up when a new segment took its number.
      if (this.#continuesElsewhere(segment)) break;
      const isDurable = footer !== undefined && frame.header.sequence <= footer.lastSequence;
      if (!isDurable && !this.#scan.payloadsAreWhole(frame) && !this.#wasDurable(frame)) break;
      this.#replayFrame(frame, start !== undefined && frame.offset === start.offset);
      this.#sequence = frame.header.sequence + 1;
      this.#previousChecksum = frame.header.headerChecksum;
      this.#epoch = frame.header.epoch;
      offset += frame.header.frameBytes;
      this.tailBytes += frame.header.frameBytes;
    }
    const wasDurable =
      this.#sequence <= this.#superblock.current.durableSequence ||
      this.#scan.provesDurable(offset, segment.number, this.#sequence);
    if (wasDurable && !this.#continuesElsewhere(segment)) {
      if (this.#imagePieces !== undefined || this.#sequence === start?.sequence) {
        throw new DamagedCheckpoint();
      }
      throw this.#damage(
        `frame ${this.#sequence} in segment-${segment.slot} at ${offset} cannot be read`,
      );
    }
    return offset;
  }

  #continuesElsewhere(segment: Segment): boolean {
    return this.#found.some(
      ({ segment: other, header }) =>
        other.number > segment.number &&
        header.firstSequence === this.#sequence &&
        header.previousChecksum === this.#previousChecksum,
    );
  }

  #continuesChain({ header }: ScannedFrame): boolean {
    return (
      header.sequence === this.#sequence &&
      header.previousChecksum === this.#previousChecksum &&
      header.epoch >= this.#epoch
    );
  }

  #replayFrame({ header, meta }: ScannedFrame, isCheckpoint: boolean): void {
    if (header.kind === FrameKind.data) {
      if (this.#imagePieces !== undefined) throw new DamagedCheckpoint();
      for (const note of frameNotes(meta, header)) this.#reader.note(note);
      return;
    }
    // A later checkpoint whose superblock was not written: the notes up to it say the same.
    if (isCheckpoint && header.kind === FrameKind.checkpointStart) this.#imagePieces = [];
    if (this.#imagePieces === undefined) return;
    for (const piece of frameNotes(meta, header)) this.#imagePieces.push(piece.slice());
    if (!header.isLast) return;
    this.#reader.image(Buffer.concat(this.#imagePieces));
    this.#imagePieces = undefined;
  }
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
