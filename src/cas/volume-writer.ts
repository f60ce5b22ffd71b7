import type { BlobStore, StoreFault } from "../blob/blob-store.ts";
import {
  BlockOperation,
  type BlockRequest,
  BlockStatus,
  SECTOR_BYTES,
  type StorageStatistics,
} from "../storage/block-storage.ts";
import { finishConfirmed, finishRequests, statusOf } from "./finish-requests.ts";
import { GroupBatch, type GroupOutcome } from "./group-batch.ts";
import { GroupNames } from "./group-names.ts";
import { encodeChanges } from "./notes.ts";
import type { VolumeState } from "./volume-state.ts";
import { WriteGroup } from "./write-group.ts";

export interface WriterOptions {
  /** Acknowledge when another machine would find it; see `BlobStore.confirm`. */
  readonly remote: boolean;
  /** Acknowledge when the data is in memory; `writebackLimitBytes` bounds what may be lost. */
  readonly writeback: boolean;
  readonly writebackLimitBytes: number;
  /** Room of a group of writes. */
  readonly groupBytes: number;
}

/** Reads the old content of a block below the groups given; see VolumeReader. */
export type OldContent = (
  block: number,
  below: number,
  target: Uint8Array,
  done: (isRead: boolean) => void,
) => void;

const RETRY_MS = 1000;
/** Groups handed to the store and not yet in it: enough that it never waits for the next one. */
const MOST_APPENDED = 8;
/** Groups that take no more acknowledged writes: each is looked through by every read. */
const MOST_WAITING = 16;
/**
 * Where a commit takes little time, large groups are cut into pieces of this size: one is being
 * named while the one before is on its way to the disk. Elsewhere one large group is better.
 */
const PIECE_BYTES = 256 * 1024;
const QUICK_COMMIT_MS = 1;
/** Acknowledged data begins to become durable long before the limit: nobody waits for all of it. */
const SYNC_STEP_BYTES = 8 * 1024 * 1024;

/**
 * Collects writes into groups: while some are on their way to the disk, the next one fills. A group
 * is named as a whole, and becomes one append. Groups take effect in their order; when one fails,
 * those behind it that were handed over already fail with it.
 */
export class VolumeWriter implements GroupOutcome {
  /** Groups on their way, oldest first; the last one may still take writes. */
  readonly groups: WriteGroup[] = [];
  readonly #state: VolumeState;
  readonly #store: BlobStore;
  readonly #options: WriterOptions;
  readonly #memory: Uint8Array;
  readonly #statistics: StorageStatistics;
  readonly #names: GroupNames;
  readonly #free: WriteGroup[] = [];
  readonly #freeBatches: GroupBatch[] = [];
  /** Batches that the store has, oldest first; they belong to the first groups. */
  readonly #appended: GroupBatch[] = [];
  #open: WriteGroup | undefined;
  /** The group behind those, while blocks that are written in part get their old content. */
  #completing: WriteGroup | undefined;
  #oldContent: OldContent = () => {};
  /** Called when a group has taken effect. */
  onCommitted: (group: WriteGroup) => void = () => {};
  /** Called when one has not. */
  onFailed: (fault: StoreFault) => void = () => {};
  #held = 0;
  #idle: (() => void) | undefined;
  #isNextDue = false;
  /** An append failed, and not all behind it have come back yet. */
  #isBroken = false;
  /** Acknowledged writes that the store could not take; it is asked again from time to time. */
  #stalled: StoreFault | undefined;
  /** How long a commit takes, lately. */
  #commitMs = 0;
  /** Acknowledged since the last group that is to be durable. */
  #sectorsSinceSync = 0;

  constructor(
    state: VolumeState,
    store: BlobStore,
    memory: Uint8Array,
    statistics: StorageStatistics,
    options: WriterOptions,
  ) {
    this.#state = state;
    this.#store = store;
    this.#memory = memory;
    this.#statistics = statistics;
    this.#options = options;
    this.#names = new GroupNames(state.record.blockBytes);
  }

  set oldContent(oldContent: OldContent) {
    this.#oldContent = oldContent;
  }

