import { BlockStatus } from "./block-storage.ts";
import { writeStatus } from "./disk-requests.ts";
import type { Operation } from "./operation.ts";
import { WritePath } from "./write-path.ts";

/**
 * Writes that complete when they are durable. They share the fdatasync: a group is all that came
 * in while the group before was under way, so its size follows the load.
 *
 * ```
 *   job  | pwritev … pwritev | fdatasync |  → all requests of the group complete
 * ```
 */
export class DurableWrites extends WritePath {
  #underWay = false;

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
    this.#underWay = false;
    const { queue, faults } = this.context;
    const errno = queue.error(this.sync);
    if (errno === 0) this.durableChanges = this.syncingChanges;
    else faults.report("fdatasync", errno);

    let operation = head;
    while (operation !== this.sync) {
      const following = queue.following(operation)!;
      const outcome = this.outcome(operation);
      const status = outcome === BlockStatus.ok ? writeStatus(errno) : outcome;
      this.context.complete(operation, status, 0);
      operation = following;
    }
    if (errno === 0) this.completeFlushes();
    else this.failFlushes(errno);
  }

  override close(): void {}

  #startGroup(first: Operation): void {
    const { queue, statistics } = this.context;
    for (let operation: Operation | null = first; operation !== null; operation = operation.next) {
      statistics.queued++;
      this.changes++;
    }
    const last = this.fillChain(first);
    this.fillSync();
    queue.link(last, this.sync);
    this.#begin(first);
  }

  #begin(head: Operation): void {
    this.#underWay = true;
    this.context.queue.start(head);
  }
}
