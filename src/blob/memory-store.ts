import {
  AwaitedBatch,
  type BlobBatch,
  type BlobFetch,
  type BlobStore,
  type DamagedBlob,
  FetchOutcome,
  MARK_KEPT,
  MAX_BATCH_BYTES,
  type NoteReader,
  type ScrubProgress,
  StoreFault,
  type StoreStatistics,
  type SweepOptions,
  type SweepReport,
} from "./blob-store.ts";
import { HASH_BYTES, hashesEqual, hashKey, hashOf, hashToHex } from "./hash.ts";

interface StoredBlob {
  readonly data: Uint8Array;
  mark: number;
}

/** What a MemoryStore keeps; opening another store on it is what a restart is to a disk. */
export class MemoryMedium {
  readonly blobs = new Map<string, StoredBlob>();
  image: Uint8Array | undefined;
  notes: Uint8Array[] = [];
}

/** A BlobStore without a disk, for tests and as the plainest form of the contract. */
export class MemoryStore implements BlobStore {
  readonly description = "memory store";
  readonly maxBatchBytes = MAX_BATCH_BYTES;
  readonly statistics: StoreStatistics = {
    blobs: 0,
    blobBytes: 0,
    diskBytes: 0,
    indexBytes: 0,
    frames: 0,
    syncs: 0,
    duplicateBlobs: 0,
    appendedBytes: 0,
    fetches: 0,
    diskReads: 0,
    damagedBlobs: 0,
    tailBytes: 0,
    unsyncedBytes: 0,
  };
  readonly #medium: MemoryMedium;
  #appends: Promise<void> = Promise.resolve();
  #fetches: BlobFetch[] = [];
  #protectPuts = false;
  #isClosed = false;

  private constructor(medium: MemoryMedium) {
    this.#medium = medium;
    for (const { data } of medium.blobs.values()) this.#count(data.length, 1);
  }

  static async open(reader: NoteReader, medium = new MemoryMedium()): Promise<MemoryStore> {
    if (medium.image !== undefined) reader.image(medium.image);
    for (const note of medium.notes) reader.note(note);
    return new MemoryStore(medium);
  }

