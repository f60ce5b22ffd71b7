import type { FrameArena } from "../arena/frame-arena.ts";
import { UsageError } from "../errors.ts";
import {
  BlockOperation,
  type BlockRequest,
  BlockStatus,
  type BlockStorage,
  type Durability,
  emptyStorageStatistics,
  SECTOR_BYTES,
  type StorageInfo,
} from "./block-storage.ts";
import { DISK_IN_MEMORY, DiskOperation, DiskQueue } from "./disk-queue.ts";
import { type DiskContext, FaultReporter } from "./disk-requests.ts";
import { DurableWrites } from "./durable-writes.ts";
import { type Operation, OperationQueue, PendingWrites } from "./operation.ts";
import { OverlapTable } from "./overlap-table.ts";
import { ReadPath } from "./read-path.ts";
import type { WritePath } from "./write-path.ts";
import { WritebackWrites } from "./writeback-writes.ts";

const SIZE_CHECK_INTERVAL_MS = 3000;

/** What a file and a block device have in common once they are open. */
export interface OpenDisk {
  readonly descriptor: number;
  /** "file /data/disk.img" */
  readonly description: string;
  readonly readOnly: boolean;
  /** Where sector 0 lies, and how many sectors are wanted; undefined: to the end. */
  readonly offsetSectors: number;
  readonly lengthSectors: number | undefined;
  readonly sizeBytes: number;
  readonly physicalBlockBytes: number;
  /** How to trim; undefined: it cannot. */
  readonly trimOperation: DiskOperation | undefined;
  readonly trimAlignmentBytes: number;
  /** 0: through the page cache; else O_DIRECT in blocks of so many bytes. */
  readonly directAlignmentBytes: number;
  /** All of it is in memory (tmpfs): nothing waits for a disk. */
  readonly inMemory: boolean;

  currentSizeBytes(): Promise<number>;
  /** Gives it another size; a device has the size that it has. */
  readonly setSizeBytes?: (bytes: number) => Promise<void>;
  close(): Promise<void>;
}

export interface DiskStorageOptions {
  readonly durability: Durability;
  readonly writebackIntervalMs: number;
  /** Whether an io_uring may be used. */
  readonly useRing: boolean;
  /** Told in one line about faults of the disk, at most once a second. */
  readonly onFault: ((message: string) => void) | undefined;
}

/**
 * A file or a block device. This class keeps requests in order and gives them back; the paths for
 * reads and for writes move the data.
 *
 * ```
 *   handed over ─┬─► waits for an overlapping one ─┬─► read path / write path ─► completed
 *                ├─────────────────────────────────┘
 *                ├─► shares an identical read in flight ───────────────────────► completed
 *                └─► flush: waits for all earlier writes ─► fdatasync if needed ─► completed
 * ```
 */
export class DiskStorage implements BlockStorage {
  readonly statistics = emptyStorageStatistics();
  onResize: (() => void) | undefined;

  readonly #disk: OpenDisk;
  readonly #options: DiskStorageOptions;
  readonly #arena: FrameArena;
  readonly #queue: DiskQueue;
  readonly #faults: FaultReporter;
  readonly #reads: ReadPath;
  readonly #writes: WritePath;
  readonly #overlaps = new OverlapTable();
  readonly #pendingWrites = new PendingWrites();
  readonly #refused = new OperationQueue();
  readonly #flushes = new OperationQueue();
  readonly #writeBlockSectors: number;
  readonly #sizeTimer: NodeJS.Timeout;

  #info: StorageInfo;
  #sequence = 0;
  /** Requests that are not complete. */
  #held = 0;
  #advancing = false;
  #writesLost = false;
  #closed: Promise<void> | undefined;
  #onIdle: (() => void) | undefined;

  constructor(disk: OpenDisk, options: DiskStorageOptions, arena: FrameArena) {
    this.#disk = disk;
    this.#options = options;
    this.#arena = arena;
    this.#info = this.#describe(disk.sizeBytes);
    this.#faults = new FaultReporter(disk.description, options.onFault);
    this.#queue = new DiskQueue(
      {
        descriptor: disk.descriptor,
        alignmentBytes: disk.directAlignmentBytes,
        trimAlignmentBytes: disk.trimAlignmentBytes,
      },
      arena,
      (head) => this.#jobDone(head),
      () => this.#jobsDone(),
      options.useRing,
    );
    // A write that covers a block in part rewrites all of it when the page cache is not there.
    this.#writeBlockSectors = Math.max(1, disk.directAlignmentBytes / SECTOR_BYTES);

