import { BlockOperation, type BlockRequest } from "./block-storage.ts";

/**
 * What a storage notes about a request that it holds: its slot in the disk's table, and its place
 * among the others. Operations are pooled; one belongs to a storage for good.
 */
export class Operation {
  /** Index in the disk's table. */
  readonly slot: number;
  request: BlockRequest | null = null;
  kind: BlockOperation = BlockOperation.read;
  /** The sectors that it touches, [lba, end): with O_DIRECT the whole blocks around a write's. */
  lba = 0;
  end = 0;
  /** Order in which requests were handed over. */
  sequence = 0;
  /** In the queue of writes already, where the order is kept: a later write need not wait. */
  ordered = false;
  /** Of a flush: how many changes must be durable before it is complete. */
  changesBefore = 0;

  /** In a queue or a free list. */
  next: Operation | null = null;
  /** Neighbours in a bucket of the overlap table. */
  older: Operation | null = null;
  newer: Operation | null = null;
  /** Neighbours among all writes and trims that are not complete, in the order of `sequence`. */
  earlierWrite: Operation | null = null;
  laterWrite: Operation | null = null;
  /** Those that wait until this one is complete, chained by their `next`. */
  waiting: Operation | null = null;
  /** Reads of the same sectors, answered together with this one, chained by their `next`. */
  followers: Operation | null = null;

  constructor(slot: number) {
    this.slot = slot;
  }

  get changesData(): boolean {
    return this.kind === BlockOperation.write || this.kind === BlockOperation.trim;
  }
}

/** First in, first out, chained by `next`. */
export class OperationQueue {
  first: Operation | null = null;
  #last: Operation | null = null;

  append(operation: Operation): void {
    operation.next = null;
    if (this.#last === null) this.first = operation;
    else this.#last.next = operation;
    this.#last = operation;
  }

  /** Empties the queue and returns what was its first operation. */
  takeAll(): Operation | null {
    const first = this.first;
    this.first = null;
    this.#last = null;
    return first;
  }
}

/** The writes and trims that are not complete, in the order in which they were handed over. */
export class PendingWrites {
  #oldest: Operation | null = null;
  #newest: Operation | null = null;

  append(operation: Operation): void {
    operation.earlierWrite = this.#newest;
    if (this.#newest === null) this.#oldest = operation;
    else this.#newest.laterWrite = operation;
    this.#newest = operation;
  }

  remove(operation: Operation): void {
    const { earlierWrite, laterWrite } = operation;
    if (earlierWrite === null) this.#oldest = laterWrite;
    else earlierWrite.laterWrite = laterWrite;
    if (laterWrite === null) this.#newest = earlierWrite;
    else laterWrite.earlierWrite = earlierWrite;
    operation.earlierWrite = null;
    operation.laterWrite = null;
  }

  /** Whether one of them was handed over before this operation. */
  precede(operation: Operation): boolean {
    return this.#oldest !== null && this.#oldest.sequence < operation.sequence;
  }
}
