import {
  type BlobBatch,
  type BlobFetch,
  type BlobStore,
  type DamagedBlob,
  FetchOutcome,
  type ScrubProgress,
  StoreFault,
  type StoreStatistics,
  type SweepOptions,
  type SweepReport,
} from "../blob/blob-store.ts";
import { AwaitedBatch } from "../blob/blob-store.ts";
import type { RemoteStatus } from "../remote-status.ts";
import type { FileStore } from "../blob/file-store.ts";
import type { ChunkCache } from "./chunk-cache.ts";
import type { PackReader } from "./pack-reader.ts";
import type { PackedDisk } from "./packed-disk.ts";
import type { RemoteSide } from "./remote-side.ts";

export interface PackedStoreParts {
  readonly description: string;
  readonly inner: FileStore;
  readonly disk: PackedDisk;
  readonly cache: ChunkCache;
  readonly reader: PackReader;
  /** Undefined: this process only reads. */
  readonly remote: RemoteSide | undefined;
  readonly maxDirtyBytes: number;
  /** Of segments and chunks of packs on the local disk, together. */
  readonly diskCacheBytes: number;
  /** Before the lease is given back: whether everything in the folder is in the object store. */
  readonly markClean: (isClean: boolean) => Promise<void>;
  /** Lets go of what was taken to open the store; after everything else. */
  readonly release: () => Promise<void>;
}

type Queued =
  | { readonly kind: "batch"; readonly batch: BlobBatch }
  | { readonly kind: "checkpoint"; readonly run: () => void };

/**
 * The BlobStore on an object store: a FileStore in front, whose log follows into packs. Appends are
 * as durable as those of the FileStore when they are acknowledged; `confirm` says when one may be,
 * for whoever must know that the store is still ours, or that another machine would find it.
 */
export class PackedStore implements BlobStore {
  readonly description: string;
  readonly #parts: PackedStoreParts;
  readonly #queue: Queued[] = [];
  #isWaiting = false;
  #isClosed = false;

  constructor(parts: PackedStoreParts) {
    this.description = parts.description;
    this.#parts = parts;
    const { remote } = parts;
    if (remote === undefined) return;
    remote.onHead = () => {
      this.#passQueued();
      this.#evict();
    };
    remote.onRefusal = () => this.#failQueued();
  }

  get fault(): StoreFault | undefined {
    return this.#parts.remote?.fault;
  }

  get isReadOnly(): boolean {
    return this.#parts.remote === undefined;
  }

  get appendFault(): StoreFault | undefined {
    return this.#parts.inner.appendFault;
  }

  get isOurs(): boolean {
    return this.#parts.remote?.isLeaseValid ?? true;
  }

  get remote(): RemoteStatus | undefined {
    return this.#parts.remote?.status;
  }

  get statistics(): StoreStatistics {
    return this.#parts.inner.statistics;
  }

  get tailBytes(): number {
    return this.#parts.inner.tailBytes;
  }

  get maxBatchBytes(): number {
    return this.#parts.inner.maxBatchBytes;
  }

  confirm(isRemote: boolean): Promise<void> | undefined {
    return this.#parts.remote?.confirm(isRemote);
  }

  append(batch: BlobBatch): void {
    const { remote, inner } = this.#parts;
    const fault = this.#refusal();
    if (fault !== undefined) {
      queueMicrotask(() => batch.failed(fault));
    } else if (this.#queue.length === 0 && remote?.maySend(this.#parts.maxDirtyBytes) === true) {
      inner.append(batch);
    } else if (remote?.refusal !== undefined) {
      const { refusal } = remote;
      queueMicrotask(() => batch.failed(refusal));
    } else {
      this.#queue.push({ kind: "batch", batch });
      this.#wait();
    }
  }

  #refusal(): StoreFault | undefined {
    if (this.#parts.remote === undefined) {
      return new StoreFault("unavailable", `${this.description} was opened for reading only`);
    }
    if (this.#isClosed) return new StoreFault("unavailable", `${this.description} is closed`);
    return this.fault;
  }

