/**
 * BlockStorage, the lowest layer: sectors in, sectors out.
 *
 * Requests are pooled objects that point into the frame arena. A caller hands over any number with
 * `read`, `write`, `flush` and `trim`, then calls `submit` once; each request is given back by a
 * call of its `completed()`, during `submit` (data that was in memory) or later. Nothing here
 * allocates a promise, a buffer or a closure per request.
 *
 * What every implementation promises (and `block-storage.compliance.ts` checks):
 * - overlapping requests take effect in the order in which they were handed over;
 * - `flush` completes when every write and trim handed over before it is durable;
 * - under `durable`, a write or trim completes when it is durable itself;
 * - a request completes exactly once, with `BlockStatus.ok` or a fault, never with wrong data;
 * - no call blocks the event loop on the disk.
 *
 * The caller checks ranges and `readOnly` before it hands a request over: a request outside
 * `info().sectors` is a programming error.
 */

export const SECTOR_BYTES = 512;

export const BlockOperation = { read: 0, write: 1, flush: 2, trim: 3 } as const;
export type BlockOperation = (typeof BlockOperation)[keyof typeof BlockOperation];

export const BlockStatus = {
  ok: 0,
  /** The medium could not be read, or what it holds failed verification. */
  unreadable: 1,
  /** The write, trim or flush failed; nothing may be assumed of the sectors it covers. */
  writeFault: 2,
  /** No space is left behind the storage. */
  noSpace: 3,
  /** The storage was closed or has failed for good. */
  unavailable: 4,
} as const;
export type BlockStatus = (typeof BlockStatus)[keyof typeof BlockStatus];

/** When a write counts as done; the same words for every backend. */
export type Durability = "durable" | "writeback" | "remote";

export interface StorageInfo {
  /** What it is, for people: "file /data/disk.img". */
  readonly description: string;
  readonly sectors: number;
  /** The unit in which the medium is best written, in bytes: 512 or 4096. */
  readonly physicalBlockBytes: number;
  readonly readOnly: boolean;
  readonly canTrim: boolean;
  readonly durability: Durability;
}

export abstract class BlockRequest {
  /** What it asks for; the storage sets it when the request is handed over. */
  operation: BlockOperation = BlockOperation.read;
  lba = 0;
  /** Length in sectors; ignored by flush. */
  lengthSectors = 0;
  /** Where the data is or goes: byte offset in the arena; ignored by flush and trim. */
  memoryOffset = 0;
  /** Set by the storage before `completed()`. */
  status: BlockStatus = BlockStatus.ok;
  /** With `unreadable`: the first sector that could not be read. */
  failedLba = 0;
  /** For the storage that holds the request: its place in a queue. */
  next: BlockRequest | null = null;

  /** Called once when the request is done. The request then belongs to its owner again. */
  abstract completed(): void;
}

/** Figures of one storage since it was opened; plain fields, so that counting costs nothing. */
export interface StorageStatistics {
  /** Requests that completed during `submit`. */
  inline: number;
  /** Requests that went to another thread or the disk. */
  queued: number;
  /** Reads that shared the data of an identical read in flight. */
  coalesced: number;
  /** Requests that joined their neighbour's disk request. */
  merged: number;
  /** Requests that waited for an overlapping one. */
  delayed: number;
  /** fdatasync calls; with the writes, the size of the commit groups. */
  syncs: number;
  /** Acknowledged sectors that are not durable yet: the loss bound of `writeback`. */
  unsyncedSectors: number;
  faults: number;
}

export interface BlockStorage {
  /** A new object after each resize; the same one otherwise. */
  info(): StorageInfo;
  readonly statistics: StorageStatistics;

  read(request: BlockRequest): void;
  write(request: BlockRequest): void;
  flush(request: BlockRequest): void;
  /**
   * Gives the space behind sectors back. They then read as zeros, but for devices that discard
   * without saying what is read afterwards.
   */
  trim(request: BlockRequest): void;
  /** Starts everything handed over since the last call. */
  submit(): void;

  /** Called when the size changed underneath (a resized file or device); `info()` is new. */
  onResize: (() => void) | undefined;

  /**
   * Gives the disk another size, where the storage decides about it; `onResize` is called.
   * @throws UsageError when it cannot have that size
   */
  resize?(sectors: number): Promise<void>;

  /** Completes what is in flight, makes it durable and lets go of the disk. */
  close(): Promise<void>;
}

export function emptyStorageStatistics(): StorageStatistics {
  return {
    inline: 0,
    queued: 0,
    coalesced: 0,
    merged: 0,
    delayed: 0,
    syncs: 0,
    unsyncedSectors: 0,
    faults: 0,
  };
}
