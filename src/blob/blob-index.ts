import { PAYLOAD_ALIGNMENT_BYTES } from "./segment-format.ts";

/**
 * Where each blob is: 64 bits of its name → segment slot, offset and length, in 16 bytes a slot.
 *
 * ```
 *   word 0   bits 0..31 of the name; its top 12 choose the shard
 *   word 1   bits 32..63; they choose the place within the shard
 *   word 2   segment slot (22 bits) | length, upper 10 bits
 *   word 3   offset / 64 (20 bits)  | length, lower 12 bits        0: an empty slot
 * ```
 *
 * 64 bits are a hint, not a name: whoever finds a blob here compares the whole hash with what is
 * stored. Several blobs may share their 64 bits; `find` and `findNext` go through all of them.
 *
 * The table is 4096 shards that grow by a quarter, each at another moment (the capacities of two
 * shards never follow the same steps), so that no growth moves more than a 4096th of the entries
 * and the table as a whole is always about 72 % full: 22 bytes a blob.
 */
const SHARD_BITS = 12;
const SHARDS = 1 << SHARD_BITS;
const WORDS = 4;
const GROWTH = 1.25;
const MAX_LOAD = 0.8;
const SMALLEST_CAPACITY = 8;

export const MAX_SEGMENT_SLOTS = 1 << 22;

class Shard {
  words: Uint32Array;
  capacity: number;
  count = 0;
  steps = 0;
  marks: Uint16Array | undefined;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.words = new Uint32Array(capacity * WORDS);
  }
}

export class BlobIndex {
  /** Of the entry found last. */
  segmentSlot = 0;
  offset = 0;
  lengthBytes = 0;
  count = 0;
  totalBytes = 0;
  memoryBytes = 0;
  readonly #shards: (Shard | undefined)[] = Array.from({ length: SHARDS });
  #marking = false;
  #shard: Shard | undefined;
  #at = 0;
  #tag0 = 0;
  #tag1 = 0;

  get shardCount(): number {
    return SHARDS;
  }

  find(hashes: Uint8Array, hashOffset: number): boolean {
    this.#tag0 = tagAt(hashes, hashOffset);
    this.#tag1 = tagAt(hashes, hashOffset + 4);
    this.#shard = this.#shards[this.#tag0 >>> (32 - SHARD_BITS)];
    if (this.#shard === undefined) return false;
    this.#at = homeOf(this.#tag1, this.#shard.capacity);
    return this.#scan();
  }

  /** The next entry with the same 64 bits, after `find` or `findNext` answered true. */
  findNext(): boolean {
    const shard = this.#shard;
    if (shard === undefined) return false;
    this.#at = this.#at + 1 === shard.capacity ? 0 : this.#at + 1;
    return this.#scan();
  }

  /** The entry at exactly this place. */
  findAt(hashes: Uint8Array, hashOffset: number, segmentSlot: number, offset: number): boolean {
    let found = this.find(hashes, hashOffset);
    while (found && (this.segmentSlot !== segmentSlot || this.offset !== offset)) {
      found = this.findNext();
    }
    return found;
  }

  #scan(): boolean {
    const shard = this.#shard as Shard;
    const { words, capacity } = shard;
    for (;;) {
      const word = this.#at * WORDS;
      if (words[word + 3] === 0) return false;
      if (words[word] === this.#tag0 && words[word + 1] === this.#tag1) {
        this.#read(words, word);
        return true;
      }
      this.#at = this.#at + 1 === capacity ? 0 : this.#at + 1;
    }
  }

