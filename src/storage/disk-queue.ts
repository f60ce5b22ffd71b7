import type { FrameArena } from "../arena/frame-arena.ts";
import { type DiskHandle, shim } from "../native/shim.ts";
import type { BlockRequest } from "./block-storage.ts";
import { Operation } from "./operation.ts";

/** What a slot asks for (enum disk_operation in shim/disk.h). */
export const DiskOperation = { read: 0, write: 1, sync: 2, punch: 3, discard: 4 } as const;
export type DiskOperation = (typeof DiskOperation)[keyof typeof DiskOperation];

/** enum disk_flags in shim/disk.h. */
export const DISK_IN_MEMORY = 1;
export const DISK_NO_NOWAIT_READ = 2;

/** The errno of a request that would have waited for the disk. */
export const WOULD_BLOCK = 11;

/** struct disk_slot in shim/disk.h: four doubles, then eight integers. */
const SLOT_BYTES = 64;
const SLOT_DOUBLES = SLOT_BYTES / 8;
const SLOT_INTEGERS = SLOT_BYTES / 4;
const FILE_OFFSET = 0;
const MEMORY_OFFSET = 1;
const LENGTH = 2;
const DONE = 3;
const OPERATION = 8;
const NEXT = 9;
const ERROR = 10;
const DESCRIPTOR = 11;
const ALIGNMENT = 12;
const TRIM_ALIGNMENT = 13;
const FLAGS = 14;

/**
 * More than an arena has frames. Only slots that have been used take memory, and the one given
 * back last is used first.
 */
const SLOTS = 262_144;

/** Jobs handed to the threads, and completions taken back, in one call. */
const BATCH = 1024;

const THREADS = 16;

/** What all requests of one open disk have in common. */
export interface DiskDescriptor {
  readonly descriptor: number;
  /** 0: through the page cache; else O_DIRECT in blocks of so many bytes. */
  readonly alignmentBytes: number;
  /** Trims must be in blocks of so many bytes; 0: any. */
  readonly trimAlignmentBytes: number;
}

/**
 * The table of requests that one disk shares with the kernel and its worker threads (shim/disk.h),
 * and the way there and back. A job is a chain of slots: one request of the io_uring where that
 * takes it, else one thread runs it from head to end. Jobs are collected by `start` and handed over
 * by one `submit`.
 */
export class DiskQueue {
  readonly #doubles: Float64Array;
  readonly #integers: Int32Array;
  readonly #operations: Operation[] = [];
  #free: Operation | null = null;
  readonly #heads = new Int32Array(BATCH);
  #headCount = 0;
  readonly #completions = new Int32Array(BATCH);
  readonly #handle: DiskHandle;
  readonly #disk: DiskDescriptor;

  /**
   * @param onJobs called after each batch of finished jobs has gone through `onJob`
   * @param useRing whether an io_uring may be used; where the kernel forbids it none is
   */
  constructor(
    disk: DiskDescriptor,
    arena: FrameArena,
    onJob: (head: Operation) => void,
    onJobs: () => void,
    useRing: boolean,
  ) {
    const table = shim.mapMemory(SLOTS * SLOT_BYTES);
    this.#doubles = new Float64Array(table);
    this.#integers = new Int32Array(table);
    this.#disk = disk;
    const onCompletion = (count: number): void => {
      for (let index = 0; index < count; index++) {
        onJob(this.#operations[this.#completions[index]]);
      }
      onJobs();
    };
    const completions = this.#completions;
    const ring = useRing ? 1 : 0;
    this.#handle = shim.diskOpen(table, arena.memory, completions, THREADS, ring, onCompletion);
  }

  /** Whether requests go through an io_uring, where it takes them. */
  get usesRing(): boolean {
    return shim.diskUsesRing(this.#handle) !== 0;
  }

  /** Takes an operation from the pool. */
  take(request: BlockRequest | null): Operation {
    let operation = this.#free;
    if (operation === null) {
      if (this.#operations.length === SLOTS) throw new Error("a disk holds too many requests");
      operation = new Operation(this.#operations.length);
      this.#operations.push(operation);
    } else {
      this.#free = operation.next;
      operation.next = null;
    }
    operation.request = request;
    return operation;
  }

  release(operation: Operation): void {
    operation.request = null;
    operation.ordered = false;
    operation.next = this.#free;
    this.#free = operation;
  }

  /** Fills the slot of an operation, as a chain of its own. Offsets and lengths are in bytes. */
  fill(
    operation: Operation,
    diskOperation: DiskOperation,
    fileOffset: number,
    memoryOffset: number,
    length: number,
  ): void {
    const doubles = operation.slot * SLOT_DOUBLES;
    this.#doubles[doubles + FILE_OFFSET] = fileOffset;
    this.#doubles[doubles + MEMORY_OFFSET] = memoryOffset;
    this.#doubles[doubles + LENGTH] = length;
    const integers = operation.slot * SLOT_INTEGERS;
    this.#integers[integers + OPERATION] = diskOperation;
    this.#integers[integers + NEXT] = -1;
    this.#integers[integers + ERROR] = 0;
    this.#integers[integers + DESCRIPTOR] = this.#disk.descriptor;
    this.#integers[integers + ALIGNMENT] = this.#disk.alignmentBytes;
    this.#integers[integers + TRIM_ALIGNMENT] = this.#disk.trimAlignmentBytes;
  }

  /** Makes `next` follow `operation` in its chain; null ends the chain there. */
  link(operation: Operation, next: Operation | null): void {
    this.#integers[operation.slot * SLOT_INTEGERS + NEXT] = next === null ? -1 : next.slot;
  }

  /** The operation that follows in the chain. */
  following(operation: Operation): Operation | null {
    const slot = this.#integers[operation.slot * SLOT_INTEGERS + NEXT];
    return slot < 0 ? null : this.#operations[slot];
  }

  /** Whether `next` begins in the file where `operation` ends: then both are one disk request. */
  adjoins(operation: Operation, next: Operation): boolean {
    const end =
      this.#doubles[operation.slot * SLOT_DOUBLES + FILE_OFFSET] +
      this.#doubles[operation.slot * SLOT_DOUBLES + LENGTH];
    return this.#doubles[next.slot * SLOT_DOUBLES + FILE_OFFSET] === end;
  }

  /** 0 or the errno of an operation that has run. */
  error(operation: Operation): number {
    return this.#integers[operation.slot * SLOT_INTEGERS + ERROR];
  }

  /** Of a read that failed: the good bytes before the first bad sector. */
  doneBytes(operation: Operation): number {
    return this.#doubles[operation.slot * SLOT_DOUBLES + DONE];
  }

  /**
   * Runs what a chain of reads, or of writes, can do without waiting for the disk; the others get
   * the error WOULD_BLOCK.
   * @param flags what is known of the file system (DISK_…)
   * @returns the flags with what was learned
   */
  runNow(head: Operation, flags: number): number {
    const index = head.slot * SLOT_INTEGERS + FLAGS;
    this.#integers[index] = flags;
    shim.diskRunNow(this.#handle, head.slot);
    return this.#integers[index];
  }

  /** Notes a chain for the io_uring or the worker threads. */
  start(head: Operation): void {
    if (this.#headCount === BATCH) this.submit();
    this.#heads[this.#headCount++] = head.slot;
  }

  /** Hands over the noted chains. */
  submit(): void {
    if (this.#headCount === 0) return;
    shim.diskSubmit(this.#handle, this.#heads, this.#headCount);
    this.#headCount = 0;
  }

  /** Ends the threads; nothing may be under way. */
  close(): void {
    shim.diskClose(this.#handle);
  }
}