  get #capacity(): number {
    return Math.max(4, Math.floor(this.#options.groupBytes / this.#state.record.blockBytes));
  }

  write(request: BlockRequest): void {
    const { lba, lengthSectors, memoryOffset } = request;
    const group = this.#groupFor(lba, lengthSectors);
    if (group === undefined) return this.#refuse(request);
    group.write(lba, lengthSectors, this.#memory, memoryOffset);
    return this.#accept(group, request);
  }

  /** Whole blocks are zeroed as a range; the sectors at its ends as writes of zeros. */
  trim(request: BlockRequest): void {
    const sectors = this.#state.record.blockBytes / SECTOR_BYTES;
    const { lba, lengthSectors } = request;
    const end = lba + lengthSectors;
    const first = Math.ceil(lba / sectors);
    const isWholeTail = end === this.#state.record.sizeBytes / SECTOR_BYTES;
    const last = isWholeTail ? Math.ceil(end / sectors) : Math.floor(end / sectors);
    if (first >= last) {
      const part = this.#groupFor(lba, lengthSectors);
      if (part === undefined) return this.#refuse(request);
      part.write(lba, lengthSectors, null, 0);
      return this.#accept(part, request);
    }
    const group = this.#groupFor(0, 2 * sectors);
    if (group === undefined) return this.#refuse(request);
    if (lba < first * sectors) group.write(lba, first * sectors - lba, null, 0);
    if (last * sectors < end) group.write(last * sectors, end - last * sectors, null, 0);
    group.zero(first, last - first);
    return this.#accept(group, request);
  }

  flush(request: BlockRequest): void {
    if (this.#stalled !== undefined) return this.#refuse(request);
    const isDone = this.groups.length === 0 && this.#statistics.unsyncedSectors === 0;
    if (isDone) return this.#finish(request, () => BlockStatus.ok);
    const group = this.#openGroup();
    group.durable = true;
    return group.hold(request);
  }

  /** Makes what was acknowledged so far durable, without anybody waiting for it. */
  sync(): void {
    if (this.#statistics.unsyncedSectors === 0 || this.#stalled !== undefined) return;
    this.#makeDurable(this.#openGroup());
    this.submit();
  }

  #refuse(request: BlockRequest): void {
    request.status = statusOf(this.#stalled);
    this.#statistics.faults++;
    request.completed();
  }

  #accept(group: WriteGroup, request: BlockRequest): void {
    if (!this.#options.writeback || this.#isOverLimit() || this.#mayHaveOtherOwner) {
      group.durable = true;
      group.hold(request);
      return;
    }
    this.#acknowledge(group, request);
  }

  #acknowledge(group: WriteGroup, request: BlockRequest): void {
    group.acknowledgedSectors += request.lengthSectors;
    this.#statistics.unsyncedSectors += request.lengthSectors;
    this.#sectorsSinceSync += request.lengthSectors;
    if (this.#sectorsSinceSync * SECTOR_BYTES >= this.#syncStepBytes) this.#makeDurable(group);
    request.status = BlockStatus.ok;
    request.completed();
  }

  get #syncStepBytes(): number {
    return Math.min(SYNC_STEP_BYTES, this.#options.writebackLimitBytes / 4);
  }

  #makeDurable(group: WriteGroup): void {
    group.durable = true;
    this.#sectorsSinceSync = 0;
  }

  /** Then an acknowledgement waits until the store has made sure that it is ours. */
  get #mayHaveOtherOwner(): boolean {
    return this.#store.isOurs === false;
  }

  #isOverLimit(): boolean {
    const unsynced = this.#statistics.unsyncedSectors * SECTOR_BYTES;
    return unsynced >= this.#options.writebackLimitBytes || this.groups.length > MOST_WAITING;
  }

  /** Acknowledges writes that waited for room, oldest first, as room comes. */
  #admit(): void {
    if (!this.#options.writeback || this.#stalled !== undefined || this.#mayHaveOtherOwner) return;
    for (const group of this.groups) {
      while (!this.#isOverLimit()) {
        const request = group.takeWrite();
        if (request === null) break;
        this.#acknowledge(group, request);
      }
    }
  }

  /** The open group, or a new one when the blocks of this request have no room in it. */
  #groupFor(lba: number, lengthSectors: number): WriteGroup | undefined {
    if (this.#stalled !== undefined) return undefined;
    const sectors = this.#state.record.blockBytes / SECTOR_BYTES;
    const blocks = Math.ceil((lba + lengthSectors) / sectors) - Math.floor(lba / sectors);
    if (this.#open !== undefined && this.#isFull(this.#open, blocks)) this.#open = undefined;
    return this.#openGroup(blocks);
  }

  #isFull(group: WriteGroup, blocks: number): boolean {
    if (!group.hasRoom(blocks)) return true;
    const isPiece = group.usedBytes >= PIECE_BYTES && this.#commitMs < QUICK_COMMIT_MS;
    return isPiece && this.groups.length < MOST_APPENDED;
  }

