import type { DamagedBlob, ScrubProgress } from "./blob-store.ts";
import type { IndexState } from "./frame-builder.ts";
import { HASH_BYTES, hashesEqual, hashInto } from "./hash.ts";
import { SegmentEntries } from "./segment-entries.ts";
import { type Segment, segmentName, type SegmentSpace } from "./segment-space.ts";

const ENTRIES_A_PIECE = 128;
/** A cursor is a segment's number and a piece of it. */
const PIECES = 65536;

/** Reads all segments in the order of their numbers, some entries at a time. */
export class SegmentScrubber {
  readonly #state: IndexState;
  readonly #space: SegmentSpace;
  readonly #name = new Uint8Array(HASH_BYTES);
  #loaded: { segment: Segment; number: number; entries: SegmentEntries } | undefined;

  constructor(state: IndexState, space: SegmentSpace) {
    this.#state = state;
    this.#space = space;
  }

  /** One piece; see `BlobStore.scrub`. */
  async scrub(
    cursor: number,
    found: (blob: DamagedBlob) => void,
    progress: ScrubProgress,
  ): Promise<number> {
    const number = Math.floor(cursor / PIECES);
    const segments = this.#space.segments
      .filter((candidate) => candidate !== undefined)
      .filter((candidate) => candidate.number > 0 && candidate.number >= number)
      .toSorted((left, right) => left.number - right.number);
    const [segment, next] = segments;
    if (segment === undefined) return 0;
    const piece = segment.number === number ? cursor % PIECES : 0;
    const entries = await this.#entriesOf(segment, piece);
    const first = piece * ENTRIES_A_PIECE;
    const end = Math.min(first + ENTRIES_A_PIECE, entries.count);
    for (let place = first; place < end; place++) {
      await this.#verify(segment, entries, place, found, progress);
    }
    const rest = segments.slice(1).reduce((sum, { framesEnd }) => sum + framesEnd, 0);
    const share = entries.count === 0 ? 0 : (entries.count - end) / entries.count;
    progress.remainingBytes = rest + Math.round(segment.framesEnd * share);
    if (end < entries.count) return segment.number * PIECES + piece + 1;
    return next === undefined ? 0 : next.number * PIECES;
  }

  async #entriesOf(segment: Segment, piece: number): Promise<SegmentEntries> {
    const loaded = this.#loaded;
    const isCurrent = loaded?.segment === segment && loaded.number === segment.number;
    // The active segment grows: its entries are read anew for each pass.
    if (isCurrent && piece > 0) return loaded.entries;
    const entries = await SegmentEntries.load(segment, this.#space);
    this.#loaded = { segment, number: segment.number, entries };
    return entries;
  }

  async #verify(
    segment: Segment,
    entries: SegmentEntries,
    place: number,
    found: (blob: DamagedBlob) => void,
    progress: ScrubProgress,
  ): Promise<void> {
    const hashAt = entries.hashAt(place);
    const offset = entries.offset(place);
    const lengthBytes = entries.lengthBytes(place);
    if (!this.#state.index.findAt(entries.hashes, hashAt, segment.slot, offset)) return;
    const data = Buffer.allocUnsafe(lengthBytes);
    const isRead = await this.#read(segment, data, offset);
    // A sweep may have moved the blob meanwhile, and given its segment another use.
    if (!this.#state.index.findAt(entries.hashes, hashAt, segment.slot, offset)) return;
    hashInto(data, this.#name, 0);
    progress.blobs++;
    progress.bytes += lengthBytes;
    if (isRead && hashesEqual(this.#name, 0, entries.hashes, hashAt)) return;
    const hash = entries.hashes.slice(hashAt, hashAt + HASH_BYTES);
    found({ hash, lengthBytes, place: `${segmentName(segment.slot)} at ${offset}` });
  }

  async #read(segment: Segment, data: Uint8Array, offset: number): Promise<boolean> {
    segment.pins++;
    try {
      return (await segment.file.read(data, offset)) === data.length;
    } catch {
      return false;
    } finally {
      segment.pins--;
    }
  }
}
