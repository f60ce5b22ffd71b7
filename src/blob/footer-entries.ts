import { crc32 } from "node:zlib";
import { HASH_BYTES } from "./hash.ts";
import { Pacer } from "./pacer.ts";
import type { Segment } from "./segment-space.ts";
import {
  BLOB_ENTRY_BYTES,
  encodeFooterTrailer,
  entryOffset,
  footerBytes,
  putUint32,
  SECTOR_BYTES,
} from "./segment-format.ts";

/** The blobs of the active segment, collected for its footer. */
export class FooterEntries {
  #bytes = new Uint8Array(64 * BLOB_ENTRY_BYTES);
  count = 0;

  /** @param entries the blob entries of a frame, with offsets that count from the frame */
  addFrame(entries: Uint8Array, frameStart: number): void {
    const added = entries.length / BLOB_ENTRY_BYTES;
    const needed = (this.count + added) * BLOB_ENTRY_BYTES;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(entries, this.count * BLOB_ENTRY_BYTES);
    for (let entry = this.count; entry < this.count + added; entry++) {
      const at = entry * BLOB_ENTRY_BYTES;
      putUint32(this.#bytes, at + HASH_BYTES, entryOffset(this.#bytes, at) + frameStart);
    }
    this.count += added;
  }

  /** Writes the sorted entries and then, when they are durable, the trailer that makes them valid. */
  async writeFooter(
    segment: Segment,
    segmentBytes: number,
    lastSequence: number,
    lastChecksum: number,
  ): Promise<void> {
    const entries = await this.#sorted();
    const entriesOffset = segmentBytes - footerBytes(this.count);
    if (entries.length > 0) await segment.file.write(entries, entriesOffset);
    const trailer = encodeFooterTrailer({
      segmentNumber: segment.number,
      entryCount: this.count,
      entriesOffset,
      entriesChecksum: crc32(entries),
      framesEnd: segment.framesEnd,
      lastSequence,
      lastChecksum,
    });
    await segment.file.writeDurably(trailer, segmentBytes - SECTOR_BYTES);
  }

  /**
   * By hash: entries go to 65536 buckets by their first two bytes, and are sorted in each. A
   * segment full of small blobs has half a million of them, which takes several turns.
   */
  async #sorted(): Promise<Uint8Array> {
    const pacer = new Pacer();
    const starts = new Uint32Array(65537);
    const bucketOf = (at: number): number => (this.#bytes[at] << 8) | this.#bytes[at + 1];
    for (let entry = 0; entry < this.count; entry++) {
      starts[bucketOf(entry * BLOB_ENTRY_BYTES) + 1]++;
    }
    for (let bucket = 0; bucket < 65536; bucket++) starts[bucket + 1] += starts[bucket];
    const order = new Uint32Array(this.count);
    const next = starts.slice();
    for (let entry = 0; entry < this.count; entry++) {
      order[next[bucketOf(entry * BLOB_ENTRY_BYTES)]++] = entry;
    }
    const byHash = (left: number, right: number): number => this.#compare(left, right);
    for (let bucket = 0; bucket < 65536; bucket++) {
      const [start, end] = [starts[bucket], starts[bucket + 1]];
      if (end - start > 1) order.subarray(start, end).sort(byHash);
      if (bucket % 256 === 0) await pacer.pace();
    }
    const result = new Uint8Array(this.count * BLOB_ENTRY_BYTES);
    for (let place = 0; place < this.count; place++) {
      const at = order[place] * BLOB_ENTRY_BYTES;
      result.set(this.#bytes.subarray(at, at + BLOB_ENTRY_BYTES), place * BLOB_ENTRY_BYTES);
    }
    return result;
  }

  #compare(left: number, right: number): number {
    const leftAt = left * BLOB_ENTRY_BYTES;
    const rightAt = right * BLOB_ENTRY_BYTES;
    for (let byte = 0; byte < HASH_BYTES; byte++) {
      const difference = this.#bytes[leftAt + byte] - this.#bytes[rightAt + byte];
      if (difference !== 0) return difference;
    }
    return left - right;
  }
}
