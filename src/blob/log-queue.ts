import { frameShare } from "./frame-builder.ts";
import type { QueuedBatch } from "./queued-batch.ts";
import type { BlobBatch, StoreFault } from "./blob-store.ts";

export interface QueuedCheckpoint {
  readonly image: () => Uint8Array;
  readonly resolve: () => void;
  readonly reject: (fault: StoreFault) => void;
}

/** What goes into one frame. */
export interface FrameBatches {
  readonly batches: QueuedBatch[];
  /** The sum of their `frameShare`. */
  readonly bytes: number;
}

/**
 * What waits for its turn in the log, in order; and the batches of the last frame, whose owners are
 * told that it is written when the next one is on its way to the disk, or nothing else is to be done.
 */
export class LogQueue {
  readonly #queue: (QueuedBatch | QueuedCheckpoint)[] = [];
  #written: QueuedBatch[] = [];

  push(queued: QueuedBatch | QueuedCheckpoint): void {
    this.#queue.push(queued);
  }

  /** The head of the queue. Owners that are told of the frame before may bring more. */
  get first(): QueuedBatch | QueuedCheckpoint | undefined {
    if (this.#queue.length === 0) this.acknowledge();
    return this.#queue[0];
  }

  shift(): void {
    this.#queue.shift();
  }

  /** The first batch does not go into the log. */
  fail(batch: BlobBatch, fault: StoreFault): void {
    this.acknowledge();
    this.shift();
    batch.failed(fault);
  }

  /** The batches at the head of the queue that go into one frame. */
  takeBatches(mostBytes: number): FrameBatches {
    const batches: QueuedBatch[] = [];
    let bytes = 0;
    for (const queued of this.#queue) {
      if ("image" in queued) break;
      const share = frameShare(queued.batch);
      const first = batches[0];
      if (first !== undefined) {
        if (bytes + share > mostBytes) break;
        if (!queued.isReady || queued.batch.cancelled !== undefined) break;
        if (queued.batch.privileged !== first.batch.privileged) break;
      }
      batches.push(queued);
      bytes += share;
    }
    this.#queue.splice(0, batches.length);
    return { batches, bytes };
  }

  /** The frame with these is in the log. */
  written(batches: QueuedBatch[]): void {
    this.acknowledge();
    this.#written = batches;
  }

  /** Tells the owners, before anything that takes long. @returns whether there were any */
  acknowledge(): boolean {
    const written = this.#written;
    if (written.length === 0) return false;
    this.#written = [];
    for (const { batch } of written) batch.appended();
    return true;
  }
}
