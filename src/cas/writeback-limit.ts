import {
  type BlockRequest,
  BlockStatus,
  SECTOR_BYTES,
  type StorageStatistics,
} from "../storage/block-storage.ts";
import type { WriteGroup } from "./write-group.ts";

/** Acknowledged data begins to become durable long before the limit: nobody waits for all of it. */
const SYNC_STEP_BYTES = 8 * 1024 * 1024;

/** Bounds what is acknowledged and not yet durable. */
export class WritebackLimit {
  readonly #statistics: StorageStatistics;
  readonly #limitBytes: number;
  /** Acknowledged since the last group that is to be durable. */
  #sectorsSinceSync = 0;

  constructor(statistics: StorageStatistics, limitBytes: number) {
    this.#statistics = statistics;
    this.#limitBytes = limitBytes;
  }

  get isReached(): boolean {
    return this.#statistics.unsyncedSectors * SECTOR_BYTES >= this.#limitBytes;
  }

  /** A request whose data is in the group is done. */
  acknowledge(group: WriteGroup, request: BlockRequest): void {
    group.acknowledgedSectors += request.lengthSectors;
    this.#statistics.unsyncedSectors += request.lengthSectors;
    this.#sectorsSinceSync += request.lengthSectors;
    const stepBytes = Math.min(SYNC_STEP_BYTES, this.#limitBytes / 4);
    if (this.#sectorsSinceSync * SECTOR_BYTES >= stepBytes) this.makeDurable(group);
    request.status = BlockStatus.ok;
    request.completed();
  }

  makeDurable(group: WriteGroup): void {
    group.durable = true;
    this.#sectorsSinceSync = 0;
  }

  /** A durable group makes what came before it durable; what is in later groups is not. */
  durable(group: WriteGroup, groups: readonly WriteGroup[]): void {
    let sectors = 0;
    for (const later of groups) if (later !== group) sectors += later.acknowledgedSectors;
    this.#statistics.unsyncedSectors = sectors;
  }
}
