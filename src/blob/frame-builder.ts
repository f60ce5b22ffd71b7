import { type BlobBatch, MARK_KEPT } from "./blob-store.ts";
import { type BlobIndex, MAX_SEGMENT_SLOTS } from "./blob-index.ts";
import { HASH_BYTES, hashesEqual } from "./hash.ts";
import type { QueuedBatch } from "./queued-batch.ts";
import type { RecentHashes } from "./recent-hashes.ts";
import {
  BLOB_ENTRY_BYTES,
  entryOffset,
  FRAME_HEADER_BYTES,
  type FrameHeader,
  NOTE_HEADER_BYTES,
  PAYLOAD_ALIGNMENT_BYTES,
  payloadStart,
  putBlobEntry,
  putUint32,
  roundUp,
  sealFrame,
  SECTOR_BYTES,
} from "./segment-format.ts";

/** While a frame is put together its blobs are in the index under this slot. */
const PENDING_SLOT = MAX_SEGMENT_SLOTS - 1;

/** What the parts of the store share about names. */
export interface IndexState {
  readonly index: BlobIndex;
  readonly recent: RecentHashes;
  /** Counts removals and moves of entries. */
  removals: number;
  /** Appended blobs must keep at least `MARK_KEPT`. */
  protectPuts: boolean;
  duplicateBlobs: number;
}

/** An upper bound of what a batch adds to a frame. */
export function frameShare(batch: BlobBatch): number {
  let bytes = batch.blobCount * BLOB_ENTRY_BYTES;
  for (let blob = 0; blob < batch.blobCount; blob++) {
    bytes += roundUp(batch.lengths[blob], PAYLOAD_ALIGNMENT_BYTES);
  }
  for (const note of batch.notes) bytes += NOTE_HEADER_BYTES + note.length;
  return bytes;
}

/** Puts batches together into one frame, each new blob once. */
export class FrameBuilder {
  readonly #state: IndexState;
  readonly #frameSeed: number;
  #buffer = new Uint8Array(64 * 1024);
  #batches: readonly QueuedBatch[] = [];
  readonly #sources: QueuedBatch[] = [];
  readonly #sourceBlobs: number[] = [];
  #slot = 0;
  #start = 0;
  blobCount = 0;
  frameBytes = 0;

  /** @param frameSeed of the store, see `frameSeedOf` */
  constructor(state: IndexState, frameSeed: number) {
    this.#state = state;
    this.#frameSeed = frameSeed;
  }

  get frame(): Uint8Array {
    return this.#buffer.subarray(0, this.frameBytes);
  }

  get entries(): Uint8Array {
    const end = FRAME_HEADER_BYTES + this.blobCount * BLOB_ENTRY_BYTES;
    return this.#buffer.subarray(FRAME_HEADER_BYTES, end);
  }

  get slot(): number {
    return this.#slot;
  }

  /** The frame's place in its segment. */
  get start(): number {
    return this.#start;
  }