  #read(words: Uint32Array, word: number): void {
    const word2 = words[word + 2];
    const word3 = words[word + 3];
    this.segmentSlot = word2 >>> 10;
    this.offset = (word3 >>> 12) * PAYLOAD_ALIGNMENT_BYTES;
    this.lengthBytes = ((word2 & 0x3ff) << 12) | (word3 & 0xfff);
  }

  /** Adds an entry beside those that are there; the caller has looked. */
  insert(
    hashes: Uint8Array,
    hashOffset: number,
    segmentSlot: number,
    offset: number,
    lengthBytes: number,
    mark = 0,
  ): void {
    const tag0 = tagAt(hashes, hashOffset);
    const number = tag0 >>> (32 - SHARD_BITS);
    let shard = this.#shards[number];
    if (shard === undefined) {
      shard = new Shard(capacityAt(number, 0));
      this.#shards[number] = shard;
      this.memoryBytes += shard.words.byteLength;
    }
    if (shard.count + 1 > shard.capacity * MAX_LOAD) this.#grow(shard, number);
    const word2 = ((segmentSlot << 10) | (lengthBytes >>> 12)) >>> 0;
    const word3 = (((offset / PAYLOAD_ALIGNMENT_BYTES) << 12) | (lengthBytes & 0xfff)) >>> 0;
    this.#marksOf(shard);
    place(shard, tag0, tagAt(hashes, hashOffset + 4), word2, word3, mark);
    shard.count++;
    this.count++;
    this.totalBytes += lengthBytes;
  }

  #grow(shard: Shard, number: number): void {
    const { words, capacity, marks } = shard;
    do {
      shard.capacity = capacityAt(number, ++shard.steps);
    } while (shard.count + 1 > shard.capacity * MAX_LOAD);
    shard.words = new Uint32Array(shard.capacity * WORDS);
    shard.marks = marks === undefined ? undefined : new Uint16Array(shard.capacity);
    this.memoryBytes += (shard.capacity - capacity) * (WORDS * 4 + (marks === undefined ? 0 : 2));
    for (let slot = 0; slot < capacity; slot++) {
      const word = slot * WORDS;
      if (words[word + 3] === 0) continue;
      const mark = marks?.[slot] ?? 0;
      place(shard, words[word], words[word + 1], words[word + 2], words[word + 3], mark);
    }
  }

  /** Removes the entry found last; entries behind it move up. */
  removeFound(): void {
    const shard = this.#shard as Shard;
    const { words, capacity, marks } = shard;
    this.count--;
    shard.count--;
    this.totalBytes -= this.lengthBytes;
    let hole = this.#at;
    let next = hole;
    for (;;) {
      next = next + 1 === capacity ? 0 : next + 1;
      if (words[next * WORDS + 3] === 0) break;
      const home = homeOf(words[next * WORDS + 1], capacity);
      const staysBehindHole =
        hole <= next ? hole < home && home <= next : hole < home || home <= next;
      if (staysBehindHole) continue;
      words.copyWithin(hole * WORDS, next * WORDS, next * WORDS + WORDS);
      if (marks !== undefined) marks[hole] = marks[next];
      hole = next;
    }
    words.fill(0, hole * WORDS, hole * WORDS + WORDS);
    if (marks !== undefined) marks[hole] = 0;
  }

  /** Gives the entry found last another place; its mark stays. */
  moveFound(segmentSlot: number, offset: number): void {
    const words = (this.#shard as Shard).words;
    const word = this.#at * WORDS;
    words[word + 2] = ((segmentSlot << 10) | (this.lengthBytes >>> 12)) >>> 0;
    words[word + 3] =
      (((offset / PAYLOAD_ALIGNMENT_BYTES) << 12) | (this.lengthBytes & 0xfff)) >>> 0;
  }

  beginMarks(): void {
    this.#marking = true;
  }

  endMarks(): void {
    this.#marking = false;
    for (const shard of this.#shards) {
      if (shard?.marks === undefined) continue;
      this.memoryBytes -= shard.marks.byteLength;
      shard.marks = undefined;
    }
  }

  /** The mark of the entry found last. */
  get markFound(): number {
    return this.#shard?.marks?.[this.#at] ?? 0;
  }

  set markFound(mark: number) {
    const marks = this.#marksOf(this.#shard as Shard);
    if (marks !== undefined) marks[this.#at] = mark;
  }

  #marksOf(shard: Shard): Uint16Array | undefined {
    if (shard.marks === undefined && this.#marking) {
      shard.marks = new Uint16Array(shard.capacity);
      this.memoryBytes += shard.marks.byteLength;
    }
    return shard.marks;
  }

  /** Calls back for each entry of a shard; a shard is small enough for one turn of the loop. */
  forEachOfShard(
    number: number,
    visit: (segmentSlot: number, lengthBytes: number, mark: number) => void,
  ): void {
    const shard = this.#shards[number];
    if (shard === undefined) return;
    const { words, marks } = shard;
    for (let slot = 0; slot < shard.capacity; slot++) {
      const word = slot * WORDS;
      if (words[word + 3] === 0) continue;
      const lengthBytes = ((words[word + 2] & 0x3ff) << 12) | (words[word + 3] & 0xfff);
      visit(words[word + 2] >>> 10, lengthBytes, marks?.[slot] ?? 0);
    }
  }
}

function capacityAt(shard: number, steps: number): number {
  return Math.ceil(SMALLEST_CAPACITY * GROWTH ** (steps + shard / SHARDS));
}

function homeOf(tag1: number, capacity: number): number {
  return Math.floor((tag1 * capacity) / 4294967296);
}

function tagAt(hashes: Uint8Array, offset: number): number {
  return (
    ((hashes[offset] << 24) |
      (hashes[offset + 1] << 16) |
      (hashes[offset + 2] << 8) |
      hashes[offset + 3]) >>>
    0
  );
}

function place(
  shard: Shard,
  tag0: number,
  tag1: number,
  word2: number,
  word3: number,
  mark: number,
): void {
  const { words, capacity } = shard;
  let slot = homeOf(tag1, capacity);
  while (words[slot * WORDS + 3] !== 0) slot = slot + 1 === capacity ? 0 : slot + 1;
  const word = slot * WORDS;
  words[word] = tag0;
  words[word + 1] = tag1;
  words[word + 2] = word2;
  words[word + 3] = word3;
  if (shard.marks !== undefined) shard.marks[slot] = mark;
}
