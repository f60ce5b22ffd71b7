import {
  type ByteRange,
  type CallOptions,
  checkObjectKey,
  type ListOptions,
  newObjectStatistics,
  ObjectFault,
  type ObjectInfo,
  type ObjectState,
  type ObjectStore,
  type PutOptions,
  type StoredObject,
} from "./object-store.ts";
import { rangeOf } from "./byte-range.ts";

interface MemoryObject {
  readonly data: Uint8Array;
  readonly etag: string;
  readonly writeId: string | undefined;
}

/** What the stores that are opened on it share, and what outlives them: the bucket itself. */
export class MemoryBucket {
  readonly objects = new Map<string, MemoryObject>();
  #versions = 0;

  /** No two versions have the same etag, whatever they hold. */
  write(key: string, data: Uint8Array, writeId: string | undefined): string {
    const etag = `memory-${++this.#versions}`;
    // A copy, also of a Buffer, whose slices are none.
    this.objects.set(key, { data: new Uint8Array(data), etag, writeId });
    return etag;
  }

  /** Keys in order. */
  keys(): string[] {
    return [...this.objects.keys()].toSorted();
  }
}

/** An ObjectStore without a service, for tests and as the plainest form of the contract. */
export class MemoryObjectStore implements ObjectStore {
  readonly description = "memory object store";
  readonly statistics = newObjectStatistics();
  readonly #bucket: MemoryBucket;
  #isClosed = false;

  constructor(bucket = new MemoryBucket()) {
    this.#bucket = bucket;
  }

  async get(key: string, range?: ByteRange, options?: CallOptions): Promise<StoredObject> {
    await this.#request(key, options);
    this.statistics.gets++;
    const { data, etag } = this.#find(key);
    const { begin, end } = rangeOf(range, data.length, key);
    this.statistics.bytesRead += end - begin;
    return { data: data.slice(begin, end), etag, sizeBytes: data.length };
  }

  async stat(key: string, options?: CallOptions): Promise<ObjectState> {
    await this.#request(key, options);
    this.statistics.gets++;
    const { data, etag, writeId } = this.#find(key);
    return { key, sizeBytes: data.length, etag, writeId };
  }

  #find(key: string): MemoryObject {
    const object = this.#bucket.objects.get(key);
    if (object === undefined) throw new ObjectFault("missing", `there is no object ${key}`);
    return object;
  }

  async putIfAbsent(key: string, data: Uint8Array, options?: PutOptions): Promise<string> {
    await this.#request(key, options);
    this.statistics.puts++;
    if (this.#bucket.objects.has(key)) {
      throw new ObjectFault("exists", `there is an object ${key} already`);
    }
    return this.#write(key, data, options);
  }

  async putIfMatch(
    key: string,
    data: Uint8Array,
    etag: string,
    options?: PutOptions,
  ): Promise<string> {
    await this.#request(key, options);
    this.statistics.puts++;
    if (this.#bucket.objects.get(key)?.etag !== etag) {
      throw new ObjectFault("changed", `object ${key} is not the version ${etag}`);
    }
    return this.#write(key, data, options);
  }

  #write(key: string, data: Uint8Array, options: PutOptions | undefined): string {
    this.statistics.bytesWritten += data.length;
    return this.#bucket.write(key, data, options?.writeId);
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    const after = options?.after ?? "";
    await this.#request(undefined, options);
    this.statistics.lists++;
    for (const key of this.#bucket.keys()) {
      if (!key.startsWith(prefix) || key <= after) continue;
      options?.signal?.throwIfAborted();
      const object = this.#bucket.objects.get(key);
      if (object !== undefined) yield { key, sizeBytes: object.data.length, etag: object.etag };
    }
  }

  async delete(key: string, options?: CallOptions): Promise<void> {
    await this.#request(key, options);
    this.statistics.deletes++;
    this.#bucket.objects.delete(key);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  /** As a service does, it takes effect later than the call, never within it. */
  async #request(key: string | undefined, options: CallOptions | undefined): Promise<void> {
    if (key !== undefined) checkObjectKey(key);
    options?.signal?.throwIfAborted();
    await Promise.resolve();
    options?.signal?.throwIfAborted();
    if (this.#isClosed) throw new ObjectFault("unavailable", "the memory object store is closed");
  }
}
