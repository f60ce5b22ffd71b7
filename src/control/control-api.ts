import type { PortStatistics } from "../ethernet/ethernet-port.ts";
import type { DropCounts } from "../aoe/drop-reason.ts";
import type { ExchangeStatistics } from "../aoe/exchange.ts";
import type { StorageInfo, StorageStatistics } from "../storage/block-storage.ts";
import type { TargetStatistics } from "../target/target.ts";

/** What a running server can be asked over its control socket. */
export interface ControlApi {
  status(): ServerStatus;
  /** @throws UsageError when there is no such target */
  clear(shelf: number, slot: number, what: ClearRequest): Promise<TargetStateStatus>;
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
  readonly state: TargetStateStatus;
}

export interface TargetStateStatus {
  /** Base64: it may be any octets. */
  readonly configString: string;
  readonly mask: readonly string[];
  readonly reservation: readonly string[];
}