  #count(bytes: number, blobs: number): void {
    this.statistics.blobs += blobs;
    this.statistics.blobBytes += bytes;
    this.statistics.diskBytes += bytes;
  }

  get tailBytes(): number {
    return this.statistics.tailBytes;
  }

  append(batch: BlobBatch): void {
    this.#appends = this.#appends.then(() => {
      if (this.#isClosed) {
        batch.failed(new StoreFault("unavailable", "the memory store is closed"));
        return;
      }
      if (batch.cancelled !== undefined) {
        batch.failed(batch.cancelled);
        return;
      }
      this.#store(batch);
      batch.appended();
    });
  }

  #store(batch: BlobBatch): void {
    for (let blob = 0; blob < batch.blobCount; blob++) {
      const key = hashKey(batch.hashes, blob * HASH_BYTES);
      const known = this.#medium.blobs.get(key);
      if (known !== undefined) {
        this.statistics.duplicateBlobs++;
        if (this.#protectPuts) known.mark = Math.max(known.mark, MARK_KEPT);
        continue;
      }
      const offset = batch.offsets[blob];
      const data = batch.sources[blob].slice(offset, offset + batch.lengths[blob]);
      this.#medium.blobs.set(key, { data, mark: this.#protectPuts ? MARK_KEPT : 0 });
      this.#count(data.length, 1);
      this.statistics.appendedBytes += data.length;
      this.statistics.tailBytes += data.length;
    }
    for (const note of batch.notes) this.#medium.notes.push(note.slice());
    this.statistics.frames++;
  }

  async put(hash: Uint8Array, data: Uint8Array): Promise<void> {
    const batch = new AwaitedBatch();
    batch.addBlob(hash, 0, data, 0, data.length);
    await batch.appendTo(this);
  }

  barrier(): Promise<void> {
    return new AwaitedBatch(0).appendTo(this);
  }

  fetch(request: BlobFetch): void {
    this.#fetches.push(request);
  }

  submit(): void {
    const fetches = this.#fetches;
    if (fetches.length === 0) return;
    this.#fetches = [];
    queueMicrotask(() => {
      for (const fetch of fetches) this.#answer(fetch);
      this.submit();
    });
  }

  #answer(fetch: BlobFetch): void {
    this.statistics.fetches++;
    const data = this.#medium.blobs.get(hashKey(fetch.hash))?.data;
    fetch.outcome = FetchOutcome.ok;
    if (data === undefined) {
      fetch.outcome = FetchOutcome.missing;
    } else if (data.length > fetch.capacityBytes || !hashesEqual(hashOf(data), 0, fetch.hash, 0)) {
      fetch.outcome = FetchOutcome.damaged;
      this.statistics.damagedBlobs++;
    } else {
      fetch.target.set(data, fetch.targetOffset);
      fetch.lengthBytes = data.length;
    }
    fetch.fetched();
  }

  async get(hash: Uint8Array): Promise<Uint8Array> {
    const data = this.#medium.blobs.get(hashKey(hash))?.data;
    if (data === undefined) {
      throw new StoreFault("missing", `blob ${hashToHex(hash)} is not stored`);
    }
    if (!hashesEqual(hashOf(data), 0, hash, 0)) {
      throw new StoreFault("damaged", `blob ${hashToHex(hash)} cannot be read`);
    }
    return data.slice();
  }

  async exists(hash: Uint8Array): Promise<boolean> {
    return this.#medium.blobs.has(hashKey(hash));
  }

  checkpoint(image: () => Uint8Array): Promise<void> {
    const done = this.#appends.then(() => {
      if (this.#isClosed) throw new StoreFault("unavailable", "the memory store is closed");
      this.#medium.image = image().slice();
      this.#medium.notes = [];
      this.statistics.tailBytes = 0;
    });
    this.#appends = done.catch(() => undefined);
    return done;
  }

  beginMarking(protectPuts: boolean): void {
    this.#protectPuts = protectPuts;
    for (const blob of this.#medium.blobs.values()) blob.mark = 0;
  }

  exchangeMark(hashes: Uint8Array, offset: number, mark: number): number {
    const blob = this.#medium.blobs.get(hashKey(hashes, offset));
    if (blob === undefined) return -1;
    const before = blob.mark;
    blob.mark = mark;
    return before;
  }

  storedBytes(hashes: Uint8Array, offset: number): number {
    return this.#medium.blobs.get(hashKey(hashes, offset))?.data.length ?? -1;
  }

  async sweep({ pace }: SweepOptions): Promise<SweepReport> {
    const report = { segmentsFreed: 0, bytesFreed: 0, blobsCopied: 0, bytesCopied: 0 };
    await pace();
    for (const [key, { data, mark }] of this.#medium.blobs) {
      if (mark > 0) continue;
      this.#medium.blobs.delete(key);
      this.#count(-data.length, -1);
      report.bytesFreed += data.length;
    }
    return report;
  }

  endMarking(): void {
    this.#protectPuts = false;
  }

  async scrub(
    _cursor: number,
    found: (blob: DamagedBlob) => void,
    progress: ScrubProgress,
  ): Promise<number> {
    for (const [key, { data }] of this.#medium.blobs) {
      const hash = new Uint8Array(Buffer.from(key, "latin1"));
      progress.blobs++;
      progress.bytes += data.length;
      if (hashesEqual(hashOf(data), 0, hash, 0)) continue;
      found({ hash, lengthBytes: data.length, place: "memory" });
    }
    progress.remainingBytes = 0;
    return 0;
  }

  async close(): Promise<void> {
    await this.#appends;
    this.#isClosed = true;
  }
}
