import type { FrontConfiguration } from "./front-keys.ts";
import type { ObjectStoreSettings } from "../object/object-store-settings.ts";
import type { Durability } from "../storage/block-storage.ts";
import type { WireChange } from "../target/wire-change.ts";

/** What aoed was asked to do, checked and in the units that the code works with. */
export interface Configuration {
  readonly server: ServerConfiguration;
  readonly targets: TargetConfiguration[];
}

export const PORT_KINDS = ["auto", "packet", "tap", "xdp"] as const;
export type PortKind = (typeof PORT_KINDS)[number];

export const BACKENDS = ["file", "device", "memory", "cas"] as const;
export type Backend = (typeof BACKENDS)[number];

export const DURABILITIES = ["durable", "writeback", "remote"] as const satisfies Durability[];

export interface ServerConfiguration {
  /** At least one, each once. */
  readonly interfaces: string[];
  readonly port: PortKind;
  /** Threads that the targets are spread over: 1 to 64. */
  readonly workers: number;
  /** Messages that an initiator may have outstanding, as Config replies advertise it: 2 to 1024. */
  readonly bufferCount: number;
  /** For how long the server looks for the next request before it sleeps; undefined: not at all. */
  readonly busyPollMs?: number | undefined;
  /** Absolute. Holds the state file of each target; made by the server when it starts. */
  readonly stateDirectory: string;
  /** Absolute path of the Unix socket that the command line talks to; undefined: none. */
  readonly controlSocket: string | undefined;
  readonly controlSocketAccess: ControlSocketAccess;
  /** Whom the server becomes when it has opened what needs privileges; undefined: nobody else. */
  readonly user?: string | undefined;
  /** When the stores of this server are rid of what nothing names any more. */
  readonly gc: GarbageCollectionMode;
  /** Where to listen for whoever looks at the server; none: nowhere. */
  readonly metrics?: MetricsConfiguration | undefined;
  /** Every frame received and sent is written here, in the pcap format. */
  readonly pcapPath?: string | undefined;
}

/** Who may open the control socket. */
export interface ControlSocketAccess {
  /** Names or numbers; undefined: those of the process. */
  readonly owner?: string | undefined;
  readonly group?: string | undefined;
  /** Permission bits. */
  readonly mode: number;
}

export const DEFAULT_CONTROL_SOCKET_MODE = 0o600;

export interface MetricsConfiguration {
  /** At least one. */
  readonly addresses: readonly MetricsAddress[];
  /** Whether the web page may take, clone and roll back snapshots. */
  readonly allowsControl: boolean;
}

/** An IP address and a port, or the absolute path of a Unix socket. */
export type MetricsAddress =
  | { readonly host: string; readonly port: number }
  | { readonly socketPath: string };

export interface TargetConfiguration {
  /** 0 to 65534, but not 4095. */
  readonly shelf: number;
  /** 0 to 254. */
  readonly slot: number;
  readonly backend: Backend;
  /** Absolute; empty for a `memory` target. */
  readonly path: string;
  /** Size of a file to create, of a `memory` disk, or of a volume; a multiple of 512. */
  readonly sizeBytes?: number | undefined;
  readonly readOnly: boolean;
  readonly direct: boolean;
  readonly durability: Durability;
  readonly writebackIntervalMs: number;
  /** Where the exported disk begins in the file or device. */
  readonly offsetSectors: number;
  /** Length of the exported disk; undefined: to the end. */
  readonly lengthSectors?: number | undefined;
  /** Source addresses that are answered, as 48-bit numbers; empty: all. */
  readonly allow: number[];
  /** What of the target's state initiators may change. */
  readonly wireChanges: readonly WireChange[];
  /** The AoE config string of a target that has none yet: at most 1024 octets. */
  readonly configString?: Uint8Array | undefined;
  /** Present when `backend` is "cas". */
  readonly cas?: CasConfiguration | undefined;
}

export const BLOB_STORES = ["file", "directory", "s3", "azure"] as const;
export type BlobStoreKind = (typeof BLOB_STORES)[number];

export const GARBAGE_COLLECTION_MODES = ["auto", "off"] as const;
export type GarbageCollectionMode = (typeof GARBAGE_COLLECTION_MODES)[number];

export interface CasConfiguration {
  readonly blobStore: BlobStoreKind;
  /** The FileStore's folder, or the one of the log and cache before an object store; absolute. */
  readonly path: string | undefined;
  /** Set unless `blobStore` is "file". */
  readonly objectStore?: ObjectStoreSettings | undefined;
  /** What is kept in `path` before an object store. */
  readonly front?: FrontConfiguration | undefined;
  /** Of a new volume; undefined: 4096, and whatever a volume that exists has. */
  readonly blockSizeBytes: number | undefined;
  /** The volume's name in the store. */
  readonly volume: string;
  /** Whether a volume that is missing is made, and the store. */
  readonly createsVolume: boolean;
  /** Set: this snapshot is served, read-only, and not the volume. */
  readonly snapshot: string | undefined;
  /** Memory for blocks and for leaves of the tree. */
  readonly cacheBytes: number;
  readonly snapshots: SnapshotSchedule | undefined;
}

/** Snapshots that are taken by the clock. */
export interface SnapshotSchedule {
  readonly everyMs: number;
  /** How many of them are kept. */
  readonly keep: number;
}

export const DEFAULT_BUFFER_COUNT = 64;
export const DEFAULT_WORKERS = 1;
/** More than any machine has use for; each takes some 30 MiB. */
export const MAX_WORKERS = 64;
export const DEFAULT_CAS_BLOCK_SIZE_BYTES = 4096;
export const DEFAULT_CAS_CACHE_BYTES = 256 * 2 ** 20;
/** Of a volume whose size nobody says: it takes no space. */
export const DEFAULT_VOLUME_BYTES = 16 * 2 ** 30;

/** "e1.0", as clients name a target (/dev/etherd/e1.0). */
export function targetName(target: { readonly shelf: number; readonly slot: number }): string {
  return `e${target.shelf}.${target.slot}`;
}
