import { BlockOperation, BlockStatus, SECTOR_BYTES } from "./block-storage.ts";
import { DiskOperation } from "./disk-queue.ts";
import { type DiskContext, fileOffset, writeStatus } from "./disk-requests.ts";
import { type Operation, OperationQueue } from "./operation.ts";

/**
 * Writes, trims and flushes of a disk. Here is what both kinds of durability share: writes are
 * kept in the order in which they became ready, and a count of changes says what is durable.
 *
 * Through the page cache one job of writes runs at a time, because the kernel locks the file for
 * each write anyway; so overlapping writes may follow each other in the queue. Past the page cache
 * (direct) writes run side by side, and overlapping ones wait for each other.
 */
export abstract class WritePath {
  protected readonly context: DiskContext;
  protected readonly direct: boolean;
  protected readonly ready = new OperationQueue();
  /** Flushes whose earlier writes are complete, waiting until `changesBefore` are durable. */
  readonly #flushes = new OperationQueue();
  /** The fdatasync; the only one, because there is never a second under way. */
  protected readonly sync: Operation;
  readonly #trimOperation: DiskOperation;

  /**
   * Writes and trims that may have reached the page cache. It begins at 1: what another process
   * left there before counts as ours, so that the first flush makes that durable too.
   */
  protected changes = 1;
  protected durableChanges = 0;
  /** `changes` when the fdatasync under way began. */
  protected syncingChanges = 0;

  constructor(context: DiskContext, trimOperation: DiskOperation, direct: boolean) {
    this.context = context;
    this.direct = direct;
    this.#trimOperation = trimOperation;
    this.sync = context.queue.take(null);
    this.sync.kind = BlockOperation.flush;
  }

  append(operation: Operation): void {
    operation.ordered = !this.direct;
    this.ready.append(operation);
  }

  /** @param operation a flush whose earlier writes and trims are complete */
  flush(operation: Operation): void {
    operation.changesBefore = this.changes;
    this.#flushes.append(operation);
  }

  /** Nothing is left that an fdatasync would have to make durable. */
  get durable(): boolean {
    return this.durableChanges === this.changes;
  }

  /** Whether `start` would begin or complete something. */
  abstract get startable(): boolean;
  abstract start(): void;
  abstract jobDone(head: Operation): void;
  /** Begins an fdatasync of everything up to now; nothing else may be under way. */
  abstract startSync(): void;
  /** Jobs that are under way. */
  abstract get busy(): boolean;
  abstract close(): void;

  protected get flushWaits(): boolean {
    return this.#flushes.first !== null;
  }

  /** Completes the flushes whose changes are durable. */
  protected completeFlushes(): void {
    let flush = this.#flushes.takeAll();
    while (flush !== null) {
      const next: Operation | null = flush.next;
      if (flush.changesBefore <= this.durableChanges) {
        this.context.complete(flush, BlockStatus.ok, 0);
      } else {
        this.#flushes.append(flush);
      }
      flush = next;
    }
  }

  /** An fdatasync failed: so do the flushes that relied on it. */
  protected failFlushes(errno: number): void {
    let flush = this.#flushes.takeAll();
    while (flush !== null) {
      const next: Operation | null = flush.next;
      this.context.complete(flush, writeStatus(errno), 0);
      flush = next;
    }
  }

  protected fillSync(): void {
    this.context.queue.fill(this.sync, DiskOperation.sync, 0, 0, 0);
    this.context.statistics.syncs++;
    this.syncingChanges = this.changes;
  }

  /** Fills the slots of a list of writes and trims and chains them; returns the last. */
  protected fillChain(first: Operation): Operation {
    const { queue, statistics } = this.context;
    let last = first;
    for (let operation: Operation | null = first; operation !== null; operation = operation.next) {
      this.#fill(operation);
      if (operation !== first) {
        queue.link(last, operation);
        if (isMerge(last, operation) && queue.adjoins(last, operation)) statistics.merged++;
      }
      last = operation;
    }
    return last;
  }

  /** Reports a write or trim that failed and returns its status. */
  protected outcome(operation: Operation): BlockStatus {
    const errno = this.context.queue.error(operation);
    if (errno !== 0) {
      const request = operation.request!;
      const verb = operation.kind === BlockOperation.trim ? "trimming" : "writing";
      const range = `${request.lengthSectors} sectors at ${request.lba}`;
      this.context.faults.report(`${verb} ${range}`, errno);
    }
    return writeStatus(errno);
  }

  #fill(operation: Operation): void {
    const request = operation.request!;
    const diskOperation =
      operation.kind === BlockOperation.write ? DiskOperation.write : this.#trimOperation;
    this.context.queue.fill(
      operation,
      diskOperation,
      fileOffset(this.context, request.lba),
      operation.kind === BlockOperation.write ? request.memoryOffset : 0,
      request.lengthSectors * SECTOR_BYTES,
    );
  }
}

function isMerge(operation: Operation, next: Operation): boolean {
  return operation.kind === BlockOperation.write && next.kind === BlockOperation.write;
}
