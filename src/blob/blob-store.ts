/**
 * BlobStore: bytes under the name of their own SHA-256, `put`, `get` and `exists`; and the forms
 * that a disk needs on top of them:
 *
 * - **batches** (`append`): any number of blobs and **notes** that become one indivisible append.
 *   Notes are opaque records of the layer above ("block 7 now holds blob x"); the store keeps them
 *   in order and hands them back when it is opened. Either the whole batch survives a crash or
 *   nothing of it.
 * - a **barrier**: everything appended before it is durable.
 * - a **checkpoint**: an image of the layer above that replaces all notes so far, so that opening
 *   takes a bounded time.
 * - **fetches**: pooled read requests, sorted and merged before they reach the disk.
 * - **marks**: one small number per blob, for garbage collection and for accounting of space.
 *
 * What every store promises (`blob-store.compliance.ts` checks it):
 * - a blob is handed out only after its bytes were compared with its name;
 * - batches take effect, and are replayed, in the order in which they were appended;
 * - `durable` batches complete when they are on stable storage, others when they have their place
 *   in the order; a later durable batch makes them durable, too;
 * - a failed batch leaves nothing behind, and what was acknowledged before is not harmed;
 * - no call blocks the event loop on the disk.
 */
import type { RemoteStatus } from "../remote-status.ts";
import { RuntimeFault } from "../errors.ts";

/** The longest blob: a block of 64 KiB, and room for what surrounds one in other layers. */
export const MAX_BLOB_BYTES = 128 * 1024;

/** The most that a store ever takes in one batch; see `BlobStore.maxBatchBytes`. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;

export type StoreFaultKind =
  /** No space is left for the append; what is stored stays readable, and space may be freed. */
  | "noSpace"
  /** The disk refused the append. */
  | "writeFault"
  /** The store is closed, or the disk lost writes that were acknowledged as not yet durable. */
  | "unavailable"
  /** No blob of this name is stored. */
  | "missing"
  /** What is stored under this name has other bytes, or the disk could not read it. */
  | "damaged";

export class StoreFault extends RuntimeFault {
  readonly kind: StoreFaultKind;

  constructor(kind: StoreFaultKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "StoreFault";
    this.kind = kind;
  }
}

/**
 * One indivisible append. The owner fills it, hands it over, and must not touch it or the bytes it
 * points at until `appended` or `failed` is called, once.
 */
export abstract class BlobBatch {
  blobCount = 0;
  /** `blobCount` names, 32 bytes each. */
  hashes: Uint8Array;
  /** Where the bytes of blob i are: `lengths[i]` bytes from `offsets[i]` of `sources[i]`. */
  readonly sources: Uint8Array[] = [];
  offsets: Uint32Array;
  lengths: Uint32Array;
  readonly notes: Uint8Array[] = [];
  /** Complete only when on stable storage. */
  durable = true;
  /** May use the space that is kept back for what frees space: deletions, checkpoints, sweeps. */
  privileged = false;
  /**
   * The owner may set this while the batch waits for its turn: it fails with this then, and leaves
   * nothing behind. Without effect once the store has begun to write it.
   */
  cancelled: StoreFault | undefined;

  /** @param capacity how many blobs it has room for at first; it grows when needed */
  constructor(capacity: number) {
    this.hashes = new Uint8Array(capacity * 32);
    this.offsets = new Uint32Array(capacity);
    this.lengths = new Uint32Array(capacity);
  }

  addBlob(
    hashes: Uint8Array,
    hashOffset: number,
    source: Uint8Array,
    offset: number,
    lengthBytes: number,
  ): void {
    const index = this.blobCount++;
    if (index === this.lengths.length) this.#grow();
    for (let byte = 0; byte < 32; byte++) {
      this.hashes[index * 32 + byte] = hashes[hashOffset + byte];
    }
    this.sources[index] = source;
    this.offsets[index] = offset;
    this.lengths[index] = lengthBytes;
  }

  clear(): void {
    this.blobCount = 0;
    this.sources.length = 0;
    this.notes.length = 0;
    this.cancelled = undefined;
  }

  #grow(): void {
    const capacity = Math.max(16, this.lengths.length * 2);
    const hashes = new Uint8Array(capacity * 32);
    hashes.set(this.hashes);
    this.hashes = hashes;
    const offsets = new Uint32Array(capacity);
    offsets.set(this.offsets);
    this.offsets = offsets;
    const lengths = new Uint32Array(capacity);
    lengths.set(this.lengths);
    this.lengths = lengths;
  }

  /** Called in the order of the appends. */
  abstract appended(): void;
  abstract failed(fault: StoreFault): void;
}

export const FetchOutcome = { ok: 0, missing: 1, damaged: 2 } as const;
export type FetchOutcome = (typeof FetchOutcome)[keyof typeof FetchOutcome];

/**
 * A request for one blob. The target must have room for `capacityBytes`; a longer blob is taken
 * for damaged.
 */
export abstract class BlobFetch {
  readonly hash: Uint8Array = new Uint8Array(32);
  target: Uint8Array = new Uint8Array(0);
  targetOffset = 0;
  capacityBytes = 0;
  /** Set before `fetched()`: how long the blob is. */
  lengthBytes = 0;
  outcome: FetchOutcome = FetchOutcome.ok;

  /**
   * Called once, perhaps already while `fetch` runs. With another outcome than `ok` the target
   * holds nothing of use.
   */
  abstract fetched(): void;
}

