import { ObjectFault, type ObjectStore } from "../object/object-store.ts";
import { CHUNK_BYTES, type ChunkCache } from "./chunk-cache.ts";
import type { Clock } from "./clock.ts";
import { PACK_BODY_OFFSET } from "./pack-format.ts";
import { packKey } from "./pack-names.ts";
import { persistently } from "./persistence.ts";
import type { PackPart } from "./remote-segment.ts";

/** Chunks of one request to the object store, at most. */
const CHUNKS_A_GET = 16;
/** Reading ahead: from two reads in a row on, twice as far each time, up to this. */
const FARTHEST_AHEAD_CHUNKS = 96;
const MOST_GETS_AHEAD = 12;
/** Packs whose readers are remembered. */
const MOST_STREAKS = 64;

export interface PackReaderOptions {
  readonly objects: ObjectStore;
  readonly cache: ChunkCache;
  readonly clock: Clock;
  /** For how long a read waits for a store that is away: below the patience of initiators. */
  readonly patienceMs: number;
  readonly signal: AbortSignal;
}

/** How somebody goes through a pack. */
interface Streak {
  next: number;
  length: number;
  /** Chunks before this one were asked for. */
  ahead: number;
}

/**
 * Reads parts of packs, in chunks that a local cache keeps. Chunks next to each other come with
 * one request; several readers of a chunk share one; who reads on finds the next chunks there.
 *
 * It compares nothing: blobs are compared with their names by whoever reads them, and `forget` makes
 * the next read ask the store again.
 */
export class PackReader {
  readonly #options: PackReaderOptions;
  /** Chunks on their way, and until they are in the cache. */
  readonly #flights = new Map<string, Promise<Uint8Array>>();
  readonly #streaks = new Map<string, Streak>();
  readonly #writes = new Set<Promise<void>>();
  #getsAhead = 0;

  constructor(options: PackReaderOptions) {
    this.#options = options;
  }

