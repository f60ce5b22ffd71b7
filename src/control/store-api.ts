import type { RemoteStatus } from "../remote-status.ts";

/**
 * What can be asked of a store of volumes: by the command line offline, and by anybody through the
 * control socket of a running server. Both ways end at the same implementation.
 */
export interface StoreApi {
  status(): Promise<StoreStatus>;

  volumes(): Promise<VolumeStatus[]>;
  createVolume(request: NewVolume): Promise<VolumeStatus>;
  /** Makes a volume larger, also while it is served. */
  resizeVolume(volume: string, sizeBytes: number): Promise<VolumeStatus>;
  /** Its space is given back by the next collection. */
  deleteVolume(volume: string): Promise<void>;

  /** In the order in which they were taken; of one volume, or of all. */
  snapshots(volume?: string): Promise<SnapshotStatus[]>;
  /** @param reference its id, or the beginning of its root hash */
  snapshot(reference: string): Promise<SnapshotStatus>;
  createSnapshot(volume: string, description: string): Promise<SnapshotStatus>;
  deleteSnapshot(reference: string): Promise<SnapshotStatus>;
  rollback(reference: string, volume: string): Promise<RollbackReport>;
  /** A new writable volume with the content of a snapshot. */
  clone(reference: string, volume: string): Promise<VolumeStatus>;
  /** The sectors that differ from a later snapshot, or from what the volume holds now. */
  diff(from: string, to?: string): Promise<SectorRange[]>;

  /** Work that takes a while. @throws Cancelled when `control.signal` says so */
  run<Name extends JobName>(
    name: Name,
    request: Jobs[Name]["request"],
    control: JobControl,
  ): Promise<Jobs[Name]["report"]>;
}

/** Every call may throw a UsageError, with nothing changed. */
export interface Jobs {
  readonly gc: { request: object; report: CollectionReport };
  readonly space: { request: object; report: SpaceReport };
  readonly verify: { request: VerifyRequest; report: VerifyReport };
  readonly scrub: { request: ScrubRequest; report: ScrubReport };
  readonly import: { request: ImportRequest; report: ImportReport };
  readonly export: { request: ExportRequest; report: ExportReport };
  readonly send: { request: SendRequest; report: TransferReport };
  readonly receive: { request: ReceiveRequest; report: TransferReport };
}

export type JobName = keyof Jobs;

export interface JobControl {
  readonly onProgress: (progress: Progress) => void;
  readonly signal: AbortSignal;
}

export interface Progress {
  /** What is being done, in a word or two. */
  readonly phase: string;
  readonly done: number;
  /** Null: nobody knows. */
  readonly total: number | null;
  readonly unit: "bytes" | "blobs" | "paths";
}

/** A job ended because it was asked to. */
export class Cancelled extends Error {
  constructor() {
    super("cancelled");
    this.name = "Cancelled";
  }
}

export interface StoreStatus {
  /** The folder. */
  readonly path: string;
  readonly volumes: number;
  readonly snapshots: number;
  readonly blobs: number;
  /** Bytes of all blobs, before a collection removes what nothing names. */
  readonly blobBytes: number;
  /** Bytes that the store takes on its disk. */
  readonly diskBytes: number;
  /** Bytes that the file system has left; null when it does not say. */
  readonly freeBytes: number | null;
  readonly indexBytes: number;
  /** Bytes of blobs that were handed over since the start, and how many of them had to be stored. */
  readonly receivedBytes: number;
  readonly storedBytes: number;
  /** Blobs since the start that did not match their name. */
  readonly damagedBlobs: number;
  /** What opening after a crash has to read. */
  readonly tailBytes: number;
  /** The last complete pass of a scrub; ISO 8601. */
  readonly scrubbed: string | null;
  /** The last collection of garbage since the start. */
  readonly collected: CollectionStatus | null;
  /** Of a store in an object store: what is there, what is only here, and what it has cost. */
  readonly remote: RemoteStatus | null;
}

