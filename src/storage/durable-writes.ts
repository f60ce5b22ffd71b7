import { BlockStatus } from "./block-storage.ts";
import { listLength, startJobs, writeStatus } from "./disk-requests.ts";
import type { Operation } from "./operation.ts";
import { WritePath } from "./write-path.ts";

/**
 * Writes that complete when they are durable. They share the fdatasync: a group is all that came
 * in while the group before was under way, so its size follows the load.
 *
 * ```
 *   buffered  | pwritev … pwritev | fdatasync |  → all requests of the group complete
 *
 *   direct    | pwritev |
 *             | pwritev   |  | fdatasync |  → all requests of the group complete
 *             | pwritev |
 * ```
 */
export class DurableWrites extends WritePath {
  #underWay = false;
  /** The writes and trims under way, chained by `next`. */
  #group: Operation | null = null;
  #jobsLeft = 0;

  override get startable(): boolean {
    if (this.flushWaits && this.durable) return true;
    return !this.#underWay && (this.ready.first !== null || this.flushWaits);
  }

  override get busy(): boolean {
    return this.#underWay;
  }

  override start(): void {
    this.completeFlushes();
    if (this.#underWay) return;
    const first = this.ready.takeAll();
    if (first !== null) this.#startGroup(first);
    else if (this.flushWaits) this.startSync();
  }

  override startSync(): void {
    this.fillSync();
    this.#begin(this.sync);
  }

  override jobDone(head: Operation): void {
    if (this.direct && head !== this.sync) {
      this.#jobsLeft--;
      if (this.#jobsLeft === 0) this.startSync();
      return;
    }
    this.#underWay = false;
    const { queue, faults } = this.context;
    const errno = queue.error(this.sync);
    if (errno === 0) this.durableChanges = this.syncingChanges;
    else faults.report("fdatasync", errno);
    this.#completeGroup(errno);
    if (errno === 0) this.completeFlushes();
    else this.failFlushes(errno);
  }

  override close(): void {}

  #startGroup(first: Operation): void {
    const { queue, statistics } = this.context;
    const requests = listLength(first);
    statistics.queued += requests;
    this.changes += requests;
    this.#group = first;
    const last = this.fillChain(first);
    if (this.direct) {
      this.#underWay = true;
      this.#jobsLeft = startJobs(queue, first);
    } else {
      this.fillSync();
      queue.link(last, this.sync);
      this.#begin(first);
    }
  }

  /** @param errno of the fdatasync */
  #completeGroup(errno: number): void {
    let operation = this.#group;
    this.#group = null;
    while (operation !== null) {
      const next: Operation | null = operation.next;
      const outcome = this.outcome(operation);
      const status = outcome === BlockStatus.ok ? writeStatus(errno) : outcome;
      this.context.complete(operation, status, 0);
      operation = next;
    }
  }

  #begin(head: Operation): void {
    this.#underWay = true;
    this.context.queue.start(head);
  }
}
