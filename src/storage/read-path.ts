import { BlockStatus, SECTOR_BYTES } from "./block-storage.ts";
import { DISK_NO_NOWAIT_READ, DiskOperation } from "./disk-queue.ts";
import { type DiskContext, fileOffset, listLength, startJobs } from "./disk-requests.ts";
import { type Operation, OperationQueue } from "./operation.ts";

/**
 * Reads of a disk: what the page cache holds is read at once, in one native call for all; what
 * would wait goes to the worker threads, neighbours together, the others each on their own.
 */
export class ReadPath {
  readonly #context: DiskContext;
  readonly #ready = new OperationQueue();
  readonly #cold = new OperationQueue();
  #diskFlags: number;
  readonly #direct: boolean;

  constructor(context: DiskContext, direct: boolean, diskFlags: number) {
    this.#context = context;
    this.#direct = direct;
    this.#diskFlags = diskFlags;
  }

  get ready(): boolean {
    return this.#ready.first !== null;
  }

  append(operation: Operation): void {
    this.#ready.append(operation);
  }

  start(): void {
    const first = this.#ready.takeAll();
    if (first === null) return;
    this.#fillChain(first);
    if (this.#direct || (this.#diskFlags & DISK_NO_NOWAIT_READ) !== 0) {
      this.#queueJobs(first);
      return;
    }
    this.#diskFlags = this.#context.queue.runNow(first, this.#diskFlags);
    this.#completeOrQueue(first);
  }

  jobDone(head: Operation): void {
    const { queue } = this.#context;
    let operation: Operation | null = head;
    while (operation !== null) {
      const following: Operation | null = queue.following(operation);
      this.#complete(operation);
      operation = following;
    }
  }

  #fillChain(first: Operation): void {
    const { queue, statistics } = this.#context;
    let previous: Operation | null = null;
    for (let operation: Operation | null = first; operation !== null; operation = operation.next) {
      const request = operation.request!;
      const length = request.lengthSectors * SECTOR_BYTES;
      const offset = fileOffset(this.#context, request.lba);
      queue.fill(operation, DiskOperation.read, offset, request.memoryOffset, length);
      if (previous !== null) {
        queue.link(previous, operation);
        if (queue.adjoins(previous, operation)) statistics.merged++;
      }
      previous = operation;
    }
  }

  #completeOrQueue(first: Operation): void {
    const { queue, statistics } = this.#context;
    let operation: Operation | null = first;
    while (operation !== null) {
      // Complete gives the operation back to the pool, which takes its `next`.
      const next: Operation | null = operation.next;
      if (queue.error(operation) === 0) {
        statistics.inline++;
        this.#context.complete(operation, BlockStatus.ok, 0);
      } else {
        this.#cold.append(operation);
      }
      operation = next;
    }
    const cold = this.#cold.takeAll();
    if (cold !== null) this.#queueJobs(cold);
  }

  #queueJobs(first: Operation): void {
    this.#context.statistics.queued += listLength(first);
    startJobs(this.#context.queue, first);
  }

  #complete(operation: Operation): void {
    const { queue, faults } = this.#context;
    const errno = queue.error(operation);
    if (errno === 0) {
      this.#context.complete(operation, BlockStatus.ok, 0);
      return;
    }
    const request = operation.request!;
    const failedLba = request.lba + Math.floor(queue.doneBytes(operation) / SECTOR_BYTES);
    faults.report(`reading sector ${failedLba}`, errno);
    this.#context.complete(operation, BlockStatus.unreadable, failedLba);
  }
}