export interface CollectionStatus {
  /** ISO 8601. */
  readonly ended: string;
  readonly bytesFreed: number;
  /** Why it could not end; then nothing that is alive was deleted. */
  readonly failure: string | null;
}

export interface VolumeStatus {
  readonly name: string;
  readonly sizeBytes: number;
  readonly blockBytes: number;
  /** ISO 8601. */
  readonly created: string;
  /** The snapshot that it was cloned from. */
  readonly origin: string | null;
  readonly snapshots: number;
  /** Blocks that changed since the tree was built. */
  readonly dirtyBlocks: number;
  /** "e1.0"; null when nobody is served it. */
  readonly target: string | null;
}

export interface NewVolume {
  readonly name: string;
  readonly sizeBytes: number;
  readonly blockBytes?: number | undefined;
}

export interface SnapshotStatus {
  readonly id: string;
  /** In hexadecimal: equal for equal disks. */
  readonly root_hash: string;
  /** ISO 8601. */
  readonly timestamp: string;
  readonly description: string;
  readonly volume: string;
  /** Bytes. */
  readonly size: number;
  /** The snapshot of the same volume that it follows. */
  readonly parent: string | null;
  readonly trigger: string;
}

export interface RollbackReport {
  readonly restored: SnapshotStatus;
  /** What the volume held before. */
  readonly safety: SnapshotStatus;
}

export interface SectorRange {
  readonly lba: number;
  readonly lengthSectors: number;
}

export interface CollectionReport {
  readonly liveBlobs: number;
  readonly segmentsFreed: number;
  readonly bytesFreed: number;
  readonly blobsCopied: number;
  readonly bytesCopied: number;
}

export interface SpaceReport {
  readonly uses: readonly SpaceUse[];
  readonly sharedBytes: number;
  readonly garbageBytes: number;
}

export interface SpaceUse {
  /** Null: the volume as it is now. */
  readonly snapshot: string | null;
  readonly volume: string;
  readonly uniqueBytes: number;
  readonly freedIfDeletedBytes: number;
}

export interface ScrubRequest {
  readonly bytesPerSecond?: number | undefined;
}

export interface VerifyRequest extends ScrubRequest {
  readonly snapshot: string;
}

export interface VerifyReport {
  readonly rootHash: string;
  readonly bytes: number;
  readonly damaged: readonly SectorRange[];
  readonly blobs: readonly string[];
}

export interface ScrubReport {
  readonly isComplete: boolean;
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: readonly { hash: string; lengthBytes: number; place: string }[];
  readonly affected: readonly {
    snapshot: string | null;
    volume: string;
    ranges: readonly SectorRange[];
  }[];
}

export interface ImportRequest {
  /** Absolute: an image file or a block device. */
  readonly path: string;
  readonly volume: string;
  readonly blockBytes?: number | undefined;
}

export interface ImportReport {
  readonly sizeBytes: number;
  readonly storedBytes: number;
  readonly snapshot: SnapshotStatus;
}

export interface ExportRequest {
  /** Absolute. */
  readonly path: string;
  /** One of the two. */
  readonly snapshot?: string | undefined;
  readonly volume?: string | undefined;
  readonly overwrite?: boolean | undefined;
}

export interface ExportReport {
  readonly sizeBytes: number;
  readonly bytes: number;
}

export interface SendRequest {
  readonly snapshot: string;
  /** The folder of the other store, absolute; made when it is missing. */
  readonly to: string;
  /** The volume's name at the receiver. */
  readonly volume?: string | undefined;
}

export interface ReceiveRequest {
  /** The folder of the other store, absolute. */
  readonly from: string;
  /** A snapshot of the other store. */
  readonly snapshot: string;
  readonly volume?: string | undefined;
}

export interface TransferReport {
  readonly present: number;
  readonly moved: number;
  readonly movedBytes: number;
  readonly snapshot: SnapshotStatus;
}
