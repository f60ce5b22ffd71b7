import { errnoName } from "../system/libc.ts";
import { BlockStatus, SECTOR_BYTES, type StorageStatistics } from "./block-storage.ts";
import type { DiskQueue } from "./disk-queue.ts";
import type { Operation } from "./operation.ts";

const ENOSPC = 28;
const EDQUOT = 122;

const REPORT_INTERVAL_MS = 1000;

/** What the read path and the write path of a disk share. */
export interface DiskContext {
  readonly queue: DiskQueue;
  readonly statistics: StorageStatistics;
  /** Where sector 0 of the storage lies in the file. */
  readonly startBytes: number;
  /** Ends an operation: its request goes back to the owner, and what waited for it may begin. */
  complete(operation: Operation, status: BlockStatus, failedLba: number): void;
  readonly faults: FaultReporter;
}

/** The status of a write, trim or flush that ended with this errno. */
export function writeStatus(errno: number): BlockStatus {
  if (errno === 0) return BlockStatus.ok;
  return errno === ENOSPC || errno === EDQUOT ? BlockStatus.noSpace : BlockStatus.writeFault;
}

export function fileOffset(context: DiskContext, lba: number): number {
  return context.startBytes + lba * SECTOR_BYTES;
}

/** Tells a person about faults: the first at once, then at most one line a second. */
export class FaultReporter {
  readonly #description: string;
  readonly #onFault: ((message: string) => void) | undefined;
  #lastMs = -Infinity;
  #unreported = 0;

  constructor(description: string, onFault: ((message: string) => void) | undefined) {
    this.#description = description;
    this.#onFault = onFault;
  }

  /** @param what "read of 8 sectors at 1024" */
  report(what: string, errno: number): void {
    const nowMs = performance.now();
    if (nowMs - this.#lastMs < REPORT_INTERVAL_MS) {
      this.#unreported++;
      return;
    }
    const others = this.#unreported === 0 ? "" : ` (and ${this.#unreported} more faults before)`;
    this.#lastMs = nowMs;
    this.#unreported = 0;
    this.#onFault?.(`${this.#description}: ${what} failed with ${errnoName(errno)}${others}`);
  }

  /** For what must not be missed. */
  announce(message: string): void {
    this.#onFault?.(`${this.#description}: ${message}`);
  }
}
