import type { PortStatistics } from "../ethernet/ethernet-port.ts";
import type { DropCounts } from "../aoe/drop-reason.ts";
import type { ExchangeStatistics } from "../aoe/exchange.ts";
import type { ErrorReasonName } from "../metrics/command-kind.ts";
import type { CommandFigures, Rates } from "../metrics/command-metrics.ts";
import type { EventLoopFigures } from "../metrics/event-loop-health.ts";
import type { StorageInfo, StorageStatistics } from "../storage/block-storage.ts";
import type { TargetStatistics } from "../target/target.ts";
import type { StoreApi, StoreStatus } from "./store-api.ts";

/**
 * What a running server can be asked over its control socket. A server of several threads asks them
 * (src/workers/workers-api.ts): arguments and results are plain data, but for the stores.
 */
export interface ControlApi {
  status(): Promise<ServerStatus>;
  /** The stores that the server has open. */
  stores(): Promise<readonly StoreApi[]>;
  /**
   * The store that a request means: the one at `path`, else the one that has the volume or snapshot
   * named, else the only one. @throws UsageError when that is none, or several
   */
  store(hint: StoreHint): Promise<StoreApi>;
  /** @throws UsageError; the server is then as before */
  addTarget(request: AddTargetRequest): Promise<TargetStatus>;
  /** Answers what is in flight; from then on commands to the target fail at once. */
  removeTarget(shelf: number, slot: number): Promise<void>;
  /** @throws UsageError when there is no such target */
  clear(shelf: number, slot: number, what: ClearRequest): Promise<TargetStateStatus>;
}

/** What changes a running server, beside what its parts are asked. */
export interface ManagementApi extends ControlApi {
  /** @throws UsageError; the target is then as before */
  setTarget(shelf: number, slot: number, changes: TargetTable): Promise<TargetStatus>;
  /**
   * @param shrink whether a smaller size is meant, which loses what lies beyond
   * @throws UsageError; the target is then as before
   */
  resizeTarget(
    shelf: number,
    slot: number,
    sizeBytes: number,
    shrink: boolean,
  ): Promise<TargetStatus>;
  /**
   * Makes the server what its configuration file says, or shows what that would change.
   * @throws UsageError when the file cannot be taken over as a whole; nothing has changed then
   */
  reload(request: ReloadRequest): Promise<ReloadReport>;
  /** The configuration file; null when the server was started without one. */
  configurationFile(): string | null;
}

/** Keys of a [[target]] table, as the configuration file has them. */
export type TargetTable = Readonly<Record<string, unknown>>;

export interface ReloadRequest {
  /** Only looks; changes nothing. */
  readonly dryRun: boolean;
}

export interface ReloadReport {
  readonly file: string;
  readonly applied: boolean;
  readonly changes: readonly ReloadedTarget[];
  /** Targets added while running that the file does not have: they stay. */
  readonly kept: readonly string[];
}

export interface ReloadedTarget {
  readonly target: string;
  readonly change: "add" | "remove" | "change";
  /** What differs, as the file names it. */
  readonly keys: readonly string[];
  /** Its disk is closed and opened again: initiators wait for a moment. */
  readonly reopens: boolean;
}

export interface StoreHint {
  /** The store's folder. */
  readonly path?: string | undefined;
  /** A volume of it, or the target that serves one. */
  readonly volume?: string | undefined;
  readonly snapshot?: string | undefined;
}

/** A target that is served until it is removed or the server ends. */
export interface AddTargetRequest {
  readonly shelf: number;
  readonly slot: number;
  /** One of the two. */
  readonly volume?: string | undefined;
  readonly snapshot?: string | undefined;
  /** The store's folder; undefined: whichever has it. */
  readonly store?: string | undefined;
  readonly readOnly?: boolean | undefined;
  readonly durability?: "durable" | "writeback" | undefined;
  /** Instead of all of these: its keys as the configuration file has them. */
  readonly keys?: TargetTable | undefined;
}

/** Which parts of a target's state to empty. */
export interface ClearRequest {
  readonly configString: boolean;
  readonly mask: boolean;
  readonly reservation: boolean;
}

export interface ServerStatus {
  readonly version: string;
  readonly processId: number;
  readonly uptimeSeconds: number;
  readonly exchanges: ExchangeStatistics;
  /** Announcements of other servers heard for addresses of ours. */
  readonly foreignAnnouncements: number;
  readonly arenaFrames: number;
  readonly arenaFramesFree: number;
  readonly ports: readonly PortStatus[];
  readonly targets: readonly TargetStatus[];
  readonly stores: readonly StoreStatus[];
  /** Who has asked for something, the busiest first; bounded (src/metrics/initiator-table.ts). */
  readonly initiators: readonly InitiatorStatus[];
  /** Initiators that gave way in the table to new ones. */
  readonly initiatorsForgotten: number;
  /** One for each thread that serves. */
  readonly eventLoops: readonly EventLoopFigures[];
  /** Threads that do not answer: what is said of their targets is what they last said. */
  readonly silentWorkers: readonly number[];
  readonly memory: MemoryStatus;
  /** Where each bucket of a `latencyCounts` but the last ends, in microseconds. */
  readonly latencyBoundsUs: readonly number[];
}

/** One initiator, over all targets. */
export interface InitiatorStatus {
  readonly mac: string;
  readonly answered: number;
  readonly errors: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Requests that have not been answered yet. */
  readonly outstanding: number;
  /** Requests that it sent again, as far as that can be recognised. */
  readonly retransmissions: number;
  /** ISO 8601. */
  readonly firstSeen: string;
  readonly lastSeen: string;
  readonly rates: Rates;
}

export interface MemoryStatus {
  readonly residentBytes: number;
  readonly heapUsedBytes: number;
  readonly arrayBufferBytes: number;
}

export interface PortStatus {
  readonly interface: string;
  readonly mac: string;
  readonly mtuBytes: number;
  readonly up: boolean;
  readonly statistics: PortStatistics;
  readonly drops: DropCounts;
}

export interface TargetStatus {
  readonly shelf: number;
  readonly slot: number;
  readonly storage: StorageInfo;
  readonly statistics: TargetStatistics;
  readonly storageStatistics: StorageStatistics;
  /** What was answered to each kind of command that was asked for. */
  readonly commands: readonly CommandFigures[];
  readonly errors: Readonly<Record<ErrorReasonName, number>>;
  readonly rates: Rates;
  /** Requests that have not been answered yet. */
  readonly outstanding: number;
  /** When the disk last failed a request; ISO 8601. */
  readonly faulted: string | null;
  /** Its disk is closed, and its initiators wait: for a moment, or until a reload can open it. */
  readonly suspended: boolean;
  readonly state: TargetStateStatus;
  /** Null for a target that is no volume or snapshot of a store. */
  readonly cas: CasTargetStatus | null;
}

export interface CasTargetStatus {
  /** The store's folder. */
  readonly store: string;
  /** One of the two is not null. */
  readonly volume: string | null;
  readonly snapshot: string | null;
  readonly cacheHits: number;
  readonly cacheMisses: number;
  /** Blocks that changed since the tree was built. */
  readonly dirtyBlocks: number;
}

export interface TargetStateStatus {
  /** Base64: it may be any octets. */
  readonly configString: string;
  readonly mask: readonly string[];
  readonly reservation: readonly string[];
}
