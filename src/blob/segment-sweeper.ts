import { setImmediate as nextTurn } from "node:timers/promises";
import { AwaitedBatch, StoreFault, type SweepOptions, type SweepReport } from "./blob-store.ts";
import type { IndexState } from "./frame-builder.ts";
import { HASH_BYTES, hashesEqual, hashInto } from "./hash.ts";
import { queuedBatch } from "./queued-batch.ts";
import { SegmentEntries } from "./segment-entries.ts";
import { FIRST_FRAME_OFFSET } from "./segment-format.ts";
import type { SegmentLog } from "./segment-log.ts";
import type { Segment, SegmentSpace } from "./segment-space.ts";
import { storeFault } from "./store-fault.ts";

/** Bounds of one turn of the event loop, and of one append. */
const SHARDS_A_TURN = 64;
const ENTRIES_A_TURN = 1024;
const MAX_COPY_BYTES = 512 * 1024;

/**
 * Gives back the space of unmarked blobs. Segments in which little is marked are emptied: what is
 * not marked leaves the index, what is marked is appended to the log again, and when that is
 * durable the segment is free. A crash at any moment leaves one whole copy of every marked blob.
 */
export class SegmentSweeper {
  readonly #state: IndexState;
  readonly #space: SegmentSpace;
  readonly #log: SegmentLog;
  readonly #names = new Uint8Array(HASH_BYTES);

  constructor(state: IndexState, space: SegmentSpace, log: SegmentLog) {
    this.#state = state;
    this.#space = space;
    this.#log = log;
  }

  /**
   * A segment that holds blobs which cannot be listed ends the sweep: they would be lost with it.
   *
   * @param before only segments with a lower number: the log since the checkpoint stays
   */
  async sweep(before: number, options: SweepOptions): Promise<SweepReport> {
    const report: SweepReport = { segmentsFreed: 0, bytesFreed: 0, blobsCopied: 0, bytesCopied: 0 };
    const { live, held } = await this.#shares();
    const victims = this.#space.segments
      .filter((segment) => segment !== undefined)
      .filter((segment) => segment.number > 0 && segment.number < before)
      .filter((segment) => segment !== this.#log.active)
      .map((segment) => ({ segment, share: shareOf(live[segment.slot] ?? 0, segment) }))
      .filter(({ share }) => share < options.liveThreshold)
      .toSorted((left, right) => left.share - right.share);
    try {
      for (const { segment } of victims) {
        await this.#empty(segment, held[segment.slot] ?? 0, report);
        await options.pace();
      }
    } catch (error) {
      throw storeFault(error);
    }
    return report;
  }

  /** By slot: the bytes that are marked, and the entries of the index. */
  async #shares(): Promise<{ live: number[]; held: number[] }> {
    const live: number[] = [];
    const held: number[] = [];
    const { index } = this.#state;
    for (let shard = 0; shard < index.shardCount; shard++) {
      index.forEachOfShard(shard, (slot, lengthBytes, mark) => {
        held[slot] = (held[slot] ?? 0) + 1;
        if (mark > 0) live[slot] = (live[slot] ?? 0) + lengthBytes;
      });
      if (shard % SHARDS_A_TURN === 0) await nextTurn();
    }
    return { live, held };
  }

