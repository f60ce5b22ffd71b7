import { BlockOperation } from "./block-storage.ts";
import type { Operation } from "./operation.ts";

/** A region is 32 sectors (16 KiB): most requests lie in one or two. */
const REGION_SECTORS = 32;
const BUCKETS = 4096;

/**
 * The reads, writes and trims of one disk that are not complete, found by the sectors they touch.
 *
 * An operation of at most one region's length is kept in the bucket of the region where it begins,
 * so whatever overlaps [lba, end) begins in one of those regions or in the one before. The few that
 * are longer are kept apart and looked at every time.
 */
export class OverlapTable {
  readonly #buckets: (Operation | null)[] = Array.from({ length: BUCKETS }, () => null);
  #long: Operation | null = null;
  #count = 0;
  /** The newest identical read that `findBlocker` came across; valid until the next call. */
  #identical: Operation | null = null;

  /** Operations in the table. */
  get count(): number {
    return this.#count;
  }

  insert(operation: Operation): void {
    this.#count++;
    const newest = this.#head(operation);
    operation.older = newest;
    operation.newer = null;
    if (newest !== null) newest.newer = operation;
    this.#setHead(operation, operation);
  }

  remove(operation: Operation): void {
    this.#count--;
    if (operation.newer === null) this.#setHead(operation, operation.older);
    else operation.newer.older = operation.older;
    if (operation.older !== null) operation.older.newer = operation.newer;
    operation.older = null;
    operation.newer = null;
  }

  /** The last operation before this one that must be complete before this one may begin. */
  findBlocker(operation: Operation): Operation | null {
    this.#identical = null;
    if (this.#count === 0) return null;
    let blocker = this.#searchChain(operation, this.#long, null);
    const first = region(operation.lba) - 1;
    // A very long operation covers every bucket; each is looked at once.
    const last = Math.min(region(operation.end - 1), first + BUCKETS - 1);
    for (let index = first; index <= last; index++) {
      blocker = this.#searchChain(operation, this.#buckets[bucketOf(index)], blocker);
    }
    return blocker;
  }

  /**
   * After `findBlocker(read)`: a read in flight of exactly the same sectors whose data this read
   * may share, because nothing that changes the data lies between the two.
   */
  identicalRead(blocker: Operation | null): Operation | null {
    const identical = this.#identical;
    if (identical === null || (blocker !== null && blocker.sequence > identical.sequence)) {
      return null;
    }
    return identical;
  }

  #searchChain(
    operation: Operation,
    newest: Operation | null,
    found: Operation | null,
  ): Operation | null {
    let blocker = found;
    for (let other = newest; other !== null; other = other.older) {
      if (other.sequence >= operation.sequence) continue;
      if (other.end <= operation.lba || other.lba >= operation.end) continue;
      if (mustWait(operation, other)) {
        if (blocker === null || other.sequence > blocker.sequence) blocker = other;
      } else if (isSameRead(operation, other)) {
        const known = this.#identical;
        if (known === null || other.sequence > known.sequence) this.#identical = other;
      }
    }
    return blocker;
  }

  #head(operation: Operation): Operation | null {
    return isLong(operation) ? this.#long : this.#buckets[bucketOf(region(operation.lba))];
  }

  #setHead(operation: Operation, head: Operation | null): void {
    if (isLong(operation)) this.#long = head;
    else this.#buckets[bucketOf(region(operation.lba))] = head;
  }
}

function mustWait(operation: Operation, other: Operation): boolean {
  if (operation.changesData) return !(other.changesData && other.ordered);
  return other.changesData;
}

function isSameRead(operation: Operation, other: Operation): boolean {
  return (
    operation.kind === BlockOperation.read &&
    other.kind === BlockOperation.read &&
    other.lba === operation.lba &&
    other.end === operation.end
  );
}

function isLong(operation: Operation): boolean {
  return operation.end - operation.lba > REGION_SECTORS;
}

/** LBAs have up to 48 bits: no shift, which would cut them to 32. */
function region(lba: number): number {
  return Math.floor(lba / REGION_SECTORS);
}

function bucketOf(regionIndex: number): number {
  return (regionIndex + BUCKETS) % BUCKETS;
}