/** What a store hands back when it is opened, in the order of the log. */
export interface NoteReader {
  /** The last checkpoint: replaces everything read before. */
  image(bytes: Uint8Array): void;
  note(bytes: Uint8Array): void;
}

/** The one mark that the store itself sets; see `beginMarking`. */
export const MARK_KEPT = 1;

export interface SweepReport {
  /** Segments that were given back, and the bytes that they held. */
  segmentsFreed: number;
  bytesFreed: number;
  blobsCopied: number;
  bytesCopied: number;
}

export interface SweepOptions {
  /** Segments with less than this share of marked bytes are rewritten. */
  liveThreshold: number;
  /** Called between segments; resolves when the sweep may go on. */
  pace: () => Promise<void>;
}

/** Figures since the store was opened, and sizes now. */
export interface StoreStatistics {
  blobs: number;
  /** Bytes of blobs whose place is known, live or not. */
  blobBytes: number;
  /** Bytes that the store takes on its disk. */
  diskBytes: number;
  /** Bytes of memory that the index of names takes. */
  indexBytes: number;
  frames: number;
  syncs: number;
  duplicateBlobs: number;
  appendedBytes: number;
  fetches: number;
  diskReads: number;
  damagedBlobs: number;
  /** Bytes appended since the last checkpoint: what opening after a crash has to read. */
  tailBytes: number;
  /** Bytes appended and acknowledged, but not yet durable. */
  unsyncedBytes: number;
}

export interface DamagedBlob {
  readonly hash: Uint8Array;
  readonly lengthBytes: number;
  /** Where it is, for people: "segment-00000003 at 4160". */
  readonly place: string;
}

export interface ScrubProgress {
  blobs: number;
  bytes: number;
  /** Bytes that this pass has still to read. */
  remainingBytes: number;
}

export interface BlobStore {
  readonly description: string;
  /** Set: the store has gone to another owner, and does nothing any more. */
  readonly fault?: StoreFault | undefined;
  /**
   * Set: the disk has lost what it had taken, and the store takes no more until it is opened again.
   * What can be read is still right.
   */
  readonly appendFault?: StoreFault | undefined;
  /** False: another may have become the owner; `confirm` finds out. */
  readonly isOurs?: boolean;
  /** Appends are refused: others write to it. */
  readonly isReadOnly?: boolean;
  /** Of a store whose truth is elsewhere. */
  readonly remote?: RemoteStatus | undefined;
  /** Made anew at each look: not for the data path. */
  readonly statistics: StoreStatistics;
  /** `statistics.tailBytes`, for those who look after each append. */
  readonly tailBytes: number;
  /** The most that the blobs and notes of one batch may add up to. */
  readonly maxBatchBytes: number;

  /** Resolves when the blob is durable. The caller vouches for the hash. */
  put(hash: Uint8Array, data: Uint8Array): Promise<void>;
  /** Rejects with a StoreFault: `missing` or `damaged`. */
  get(hash: Uint8Array): Promise<Uint8Array>;
  exists(hash: Uint8Array): Promise<boolean>;

  append(batch: BlobBatch): void;
  /**
   * Whether what has completed may be acknowledged to others. Undefined: at once. Else the promise
   * resolves when it may, and rejects with a StoreFault when it must not: the store has another
   * owner. A store that is on this machine alone has no such doubts, and no such method.
   *
   * @param isRemote not before another machine would find it in the object store
   */
  confirm?(isRemote: boolean): Promise<void> | undefined;
  /**
   * Said before the volumes are closed: what waits for the object store does so for a bounded time
   * from now on, and is then rejected as `unavailable`. `close` ends in bounded time, too.
   */
  beginClosing?(): void;
  /** Rejects with a StoreFault when what was appended before may not be durable. */
  barrier(): Promise<void>;

  fetch(request: BlobFetch): void;
  /** Starts the fetches handed over since the last call. */
  submit(): void;

  /**
   * Writes an image that replaces all notes so far. `image` is called when everything appended
   * before has completed, and nothing appended later has; it returns at once.
   */
  checkpoint(image: () => Uint8Array): Promise<void>;

  /**
   * Gives every blob the mark 0. With `protectPuts`, each blob that is appended from now on, new
   * or already stored, gets at least `MARK_KEPT`.
   */
  beginMarking(protectPuts: boolean): void;
  /** Raises or sets the mark of a blob; the mark before, or -1 when the blob is not stored. */
  exchangeMark(hashes: Uint8Array, offset: number, mark: number): number;
  /** The length of a blob, or -1 when it is not stored. */
  storedBytes(hashes: Uint8Array, offset: number): number;
  /** Gives back the space of blobs that have the mark 0. */
  sweep(options: SweepOptions): Promise<SweepReport>;
  endMarking(): void;

  /**
   * Reads every blob and compares it with its name, a bounded piece at a time, from where `cursor`
   * says (0: the beginning). Returns where to go on; 0 when the pass is complete.
   */
  scrub(
    cursor: number,
    found: (blob: DamagedBlob) => void,
    progress: ScrubProgress,
  ): Promise<number>;

  close(): Promise<void>;
}

/** Appends one batch and waits for it. */
export class AwaitedBatch extends BlobBatch {
  readonly #result = Promise.withResolvers<void>();

  constructor(capacity = 1) {
    super(capacity);
  }

  appended(): void {
    this.#result.resolve();
  }

  failed(fault: StoreFault): void {
    this.#result.reject(fault);
  }

  get done(): Promise<void> {
    return this.#result.promise;
  }

  appendTo(store: BlobStore): Promise<void> {
    store.append(this);
    return this.done;
  }
}
