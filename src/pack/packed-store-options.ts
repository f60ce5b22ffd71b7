import type { NoteReader } from "../blob/blob-store.ts";
import type { LogDisk } from "../blob/log-disk.ts";
import type { ObjectStore } from "../object/object-store.ts";
import type { Clock } from "./clock.ts";

export interface PackedStoreOptions {
  /** Closed with the store. */
  readonly objects: ObjectStore;
  /** The folder in front: log and cache. Used by nobody else. */
  readonly disk: LogDisk;
  readonly reader: NoteReader;
  /** This machine, for people. */
  readonly host: string;
  /** Without a lease, beside a writer: the store as its head says now. */
  readonly readOnly?: boolean;
  /** Do not wait for another owner's lease. */
  readonly takeOver?: boolean;
  /** Of a new store. */
  readonly segmentBytes?: number;
  readonly packBytes?: number;
  readonly uploadIntervalMs?: number;
  readonly maxDirtyBytes?: number;
  readonly diskCacheBytes?: number;
  readonly leaseMs?: number;
  /** For how long a read waits for an object store that is away. */
  readonly patienceMs?: number;
  readonly closeTimeoutMs?: number;
  readonly clock?: Clock;
  readonly log?: (level: "warn" | "error", message: string) => void;
  readonly unlock?: () => Promise<void>;
}

/** Of what a machine that dies takes with it, and of what waits while the object store is away. */
export const DEFAULT_MAX_DIRTY_BYTES = 1024 * 1024 * 1024;
export const DEFAULT_DISK_CACHE_BYTES = 10 * 1024 * 1024 * 1024;
export const DEFAULT_UPLOAD_INTERVAL_MS = 5000;
/** Longer than an object store is usually away: writes go on so long without a renewal. */
export const DEFAULT_LEASE_MS = 90_000;