  /** Behind the appends that wait; what is appended later waits behind it. */
  checkpoint(image: () => Uint8Array): Promise<void> {
    if (this.#queue.length === 0) return this.#parts.inner.checkpoint(image);
    return new Promise((resolve, reject) => {
      this.#queue.push({
        kind: "checkpoint",
        run: () => void this.#parts.inner.checkpoint(image).then(resolve, reject),
      });
    });
  }

  /** Until the lease is certain, and there is room below the limit of what is not sent. */
  #wait(): void {
    const { remote } = this.#parts;
    if (this.#isWaiting || remote === undefined) return;
    this.#isWaiting = true;
    remote.whenLeaseHolds().then(
      () => {
        this.#isWaiting = false;
        this.#passQueued();
      },
      () => {
        this.#isWaiting = false;
        this.#failQueued();
      },
    );
  }

  #passQueued(): void {
    const { remote, inner, maxDirtyBytes } = this.#parts;
    while (this.#queue.length > 0) {
      if (remote === undefined || !remote.maySend(maxDirtyBytes)) {
        if (remote?.isLeaseValid === false) this.#wait();
        this.#press();
        return;
      }
      const queued = this.#queue.shift() as Queued;
      if (queued.kind === "batch") inner.append(queued.batch);
      else queued.run();
    }
  }

  /** Room is made by sending, and only what is durable here is sent. */
  #press(): void {
    const { inner, remote } = this.#parts;
    inner.barrier().then(
      () => remote?.hurry(),
      () => undefined, // Whoever appended it has been told.
    );
  }

  #failQueued(): void {
    const fault =
      this.#refusal() ??
      this.#parts.remote?.refusal ??
      new StoreFault("unavailable", `${this.description} failed`);
    for (const queued of this.#queue.splice(0)) {
      if (queued.kind === "batch") queued.batch.failed(fault);
      else queued.run();
    }
  }

  /** Segments that are in packs leave the local disk, the oldest first, when there are too many. */
  #evict(): void {
    const { disk, cache, diskCacheBytes } = this.#parts;
    let excess = disk.localBytes + cache.usedBytes - diskCacheBytes;
    if (excess <= 0) return;
    for (const file of disk.evictable()) {
      const bytes = file.localBytes;
      if (file.evict()) excess -= bytes;
      if (excess <= 0) return;
    }
  }

  async put(hash: Uint8Array, data: Uint8Array): Promise<void> {
    const batch = new AwaitedBatch();
    batch.addBlob(hash, 0, data, 0, data.length);
    await batch.appendTo(this);
  }

  get(hash: Uint8Array): Promise<Uint8Array> {
    return this.#parts.inner.get(hash);
  }

  exists(hash: Uint8Array): Promise<boolean> {
    return this.#parts.inner.exists(hash);
  }

  barrier(): Promise<void> {
    return this.#parts.inner.barrier();
  }

  fetch(request: BlobFetch): void {
    if (this.fault === undefined) return this.#parts.inner.fetch(request);
    request.outcome = FetchOutcome.damaged;
    return request.fetched();
  }

  submit(): void {
    this.#parts.inner.submit();
  }

  beginMarking(protectPuts: boolean): void {
    this.#parts.inner.beginMarking(protectPuts);
  }

  exchangeMark(hashes: Uint8Array, offset: number, mark: number): number {
    return this.#parts.inner.exchangeMark(hashes, offset, mark);
  }

  storedBytes(hashes: Uint8Array, offset: number): number {
    return this.#parts.inner.storedBytes(hashes, offset);
  }

  sweep(options: SweepOptions): Promise<SweepReport> {
    const fault = this.#refusal();
    return fault === undefined ? this.#parts.inner.sweep(options) : Promise.reject(fault);
  }

  endMarking(): void {
    this.#parts.inner.endMarking();
  }

  scrub(
    cursor: number,
    found: (blob: DamagedBlob) => void,
    progress: ScrubProgress,
  ): Promise<number> {
    return this.#parts.inner.scrub(cursor, found, progress);
  }

  beginClosing(): void {
    this.#parts.remote?.beginClosing();
  }

  /** What waits for the lease goes on when that holds, and what waits for room with each head. */
  async #drain(remote: RemoteSide): Promise<void> {
    for (;;) {
      this.#passQueued();
      if (this.#queue.length === 0 || remote.refusal !== undefined) return;
      if (remote.isLeaseValid) await remote.nextHead();
      else await remote.whenLeaseHolds().catch(() => undefined); // `refusal` says why.
    }
  }

  /** Sends what is left, and lets the next owner have the store at once. */
  async close(): Promise<void> {
    const { inner, remote, reader, cache, markClean, release } = this.#parts;
    try {
      if (remote !== undefined && this.fault === undefined) {
        remote.beginClosing();
        await this.#drain(remote);
        await inner.barrier();
        await markClean(await remote.sendAll());
      }
    } finally {
      this.#isClosed = true;
      this.#failQueued();
      await remote?.stop();
      await reader.drain();
      await inner.close();
      await cache.close();
      await release();
    }
  }
}
