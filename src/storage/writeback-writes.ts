import { BlockOperation, BlockStatus } from "./block-storage.ts";
import type { DiskOperation } from "./disk-queue.ts";
import { errnoName } from "../system/libc.ts";
import { type DiskContext, listLength, startJobs } from "./disk-requests.ts";
import type { Operation } from "./operation.ts";
import { WritePath } from "./write-path.ts";

/**
 * An fdatasync begins early when so much is waiting for it: it bounds what a crash can lose, and
 * keeps the kernel from slowing our writes down because too much of its memory is dirty.
 */
const UNSYNCED_LIMIT_SECTORS = (64 * 1024 * 1024) / 512;

export interface WritebackOptions {
  readonly intervalMs: number;
  readonly diskFlags: number;
  /** Called when data that was acknowledged is lost: no write may succeed from then on. */
  readonly onLost: () => void;
}

/**
 * Writes that complete when the page cache has them. A write that need not wait for the disk is
 * done at once; the others go to a thread, and while one is there all go there: they would wait
 * for the lock of the same file. An fdatasync runs beside them.
 */
export class WritebackWrites extends WritePath {
  readonly #options: WritebackOptions;
  readonly #timer: NodeJS.Timeout;
  #diskFlags: number;
  /** Jobs of writes that are under way. */
  #writeJobs = 0;
  #syncing = false;
  #syncDue = false;
  /** Of `unsyncedSectors`: those that the fdatasync under way makes durable. */
  #syncingSectors = 0;
  #lost = false;

  constructor(
    context: DiskContext,
    trimOperation: DiskOperation,
    direct: boolean,
    options: WritebackOptions,
  ) {
    super(context, trimOperation, direct);
    this.#options = options;
    this.#diskFlags = options.diskFlags;
    this.#timer = setInterval(() => this.#tick(), options.intervalMs);
    this.#timer.unref();
  }

  override get startable(): boolean {
    if (this.ready.first !== null && this.#mayWrite) return true;
    if (this.flushWaits && this.durable) return true;
    return !this.#syncing && !this.#lost && (this.flushWaits || this.#syncDue);
  }

  override get busy(): boolean {
    return this.#writeJobs > 0 || this.#syncing;
  }

  override flush(operation: Operation): void {
    if (this.#lost) this.context.complete(operation, BlockStatus.writeFault, 0);
    else super.flush(operation);
  }

  override start(): void {
    if (this.#mayWrite) this.#startWrites();
    this.completeFlushes();
    if (!this.#syncing && !this.#lost && (this.flushWaits || this.#syncDue)) this.startSync();
  }

  override startSync(): void {
    this.#syncDue = false;
    this.#syncing = true;
    this.#syncingSectors = this.context.statistics.unsyncedSectors;
    this.fillSync();
    this.context.queue.start(this.sync);
  }

  override jobDone(head: Operation): void {
    if (head === this.sync) {
      this.#syncDone();
      return;
    }
    this.#writeJobs--;
    const { queue } = this.context;
    let operation: Operation | null = head;
    while (operation !== null) {
      const following: Operation | null = queue.following(operation);
      this.#completeWrite(operation);
      operation = following;
    }
  }

  override close(): void {
    clearInterval(this.#timer);
  }

  get #mayWrite(): boolean {
    return this.direct || this.#writeJobs === 0;
  }

  #tick(): void {
    if (this.durable || this.#syncing || this.#lost) return;
    this.startSync();
    this.context.queue.submit();
  }

  #startWrites(): void {
    const first = this.ready.takeAll();
    if (first === null) return;
    if (this.#lost) {
      this.#refuse(first);
      return;
    }
    this.fillChain(first);
    const rest = this.direct ? first : this.#writeNow(first);
    if (rest === null) return;
    this.context.statistics.queued += listLength(rest);
    if (this.direct) {
      this.#writeJobs += startJobs(this.context.queue, rest);
    } else {
      this.#writeJobs = 1;
      this.context.queue.start(rest);
    }
  }

  /** Does what need not wait; returns the first that must, the others follow it. */
  #writeNow(first: Operation): Operation | null {
    if (first.kind === BlockOperation.trim) return first;
    const { queue, statistics } = this.context;
    const beforeTrim = lastBeforeTrim(first);
    const trim = beforeTrim.next;
    queue.link(beforeTrim, null);
    this.#diskFlags = queue.runNow(first, this.#diskFlags);

    let operation: Operation | null = first;
    while (operation !== trim && operation !== null && queue.error(operation) === 0) {
      const next: Operation | null = operation.next;
      statistics.inline++;
      this.#completeWrite(operation);
      operation = next;
    }
    if (operation !== trim) queue.link(beforeTrim, trim);
    return operation;
  }

  #completeWrite(operation: Operation): void {
    const status = this.outcome(operation);
    this.changes++;
    if (status === BlockStatus.ok && operation.kind === BlockOperation.write) {
      const { statistics } = this.context;
      statistics.unsyncedSectors += operation.request!.lengthSectors;
      const notSyncing = statistics.unsyncedSectors - this.#syncingSectors;
      if (notSyncing > UNSYNCED_LIMIT_SECTORS) this.#syncDue = true;
    }
    this.context.complete(operation, status, 0);
  }

  #refuse(first: Operation): void {
    let operation: Operation | null = first;
    while (operation !== null) {
      const next: Operation | null = operation.next;
      this.context.complete(operation, BlockStatus.writeFault, 0);
      operation = next;
    }
  }

  #syncDone(): void {
    this.#syncing = false;
    const { queue, statistics, faults } = this.context;
    const errno = queue.error(this.sync);
    if (errno === 0) {
      this.durableChanges = this.syncingChanges;
      statistics.unsyncedSectors -= this.#syncingSectors;
      this.#syncingSectors = 0;
      this.completeFlushes();
      return;
    }
    // The kernel forgets the data that it could not write, so a second fdatasync would succeed.
    this.#lost = true;
    faults.announce(
      `fdatasync failed with ${errnoName(errno)}: up to ${statistics.unsyncedSectors} sectors ` +
        "that were acknowledged are lost; no write is accepted until the target is started again",
    );
    this.#options.onLost();
    this.failFlushes(errno);
  }
}

function lastBeforeTrim(first: Operation): Operation {
  let operation = first;
  while (operation.next !== null && operation.next.kind !== BlockOperation.trim) {
    operation = operation.next;
  }
  return operation;
}
