import type { LogDisk, LogFile } from "../blob/log-disk.ts";
import { systemErrorCode } from "../errors.ts";
import { decodeDocument, encodeDocument } from "./document.ts";

/** The unit in which packs are fetched and cached. */
export const CHUNK_BYTES = 128 * 1024;

const FILE_NAME = "pack-cache";
const MAP_NAME = "pack-cache-map";

/** However small the budget: what is being read has a place. */
const LEAST_CHUNKS = 2;

interface CacheMap {
  readonly storeId: string;
  /** The key of the chunk in each place of the file; "": none. */
  readonly keys: readonly string[];
}

/**
 * Chunks of packs in one local file, the least recently used replaced first. It is a cache and no
 * more: nothing is synced, and whoever reads blobs out of it compares them with their names. What is
 * in it survives a stop in good order; after a crash it begins empty.
 */
export class ChunkCache {
  readonly #file: LogFile;
  readonly #disk: LogDisk;
  /** Of whose packs the chunks are; a map of another store is of no use. */
  storeId: string;
  /** Chunk → place in the file, the least recently used first. */
  readonly #places = new Map<string, number>();
  /** Chunks that are being read, by place: such a place is not given away. */
  readonly #readers = new Map<number, number>();
  readonly #free: number[] = [];
  #used = 0;
  #capacity: number;
  hits = 0;

  private constructor(disk: LogDisk, file: LogFile, storeId: string, capacity: number) {
    this.#disk = disk;
    this.#file = file;
    this.storeId = storeId;
    this.#capacity = capacity;
  }

  static async open(disk: LogDisk, storeId: string, budgetBytes: number): Promise<ChunkCache> {
    const names = await disk.list();
    const file = await (names.includes(FILE_NAME) ? disk.open(FILE_NAME) : disk.create(FILE_NAME));
    const capacity = Math.max(LEAST_CHUNKS, Math.floor(budgetBytes / CHUNK_BYTES));
    const cache = new ChunkCache(disk, file, storeId, capacity);
    if (names.includes(MAP_NAME)) await cache.#loadMap();
    return cache;
  }

  /** The map holds for one start: what is written after that may be lost in a crash. */
  async #loadMap(): Promise<void> {
    const file = await this.#disk.open(MAP_NAME);
    const bytes = new Uint8Array(file.sizeBytes);
    await file.read(bytes, 0);
    await file.close();
    await this.#disk.remove(MAP_NAME);
    const map = decodeDocument("cache map", bytes) as CacheMap | "newer" | undefined;
    if (map === undefined || map === "newer" || map.storeId !== this.storeId) return;
    map.keys.slice(0, this.#capacity).forEach((key, place) => {
      if (key === "") this.#free.push(place);
      else this.#places.set(key, place);
    });
    this.#used = Math.min(map.keys.length, this.#capacity);
  }

  get usedBytes(): number {
    return this.#places.size * CHUNK_BYTES;
  }

  has(key: string): boolean {
    return this.#places.has(key);
  }

  /** Fills `target` from `offset` of a chunk; false when the chunk is not there. */
  async read(key: string, offset: number, target: Uint8Array): Promise<boolean> {
    const place = this.#places.get(key);
    if (place === undefined) return false;
    this.#places.delete(key);
    this.#places.set(key, place);
    this.#readers.set(place, (this.#readers.get(place) ?? 0) + 1);
    try {
      const count = await this.#file.read(target, place * CHUNK_BYTES + offset);
      this.hits++;
      return count === target.length;
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
      return false;
    } finally {
      const readers = (this.#readers.get(place) ?? 1) - 1;
      if (readers === 0) this.#readers.delete(place);
      else this.#readers.set(place, readers);
    }
  }

  /** Keeps a chunk, in place of the one that was not used for the longest time. */
  async put(key: string, data: Uint8Array): Promise<void> {
    if (this.#places.has(key)) return;
    const place = this.#takePlace();
    if (place === undefined) return;
    try {
      await this.#file.write(data, place * CHUNK_BYTES);
      this.#places.set(key, place);
    } catch (error) {
      this.#free.push(place);
      // A full disk: the cache stays as large as it is.
      if (systemErrorCode(error) === undefined) throw error;
      this.#capacity = Math.max(1, this.#places.size);
    }
  }

  #takePlace(): number | undefined {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#used < this.#capacity) return this.#used++;
    for (const [key, place] of this.#places) {
      if (this.#readers.has(place)) continue;
      this.#places.delete(key);
      return place;
    }
    return undefined;
  }

  /** What is stored for this chunk is wrong. */
  drop(key: string): boolean {
    const place = this.#places.get(key);
    if (place === undefined) return false;
    this.#places.delete(key);
    // A read of it may be under way; the place is lost until the next start.
    if (!this.#readers.has(place)) this.#free.push(place);
    return true;
  }

  async close(): Promise<void> {
    const keys = Array.from({ length: this.#used }, () => "");
    for (const [key, place] of this.#places) keys[place] = key;
    try {
      await this.#file.sync();
      const map = await this.#disk.create(MAP_NAME);
      const content: CacheMap = { storeId: this.storeId, keys };
      await map.write(encodeDocument("cache map", content), 0);
      await map.close();
    } catch (error) {
      // Without a map the cache begins empty.
      if (systemErrorCode(error) === undefined) throw error;
    }
    await this.#file.close();
  }
}