  /** Fills `target` from an offset in the part. @throws ObjectFault */
  async read(part: PackPart, offset: number, target: Uint8Array): Promise<void> {
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + target.length - 1) / CHUNK_BYTES);
    this.#fetchMissing(part, first, last);
    this.#readAhead(part, first, last);
    const pieces: Promise<void>[] = [];
    for (let chunk = first; chunk <= last; chunk++) {
      const begin = Math.max(offset, chunk * CHUNK_BYTES);
      const end = Math.min(offset + target.length, (chunk + 1) * CHUNK_BYTES);
      const piece = target.subarray(begin - offset, end - offset);
      pieces.push(this.#readChunk(part, chunk, begin - chunk * CHUNK_BYTES, piece));
    }
    await Promise.all(pieces);
  }

  /** The next read of this range comes from the object store itself. */
  forget(part: PackPart, offset: number, lengthBytes: number): void {
    const last = Math.floor((offset + lengthBytes - 1) / CHUNK_BYTES);
    for (let chunk = Math.floor(offset / CHUNK_BYTES); chunk <= last; chunk++) {
      const key = chunkKey(part, chunk);
      this.#options.cache.drop(key);
      this.#flights.delete(key);
    }
  }

  /** A range of the object itself, past the cache. @throws ObjectFault */
  async fetch(part: PackPart, objectOffset: number, lengthBytes: number): Promise<Uint8Array> {
    const { objects, clock, signal, patienceMs } = this.#options;
    const range = { offsetBytes: objectOffset, lengthBytes };
    const deadlineMs = clock.nowMs() + patienceMs;
    const { data } = await persistently({ clock, signal, deadlineMs }, async () =>
      objects.get(packKey(part), range, { signal }),
    );
    if (data.length === lengthBytes) return data;
    throw new ObjectFault("corrupt", `${packKey(part)} is shorter than it should be`);
  }

  async #readChunk(
    part: PackPart,
    chunk: number,
    offset: number,
    target: Uint8Array,
  ): Promise<void> {
    const key = chunkKey(part, chunk);
    const flight = this.#flights.get(key);
    if (flight === undefined) {
      if (await this.#options.cache.read(key, offset, target)) return;
      // It was replaced, or cannot be read: the store has it.
      this.#options.cache.drop(key);
      this.#fetchMissing(part, chunk, chunk);
    }
    const data = await (flight ?? this.#flights.get(key));
    if (data === undefined) throw new Error(`nobody fetches ${key}`);
    target.set(data.subarray(offset, offset + target.length));
  }

  /** Asks for the chunks that are neither cached nor on their way, neighbours together. */
  #fetchMissing(part: PackPart, first: number, last: number): number {
    let gets = 0;
    let start: number | undefined;
    for (let chunk = first; chunk <= last + 1; chunk++) {
      const key = chunkKey(part, chunk);
      const isThere = chunk > last || this.#flights.has(key) || this.#options.cache.has(key);
      if (!isThere) start ??= chunk;
      if (start === undefined) continue;
      if (isThere || chunk - start === CHUNKS_A_GET - 1) {
        this.#fetchRun(part, start, isThere ? chunk - 1 : chunk);
        start = undefined;
        gets++;
      }
    }
    return gets;
  }

  #fetchRun(part: PackPart, first: number, last: number): void {
    const begin = first * CHUNK_BYTES;
    const end = Math.min((last + 1) * CHUNK_BYTES, part.end - part.start);
    const run = this.fetch(part, PACK_BODY_OFFSET + begin, end - begin);
    for (let chunk = first; chunk <= last; chunk++) {
      const key = chunkKey(part, chunk);
      const at = (chunk - first) * CHUNK_BYTES;
      const flight = run.then((data) => data.subarray(at, at + CHUNK_BYTES));
      this.#flights.set(key, flight);
      const write = flight
        .then(
          (data) => this.#options.cache.put(key, data),
          () => undefined, // Whoever waits for it sees the fault.
        )
        .finally(() => {
          if (this.#flights.get(key) === flight) this.#flights.delete(key);
          this.#writes.delete(write);
        });
      this.#writes.add(write);
    }
  }

  #readAhead(part: PackPart, first: number, last: number): void {
    const streak = this.#streakOf(packKey(part), first, last);
    if (streak.length < 2) return;
    const chunks = Math.ceil((part.end - part.start) / CHUNK_BYTES);
    const far = Math.min(FARTHEST_AHEAD_CHUNKS, 2 ** Math.min(streak.length, 16));
    const end = Math.min(last + far, chunks - 1);
    const begin = Math.max(last + 1, streak.ahead);
    // In whole requests, unless the pack ends there.
    const isWorthIt = end - begin + 1 >= CHUNKS_A_GET || end === chunks - 1;
    if (begin > end || !isWorthIt || this.#getsAhead >= MOST_GETS_AHEAD) return;
    streak.ahead = end + 1;
    const gets = this.#fetchMissing(part, begin, end);
    this.#getsAhead += gets;
    const flights: Promise<Uint8Array>[] = [];
    for (let chunk = begin; chunk <= end; chunk++) {
      const flight = this.#flights.get(chunkKey(part, chunk));
      if (flight !== undefined) flights.push(flight);
    }
    void Promise.allSettled(flights).then(() => {
      this.#getsAhead -= gets;
    });
  }

  #streakOf(key: string, first: number, last: number): Streak {
    const streak = this.#streaks.get(key) ?? { next: -1, length: 0, ahead: 0 };
    this.#streaks.delete(key);
    this.#streaks.set(key, streak);
    if (this.#streaks.size > MOST_STREAKS) {
      const [oldest] = this.#streaks.keys();
      if (oldest !== undefined) this.#streaks.delete(oldest);
    }
    if (first === streak.next || first === streak.next - 1) {
      if (last >= streak.next) streak.length++;
    } else {
      streak.length = 0;
      streak.ahead = 0;
    }
    streak.next = last + 1;
    return streak;
  }

  /** Resolves when nothing is written to the cache any more. */
  async drain(): Promise<void> {
    await Promise.all(this.#writes);
  }
}

function chunkKey({ epoch, counter }: PackPart, chunk: number): string {
  return `${epoch}-${counter}/${chunk}`;
}