  /** @param roomBytes the sum of `frameShare` of the batches */
  build(
    batches: readonly QueuedBatch[],
    roomBytes: number,
    slot: number,
    start: number,
    header: FrameHeader,
  ): void {
    const needed = roundUp(FRAME_HEADER_BYTES + PAYLOAD_ALIGNMENT_BYTES + roomBytes, SECTOR_BYTES);
    if (this.#buffer.length < needed) this.#buffer = new Uint8Array(roundUp(needed, 1 << 16));
    this.#batches = batches;
    this.#slot = slot;
    this.#start = start;
    this.#sources.length = 0;
    this.#sourceBlobs.length = 0;
    this.blobCount = 0;
    for (const queued of batches) this.#collect(queued);
    const notesBytes = this.#putNotes();
    this.#putPayloads(notesBytes);
    header.blobCount = this.blobCount;
    header.notesBytes = notesBytes;
    header.frameBytes = this.frameBytes;
    sealFrame(this.frame, header, this.#frameSeed);
  }

  #collect(queued: QueuedBatch): void {
    const { batch, moved } = queued;
    const { index, protectPuts } = this.#state;
    for (let blob = 0; blob < batch.blobCount; blob++) {
      const hashOffset = blob * HASH_BYTES;
      if (moved === undefined) {
        if (this.#isStored(queued, blob)) {
          this.#state.duplicateBlobs++;
          continue;
        }
        const mark = protectPuts ? MARK_KEPT : 0;
        const pending = (this.blobCount + 1) * PAYLOAD_ALIGNMENT_BYTES;
        index.insert(batch.hashes, hashOffset, PENDING_SLOT, pending, batch.lengths[blob], mark);
      }
      const at = FRAME_HEADER_BYTES + this.blobCount * BLOB_ENTRY_BYTES;
      putBlobEntry(this.#buffer, at, batch.hashes, hashOffset, 0, batch.lengths[blob]);
      this.#sources.push(queued);
      this.#sourceBlobs.push(blob);
      this.blobCount++;
    }
  }

  /** Whether the blob needs no copy; if so it is protected from a sweep under way. */
  #isStored(queued: QueuedBatch, blob: number): boolean {
    const { index, recent, protectPuts, removals } = this.#state;
    const { hashes } = queued.batch;
    const hashOffset = blob * HASH_BYTES;
    const trusted =
      (queued.confirmed?.[blob] === 1 && queued.confirmedAt === removals) ||
      recent.has(hashes, hashOffset);
    let stored = false;
    for (let found = index.find(hashes, hashOffset); found; found = index.findNext()) {
      if (index.segmentSlot === PENDING_SLOT) {
        const ordinal = index.offset / PAYLOAD_ALIGNMENT_BYTES - 1;
        const at = FRAME_HEADER_BYTES + ordinal * BLOB_ENTRY_BYTES;
        if (!hashesEqual(this.#buffer, at, hashes, hashOffset)) continue;
      } else if (!trusted) {
        continue;
      }
      stored = true;
      // Which of several entries with these 64 bits is meant is not known: all of them stay.
      if (protectPuts && index.markFound < MARK_KEPT) index.markFound = MARK_KEPT;
    }
    return stored;
  }

  #putNotes(): number {
    let at = FRAME_HEADER_BYTES + this.blobCount * BLOB_ENTRY_BYTES;
    const start = at;
    for (const { batch } of this.#batches) {
      for (const note of batch.notes) {
        putUint32(this.#buffer, at, note.length);
        this.#buffer.set(note, at + NOTE_HEADER_BYTES);
        at += NOTE_HEADER_BYTES + note.length;
      }
    }
    return at - start;
  }

  #putPayloads(notesBytes: number): void {
    let at = payloadStart(this.blobCount, notesBytes);
    const metaEnd = FRAME_HEADER_BYTES + this.blobCount * BLOB_ENTRY_BYTES + notesBytes;
    this.#buffer.fill(0, metaEnd, at);
    for (let entry = 0; entry < this.blobCount; entry++) {
      const { batch, moved } = this.#sources[entry];
      const blob = this.#sourceBlobs[entry];
      const length = batch.lengths[blob];
      const offset = batch.offsets[blob];
      this.#buffer.set(batch.sources[blob].subarray(offset, offset + length), at);
      const tableAt = FRAME_HEADER_BYTES + entry * BLOB_ENTRY_BYTES;
      putUint32(this.#buffer, tableAt + HASH_BYTES, at);
      if (moved === undefined) this.#settle(tableAt, entry, this.#start + at);
      const end = roundUp(at + length, PAYLOAD_ALIGNMENT_BYTES);
      this.#buffer.fill(0, at + length, end);
      at = end;
    }
    this.frameBytes = roundUp(at, SECTOR_BYTES);
    this.#buffer.fill(0, at, this.frameBytes);
  }

  #settle(tableAt: number, entry: number, offset: number): void {
    const { index } = this.#state;
    const pending = (entry + 1) * PAYLOAD_ALIGNMENT_BYTES;
    if (index.findAt(this.#buffer, tableAt, PENDING_SLOT, pending)) {
      index.moveFound(this.#slot, offset);
    }
  }

  /** The frame is in the log: moved blobs are found there from now on. */
  committed(): void {
    const { index, recent } = this.#state;
    for (let entry = 0; entry < this.blobCount; entry++) {
      const at = FRAME_HEADER_BYTES + entry * BLOB_ENTRY_BYTES;
      const moved = this.#sources[entry].moved;
      if (moved === undefined) {
        recent.add(this.#buffer, at);
        continue;
      }
      const oldOffset = moved.offsets[this.#sourceBlobs[entry]];
      if (index.findAt(this.#buffer, at, moved.slot, oldOffset)) {
        index.moveFound(this.#slot, this.#start + entryOffset(this.#buffer, at));
        this.#state.removals++;
      }
    }
  }

  /** The frame is not in the log: its blobs are not stored. */
  discard(): void {
    const { index, recent } = this.#state;
    for (let entry = 0; entry < this.blobCount; entry++) {
      if (this.#sources[entry].moved !== undefined) continue;
      const at = FRAME_HEADER_BYTES + entry * BLOB_ENTRY_BYTES;
      // A batch behind this one may have found the name while the frame was being written.
      recent.remove(this.#buffer, at);
      const offset = this.#start + entryOffset(this.#buffer, at);
      if (index.findAt(this.#buffer, at, this.#slot, offset)) index.removeFound();
    }
    this.#state.removals++;
  }

  /** A blob of this frame by its offset in the segment; undefined when it is not of this frame. */
  blobAt(slot: number, offset: number, lengthBytes: number): Uint8Array | undefined {
    if (slot !== this.#slot || offset < this.#start) return undefined;
    const at = offset - this.#start;
    if (at + lengthBytes > this.frameBytes) return undefined;
    return this.#buffer.subarray(at, at + lengthBytes);
  }
}