  #openGroup(blocks = 0): WriteGroup {
    if (this.#open !== undefined) return this.#open;
    const free = blocks <= this.#capacity ? this.#free.pop() : undefined;
    const { blockBytes } = this.#state.record;
    const group = free ?? new WriteGroup(blockBytes, Math.max(blocks, this.#capacity));
    this.groups.push(group);
    this.#open = group;
    return group;
  }

  /**
   * Hands the next group to the store. Another one follows in a later turn of the event loop: the
   * store begins to write this one before the next is named.
   */
  submit(): void {
    if (this.#completing !== undefined || this.#held > 0 || this.#isBroken) return;
    if (this.#stalled !== undefined) return;
    const index = this.#appended.length;
    const group = this.groups[index];
    if (group === undefined || index >= MOST_APPENDED) return;
    // The rest of a block that is written in part may come before it is this group's turn.
    const mayGrow = group.isEmpty || group.hasIncompleteBlocks;
    if (index > 0 && group === this.#open && mayGrow) return;
    if (group === this.#open) this.#open = undefined;
    if (group.isEmpty) this.#drop(group);
    else this.#complete(group, index);
    if (this.groups.length > this.#appended.length) this.#submitNext();
  }

  #submitNext(): void {
    if (this.#isNextDue) return;
    this.#isNextDue = true;
    setImmediate(() => {
      this.#isNextDue = false;
      this.submit();
    });
  }

  #drop(group: WriteGroup): void {
    this.groups.splice(this.groups.indexOf(group), 1);
    if (group === this.#open) this.#open = undefined;
    group.reset();
    const isUsual = group.capacity === this.#capacity;
    if (isUsual && this.#free.length < MOST_APPENDED) this.#free.push(group);
  }

  /** Blocks that are written in part get the rest from what is stored. */
  #complete(group: WriteGroup, below: number): void {
    this.#completing = group;
    let waiting = 1;
    const finished = (): void => {
      if (--waiting > 0) return;
      this.#completing = undefined;
      this.#append(group);
    };
    group.forEachIncomplete((block, slot) => {
      waiting++;
      const old = new Uint8Array(group.blockBytes);
      this.#oldContent(block, below, old, (isRead) => {
        if (isRead) group.complete(slot, old, 0);
        else group.failedBlocks.add(block);
        finished();
      });
    });
    if (waiting > 1) this.#store.submit();
    finished();
  }

  #append(group: WriteGroup): void {
    // A rollback may have made the volume smaller while the group waited.
    group.cutTo(this.#state.record.sizeBytes);
    for (const block of group.failedBlocks) group.slots.delete(block);
    const batch = this.#freeBatches.pop() ?? new GroupBatch(this.#capacity, this);
    batch.begin(group);
    this.#names.nameBlocks(group, batch);
    if (group.hasChanges) {
      const { id } = this.#state;
      batch.notes.push(encodeChanges(id, group.zeroRanges, group.slots, group.hashes));
    }
    if (batch.durable) this.#statistics.syncs++;
    this.#appended.push(batch);
    this.#store.append(batch);
    if (this.groups.length > this.#appended.length) this.#submitNext();
  }

  /** The group is in the log. */
  committed(batch: GroupBatch): void {
    const { group } = batch;
    const [note] = batch.notes;
    if (note !== undefined) this.#state.apply(note);
    this.#commitMs += (performance.now() - batch.beganMs - this.#commitMs) / 16;
    this.onCommitted(group);
    const { failedBlocks } = group;
    const failed = failedBlocks.size > 0 ? new Set(failedBlocks) : undefined;
    const sectors = this.#state.record.sizeBytes / SECTOR_BYTES;
    if (batch.durable) this.#statistics.unsyncedSectors = this.#acknowledgedBehind(group);
    const first = group.releaseRequests();
    this.#release(batch);
    this.#drop(group);
    this.#finish(first, (request) => {
      const isFlush = request.operation === BlockOperation.flush;
      if (isFlush) return BlockStatus.ok;
      const isBeyondEnd = request.lba + request.lengthSectors > sectors;
      const isFailed = failed !== undefined && group.touches(request, failed);
      return isBeyondEnd || isFailed ? BlockStatus.writeFault : BlockStatus.ok;
    });
    this.#admit();
    this.submit();
    this.#wake();
  }

  #release(batch: GroupBatch): void {
    this.#appended.splice(this.#appended.indexOf(batch), 1);
    batch.clear();
    this.#freeBatches.push(batch);
  }

  /** A durable group makes what came before it durable; what is in later groups is not. */
  #acknowledgedBehind(group: WriteGroup): number {
    let sectors = 0;
    for (const later of this.groups) if (later !== group) sectors += later.acknowledgedSectors;
    return sectors;
  }

  /**
   * The group is not in the log, and none that was handed over after it may be. What was
   * acknowledged already is kept, and tried again.
   */
  failed(batch: GroupBatch, fault: StoreFault): void {
    const { group } = batch;
    if (!this.#isBroken) this.onFailed(fault);
    const first = group.releaseRequests();
    this.#release(batch);
    for (const behind of this.#appended) behind.cancelled ??= fault;
    this.#isBroken = this.#appended.length > 0;
    if (group.acknowledgedSectors > 0 && fault.kind !== "unavailable") this.#stall(fault);
    else this.#drop(group);
    finishRequests(first, () => statusOf(fault), this.#statistics);
    this.submit();
    this.#wake();
  }

  #stall(fault: StoreFault): void {
    if (this.#stalled !== undefined) return;
    this.#stalled = fault;
    setTimeout(() => {
      this.#stalled = undefined;
      this.submit();
    }, RETRY_MS).unref();
  }

  #finish(first: BlockRequest | null, statusFor: (request: BlockRequest) => BlockStatus): void {
    finishConfirmed(this.#store, this.#options.remote, first, statusFor, this.#statistics);
  }

  /** No group is begun until `release`; resolves when none is under way. */
  async hold(): Promise<void> {
    this.#held++;
    while (this.#completing !== undefined || this.#appended.length > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
  }

  release(): void {
    this.#held--;
    this.submit();
  }

  #wake(): void {
    const idle = this.#idle;
    this.#idle = undefined;
    idle?.();
  }
}
