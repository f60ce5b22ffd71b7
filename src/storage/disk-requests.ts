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

/** Requests of one job: as many as the shim merges into one system call. */
const JOB_REQUESTS = 128;

/**
 * Gives a list of filled operations to the worker threads: neighbours as one job, so that they are
 * one disk request, all others as jobs of their own, so that the disk has many at once.
 * @returns the number of jobs
 */
export function startJobs(queue: DiskQueue, first: Operation): number {
  let jobs = 1;
  let head = first;
  let last = first;
  let length = 1;
  for (let operation = first.next; operation !== null; operation = operation.next) {
    if (length < JOB_REQUESTS && queue.adjoins(last, operation)) {
      queue.link(last, operation);
      length++;
    } else {
      queue.link(last, null);
      queue.start(head);
      jobs++;
      head = operation;
      length = 1;
    }
    last = operation;
  }
  queue.link(last, null);
  queue.start(head);
  return jobs;
}

/** Operations in a list chained by `next`. */
export function listLength(first: Operation | null): number {
  let length = 0;
  for (let operation = first; operation !== null; operation = operation.next) length++;
  return length;
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