    const context: DiskContext = {
      queue: this.#queue,
      statistics: this.statistics,
      startBytes: disk.offsetSectors * SECTOR_BYTES,
      complete: (operation, status, failedLba) => this.#complete(operation, status, failedLba),
      faults: this.#faults,
    };
    const diskFlags = disk.inMemory ? DISK_IN_MEMORY : 0;
    const direct = disk.directAlignmentBytes > 0;
    this.#reads = new ReadPath(context, direct, diskFlags);
    this.#writes = this.#createWritePath(context, direct, diskFlags);
    this.#sizeTimer = setInterval(() => void this.checkSize(), SIZE_CHECK_INTERVAL_MS);
    this.#sizeTimer.unref();
  }

  info(): StorageInfo {
    return this.#info;
  }

  /** Whether requests go through an io_uring, where it takes them. */
  get usesRing(): boolean {
    return this.#queue.usesRing;
  }

  read(request: BlockRequest): void {
    const operation = this.#take(request, BlockOperation.read);
    if (!this.#admit(operation)) return;
    const blocker = this.#overlaps.findBlocker(operation);
    const identical = this.#overlaps.identicalRead(blocker);
    if (identical !== null) {
      this.statistics.coalesced++;
      operation.next = identical.followers;
      identical.followers = operation;
      return;
    }
    this.#place(operation, blocker);
  }

  write(request: BlockRequest): void {
    this.#change(request, BlockOperation.write);
  }

  trim(request: BlockRequest): void {
    this.#change(request, BlockOperation.trim);
  }

  flush(request: BlockRequest): void {
    const operation = this.#take(request, BlockOperation.flush);
    if (this.#admit(operation)) this.#flushes.append(operation);
  }

  submit(): void {
    if (this.#advancing) return;
    this.#advancing = true;
    this.#advance();
    this.#advancing = false;
  }

  /** Looks now whether the file or device has another size; done every few seconds anyway. */
  async checkSize(): Promise<void> {
    if (this.#closed !== undefined) return;
    let sizeBytes: number;
    try {
      sizeBytes = await this.#disk.currentSizeBytes();
    } catch (error) {
      if (this.#closed !== undefined) return;
      this.#faults.announce(`its size cannot be read: ${String(error)}`);
      return;
    }
    const info = this.#describe(sizeBytes);
    if (info.sectors === this.#info.sectors || this.#closed !== undefined) return;
    this.#info = info;
    this.onResize?.();
  }

  async resize(sectors: number): Promise<void> {
    const { description, offsetSectors, lengthSectors, readOnly, setSizeBytes } = this.#disk;
    if (lengthSectors !== undefined) {
      throw new UsageError(`${description}: its length is set; set another length instead`);
    }
    if (setSizeBytes === undefined) {
      throw new UsageError(
        `${description} has the size that the device has: it is followed by itself`,
      );
    }
    if (readOnly) throw new UsageError(`${description} is read-only: its size cannot be changed`);
    await setSizeBytes((offsetSectors + sectors) * SECTOR_BYTES);
    await this.checkSize();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    clearInterval(this.#sizeTimer);
    this.submit();
    while (this.#held > 0 || this.#writes.busy) await this.#idle();
    if (!this.#disk.readOnly && !this.#writes.durable && !this.#writesLost) {
      this.#writes.startSync();
      this.#queue.submit();
      await this.#idle();
    }
    this.#writes.close();
    this.#queue.close();
    await this.#disk.close();
    if (this.#writesLost) {
      throw new Error(`${this.#disk.description}: acknowledged writes could not be made durable`);
    }
  }

  /** Resolves after the next batch of jobs. */
  #idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #createWritePath(context: DiskContext, direct: boolean, diskFlags: number): WritePath {
    const trimOperation = this.#disk.trimOperation ?? DiskOperation.punch;
    if (this.#options.durability === "durable") {
      return new DurableWrites(context, trimOperation, direct);
    }
    return new WritebackWrites(context, trimOperation, direct, {
      intervalMs: this.#options.writebackIntervalMs,
      diskFlags,
      onLost: () => {
        this.#writesLost = true;
      },
    });
  }

  #describe(sizeBytes: number): StorageInfo {
    const { description, offsetSectors, lengthSectors, readOnly, physicalBlockBytes } = this.#disk;
    const available = Math.max(0, Math.floor(sizeBytes / SECTOR_BYTES) - offsetSectors);
    return {
      description,
      sectors: Math.min(available, lengthSectors ?? available),
      physicalBlockBytes,
      readOnly,
      canTrim: this.#disk.trimOperation !== undefined && !readOnly,
      durability: this.#options.durability,
    };
  }

  #take(request: BlockRequest, kind: BlockOperation): Operation {
    this.#held++;
    request.operation = kind;
    const operation = this.#queue.take(request);
    operation.kind = kind;
    operation.sequence = ++this.#sequence;
    operation.lba = request.lba;
    operation.end = request.lba + request.lengthSectors;
    return operation;
  }

  /** Whether the storage takes the request; if not, it is given back by the next `submit`. */
  #admit(operation: Operation): boolean {
    const request = operation.request!;
    if (this.#closed !== undefined) request.status = BlockStatus.unavailable;
    else if (operation.kind !== BlockOperation.read && this.#writesLost) {
      request.status = BlockStatus.writeFault;
    } else if (operation.kind === BlockOperation.flush || operation.end <= this.#info.sectors) {
      return true;
    } else {
      // The disk shrank after the caller looked at `info`.
      const isRead = operation.kind === BlockOperation.read;
      request.status = isRead ? BlockStatus.unreadable : BlockStatus.writeFault;
      request.failedLba = Math.max(request.lba, this.#info.sectors);
    }
    this.#refused.append(operation);
    return false;
  }

  #change(request: BlockRequest, kind: BlockOperation): void {
    const operation = this.#take(request, kind);
    if (!this.#admit(operation)) return;
    const block = this.#writeBlockSectors;
    if (block > 1) {
      operation.lba -= operation.lba % block;
      operation.end = Math.ceil(operation.end / block) * block;
    }
    this.#pendingWrites.append(operation);
    this.#place(operation, this.#overlaps.findBlocker(operation));
  }

  #place(operation: Operation, blocker: Operation | null): void {
    this.#overlaps.insert(operation);
    if (blocker === null) {
      this.#makeReady(operation);
    } else {
      this.statistics.delayed++;
      park(operation, blocker);
    }
  }

  #makeReady(operation: Operation): void {
    if (operation.kind === BlockOperation.read) this.#reads.append(operation);
    else this.#writes.append(operation);
  }

  /** Starts and completes what can be, until nothing is left but what waits for the disk. */
  #advance(): void {
    while (this.#reads.ready || this.#releaseFlushes() || this.#refused.first !== null) {
      this.#completeRefused();
      this.#reads.start();
      this.#writes.start();
    }
    this.#queue.submit();
  }

  /** Hands flushes on whose earlier writes are complete. @returns whether writes can begin */
  #releaseFlushes(): boolean {
    let flush = this.#flushes.first;
    if (flush !== null && !this.#pendingWrites.precede(flush)) {
      flush = this.#flushes.takeAll();
      while (flush !== null) {
        const next: Operation | null = flush.next;
        if (!this.#pendingWrites.precede(flush)) this.#writes.flush(flush);
        else this.#flushes.append(flush);
        flush = next;
      }
    }
    return this.#writes.startable;
  }

  #completeRefused(): void {
    let operation = this.#refused.takeAll();
    while (operation !== null) {
      const next: Operation | null = operation.next;
      const request = operation.request!;
      this.statistics.faults++;
      this.#giveBack(operation, request.status, request.failedLba);
      operation = next;
    }
  }

  #jobDone(head: Operation): void {
    this.#advancing = true;
    if (head.kind === BlockOperation.read) this.#reads.jobDone(head);
    else this.#writes.jobDone(head);
  }

  #jobsDone(): void {
    this.#advance();
    this.#advancing = false;
    const onIdle = this.#onIdle;
    this.#onIdle = undefined;
    onIdle?.();
  }

  #complete(operation: Operation, status: BlockStatus, failedLba: number): void {
    if (status !== BlockStatus.ok) this.statistics.faults++;
    if (operation.kind !== BlockOperation.flush) this.#overlaps.remove(operation);
    if (operation.changesData) this.#pendingWrites.remove(operation);
    this.#wakeWaiting(operation);
    let follower = operation.followers;
    operation.followers = null;
    while (follower !== null) {
      const next: Operation | null = follower.next;
      if (status === BlockStatus.ok) this.#copyData(operation.request!, follower.request!);
      this.#giveBack(follower, status, failedLba);
      follower = next;
    }
    this.#giveBack(operation, status, failedLba);
  }

  #giveBack(operation: Operation, status: BlockStatus, failedLba: number): void {
    const request = operation.request!;
    this.#queue.release(operation);
    this.#held--;
    request.status = status;
    request.failedLba = failedLba;
    request.completed();
  }

  #wakeWaiting(operation: Operation): void {
    let waiting = operation.waiting;
    operation.waiting = null;
    while (waiting !== null) {
      const next: Operation | null = waiting.next;
      const blocker = this.#overlaps.findBlocker(waiting);
      if (blocker === null) this.#makeReady(waiting);
      else park(waiting, blocker);
      waiting = next;
    }
  }

  #copyData(from: BlockRequest, to: BlockRequest): void {
    const end = from.memoryOffset + from.lengthSectors * SECTOR_BYTES;
    this.#arena.bytes.copyWithin(to.memoryOffset, from.memoryOffset, end);
  }
}

/** Lets an operation wait until `blocker` is complete. */
function park(operation: Operation, blocker: Operation): void {
  operation.next = blocker.waiting;
  blocker.waiting = operation;
}