  async #empty(segment: Segment, heldBlobs: number, report: SweepReport): Promise<void> {
    const entries = await SegmentEntries.load(segment, this.#space);
    await this.#refuseUnlisted(segment, entries, heldBlobs);
    const live = await this.#dropUnmarked(segment, entries);
    const copyBytes = Math.min(MAX_COPY_BYTES, this.#log.maxBatchBytes);
    let at = 0;
    while (at < live.length) {
      const end = endOfCopy(entries, live, at, copyBytes);
      await this.#copy(segment, entries, live.slice(at, end), report);
      at = end;
    }
    while (segment.pins > 0) await nextTurn();
    // A frame that failed may have named blobs of this segment, and may be on the disk: the next
    // one must have taken its place before the blobs go.
    if (this.#log.tailUncertain) {
      throw new StoreFault("writeFault", "the sweep stops: the last append failed");
    }
    const { sizeBytes } = segment.file;
    await this.#space.release(segment);
    report.segmentsFreed++;
    report.bytesFreed += sizeBytes;
  }

  /** Without a footer a damaged frame hides its blobs, which may be whole and wanted. */
  async #refuseUnlisted(
    segment: Segment,
    entries: SegmentEntries,
    heldBlobs: number,
  ): Promise<void> {
    const { index } = this.#state;
    const { hashes } = entries;
    let listed = 0;
    for (let place = 0; place < entries.count; place++) {
      if (index.findAt(hashes, entries.hashAt(place), segment.slot, entries.offset(place))) {
        listed++;
      }
      if (place % ENTRIES_A_TURN === ENTRIES_A_TURN - 1) await nextTurn();
    }
    if (listed >= heldBlobs) return;
    throw new StoreFault(
      "damaged",
      `the sweep stops: ${heldBlobs - listed} blobs in segment-${segment.slot} are not in any ` +
        "frame that can be read",
    );
  }

  /** The places of the entries that stay. */
  async #dropUnmarked(segment: Segment, entries: SegmentEntries): Promise<number[]> {
    const { index, recent } = this.#state;
    const live: number[] = [];
    for (let place = 0; place < entries.count; place++) {
      const hashAt = entries.hashAt(place);
      if (index.findAt(entries.hashes, hashAt, segment.slot, entries.offset(place))) {
        if (index.markFound > 0) {
          live.push(place);
        } else {
          index.removeFound();
          recent.remove(entries.hashes, hashAt);
          this.#state.removals++;
        }
      }
      if (place % ENTRIES_A_TURN === ENTRIES_A_TURN - 1) await nextTurn();
    }
    return live;
  }

  /** Appends neighbouring blobs again. A blob that is damaged stays where it is, and all with it. */
  async #copy(
    segment: Segment,
    entries: SegmentEntries,
    places: number[],
    report: SweepReport,
  ): Promise<void> {
    const batch = new AwaitedBatch(places.length);
    batch.privileged = true;
    const offsets = Uint32Array.from(places, (place) => entries.offset(place));
    const start = offsets[0];
    const last = places[places.length - 1];
    const buffer = Buffer.allocUnsafe(entries.offset(last) + entries.lengthBytes(last) - start);
    const count = await segment.file.read(buffer, start);
    if (count < buffer.length) throw this.#unreadable(segment, start);
    places.forEach((place, blob) => {
      const from = offsets[blob] - start;
      const length = entries.lengthBytes(place);
      hashInto(buffer.subarray(from, from + length), this.#names, 0);
      if (!hashesEqual(this.#names, 0, entries.hashes, entries.hashAt(place))) {
        throw this.#unreadable(segment, entries.offset(place));
      }
      batch.addBlob(entries.hashes, entries.hashAt(place), buffer, from, length);
      report.bytesCopied += length;
    });
    this.#log.append(queuedBatch(batch, { slot: segment.slot, offsets }));
    await batch.done;
    report.blobsCopied += places.length;
  }

  #unreadable(segment: Segment, offset: number): StoreFault {
    return new StoreFault(
      "damaged",
      `the sweep stops: a blob in segment-${segment.slot} at ${offset} cannot be read`,
    );
  }
}

function shareOf(liveBytes: number, segment: Segment): number {
  return liveBytes / Math.max(1, segment.framesEnd - FIRST_FRAME_OFFSET);
}

/** As many entries as span no more than one copy. */
function endOfCopy(
  entries: SegmentEntries,
  places: number[],
  from: number,
  copyBytes: number,
): number {
  const start = entries.offset(places[from]);
  let end = from + 1;
  while (end < places.length) {
    const place = places[end];
    if (entries.offset(place) + entries.lengthBytes(place) - start > copyBytes) break;
    end++;
  }
  return end;
}
