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

const ENTRY_WORDS = BLOB_ENTRY_BYTES / 4;
const PREFIXES = 65536;
/** Sorted before others may go first. */
const ENTRIES_AT_ONCE = 4096;

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
   * By hash: in the order of its first 16 bits, and then the few that share these exchanged. A
   * segment full of small blobs has half a million of them, which takes several turns.
   */
  async #sorted(): Promise<Uint8Array> {
    const pacer = new Pacer();
    const order = this.#byPrefix();
    const source = new Uint32Array(this.#bytes.buffer);
    const target = new Uint32Array(this.count * ENTRY_WORDS);
    for (let start = 0; start < this.count; start += ENTRIES_AT_ONCE) {
      await pacer.pace();
      // An exchange may reach back into what was put in its place before.
      const end = Math.min(start + ENTRIES_AT_ONCE, this.count);
      const first = this.#exchange(order, start, end);
      for (let place = first; place < end; place++) {
        const from = order[place] * ENTRY_WORDS;
        const to = place * ENTRY_WORDS;
        for (let word = 0; word < ENTRY_WORDS; word++) target[to + word] = source[from + word];
      }
    }
    return new Uint8Array(target.buffer);
  }

  /** Puts the places from `start` to `end` in order; the first place that it changed, or `start`. */
  #exchange(order: Uint32Array, start: number, end: number): number {
    let first = start;
    for (let place = Math.max(1, start); place < end; place++) {
      const entry = order[place];
      let at = place;
      for (; at > 0 && this.#compare(order[at - 1], entry) > 0; at--) order[at] = order[at - 1];
      order[at] = entry;
      first = Math.min(first, at);
    }
    return first;
  }

  #byPrefix(): Uint32Array {
    const starts = new Uint32Array(PREFIXES + 1);
    for (let entry = 0; entry < this.count; entry++) starts[this.#prefix(entry) + 1]++;
    for (let prefix = 0; prefix < PREFIXES; prefix++) starts[prefix + 1] += starts[prefix];
    const order = new Uint32Array(this.count);
    for (let entry = 0; entry < this.count; entry++) order[starts[this.#prefix(entry)]++] = entry;
    return order;
  }

  #prefix(entry: number): number {
    const at = entry * BLOB_ENTRY_BYTES;
    return (this.#bytes[at] << 8) | this.#bytes[at + 1];
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
