import type { BlobStore, StoreFault } from "../blob/blob-store.ts";
import {
  type BlockRequest,
  BlockStatus,
  SECTOR_BYTES,
  type StorageStatistics,
} from "../storage/block-storage.ts";
import { finishConfirmed, finishRequests, statusInLog, statusOf } from "./finish-requests.ts";
import { GroupBatch, type GroupOutcome } from "./group-batch.ts";
import { GroupNames } from "./group-names.ts";
import { GroupPool } from "./group-pool.ts";
import { encodeChanges } from "./notes.ts";
import { faultOf, fillIn, type OldBlock, type OldContent, readOldBlocks } from "./old-blocks.ts";
import type { VolumeState } from "./volume-state.ts";
import type { WriteGroup } from "./write-group.ts";
import { WritebackLimit } from "./writeback-limit.ts";

export interface WriterOptions {
  /** Acknowledge when another machine would find it; see `BlobStore.confirm`. */
  readonly remote: boolean;
  /** Acknowledge when the data is in memory; `writebackLimitBytes` bounds what may be lost. */
  readonly writeback: boolean;
  readonly writebackLimitBytes: number;
  /** Room of a group of writes. */
  readonly groupBytes: number;
}

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
  readonly #limit: WritebackLimit;
  readonly #pool: GroupPool;
  readonly #freeBatches: GroupBatch[] = [];
  /** Batches that the store has, oldest first; they belong to the first groups. */
  readonly #appended: GroupBatch[] = [];
  #open: WriteGroup | undefined;
  /** The group behind those, while blocks that are written in part get their old content. */
  #completing: WriteGroup | undefined;
  oldContent: OldContent = () => {};
  /** Called when a group has taken effect. */
  onCommitted: (group: WriteGroup) => void = () => {};
  /** Called when one has not. */
  onFailed: (fault: StoreFault) => void = () => {};
  /** Acknowledged, and will never be in the store. */
  lostSectors = 0;
  #held = 0;
  #idle: PromiseWithResolvers<void> | undefined;
  #isNextDue = false;
  #isStopped = false;
  /** Acknowledged writes that the store could not take; it is asked again from time to time. */
  #stalled: StoreFault | undefined;
  /** The same until the store has taken one of them: meanwhile nothing more is acknowledged early. */
  #unstored: StoreFault | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** How long a commit takes, lately. */
  #commitMs = 0;

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
    this.#pool = new GroupPool(state.record.blockBytes, options.groupBytes, MOST_APPENDED);
    this.#limit = new WritebackLimit(statistics, options.writebackLimitBytes);
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
    this.#limit.makeDurable(this.#openGroup());
    this.submit();
  }

  #refuse(request: BlockRequest): void {
    request.status = statusOf(this.#stalled);
    this.#statistics.faults++;
    request.completed();
  }

  #accept(group: WriteGroup, request: BlockRequest): void {
    if (!this.#mayAcknowledge || this.#isOverLimit()) {
      group.durable = true;
      group.hold(request);
      return;
    }
    this.#limit.acknowledge(group, request);
  }

  /** Before it is stored; not while the store takes nothing, or must make sure that it is ours. */
  get #mayAcknowledge(): boolean {
    if (!this.#options.writeback || this.#unstored !== undefined) return false;
    return this.#store.isOurs !== false;
  }

  #isOverLimit(): boolean {
    return this.#limit.isReached || this.groups.length > MOST_WAITING;
  }

  /** Acknowledges writes that waited for room, oldest first, as room comes. */
  #admit(): void {
    if (!this.#mayAcknowledge) return;
    for (const group of this.groups) {
      // What is in these does not go into the store: whoever waits is told so.
      if (group.failedBlocks.size > 0) return;
      while (!this.#isOverLimit()) {
        const request = group.takeWrite();
        if (request === null) break;
        this.#limit.acknowledge(group, request);
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
    const group = this.#pool.take(blocks);
    this.groups.push(group);
    this.#open = group;
    return group;
  }

  /**
   * Hands the next group to the store. Another one follows in a later turn of the event loop: the
   * store begins to write this one before the next is named.
   */
  submit(): void {
    if (this.#completing !== undefined || this.#held > 0 || !this.#mayAppend) return;
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

  /** Not while a group that failed is to be tried again, nor before all behind it have come back. */
  get #mayAppend(): boolean {
    if (this.#stalled !== undefined || this.#isStopped) return false;
    return this.#appended.every(({ cancelled }) => cancelled === undefined);
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
    this.#pool.give(group);
  }

  /** Blocks that are written in part get the rest from what is stored. */
  #complete(group: WriteGroup, below: number): void {
    this.#completing = group;
    readOldBlocks(group, below, this.oldContent, this.#store, (blocks) => {
      this.#completing = undefined;
      this.#completed(group, blocks);
    });
  }

  /**
   * Meanwhile a group before this one may have failed, and must be tried again first: then what was
   * read is forgotten, as by then it may be something else.
   */
  #completed(group: WriteGroup, blocks: readonly OldBlock[]): void {
    if (!this.#mayAppend || this.groups[this.#appended.length] !== group) {
      this.submit();
      this.#wake();
      return;
    }
    const fault = group.acknowledgedSectors > 0 ? faultOf(blocks) : undefined;
    // A store that is elsewhere may be away: what cannot be read now can be read later. Here the rest
    // of the block is gone for good, and waiting for it would cost everything behind it as well.
    if (fault !== undefined && this.#store.remote !== undefined) return this.#setBack(group, fault);
    fillIn(group, blocks);
    if (fault !== undefined) this.#loseBlocks(group, fault);
    return this.#append(group);
  }

  #append(group: WriteGroup): void {
    // A rollback may have made the volume smaller while the group waited.
    group.cutTo(this.#state.record.sizeBytes);
    for (const block of group.failedBlocks) group.slots.delete(block);
    const batch = this.#freeBatches.pop() ?? new GroupBatch(this.#pool.capacity, this);
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
    this.#unstored = undefined;
    const [note] = batch.notes;
    if (note !== undefined) this.#state.apply(note);
    this.#commitMs += (performance.now() - batch.beganMs - this.#commitMs) / 16;
    this.onCommitted(group);
    const statusFor = statusInLog(group, this.#state.record.sizeBytes);
    if (batch.durable) this.#limit.durable(group, this.groups);
    const first = group.releaseRequests();
    this.#release(batch);
    this.#drop(group);
    this.#finish(first, statusFor);
    this.#admit();
    this.submit();
    this.#wake();
  }

  #release(batch: GroupBatch): void {
    this.#appended.splice(this.#appended.indexOf(batch), 1);
    batch.clear();
    this.#freeBatches.push(batch);
  }

  /**
   * The group is not in the log, and none that was handed over after it may be. What was
   * acknowledged already is kept, and tried again.
   */
  failed(batch: GroupBatch, fault: StoreFault): void {
    const { group } = batch;
    if (batch.cancelled === undefined) this.onFailed(fault);
    const index = this.#appended.indexOf(batch);
    this.#release(batch);
    for (const behind of this.#appended.slice(index)) behind.cancelled ??= fault;
    this.#setBack(group, fault);
  }

  #setBack(group: WriteGroup, fault: StoreFault): void {
    const isKept = group.acknowledgedSectors > 0 && fault.kind !== "unavailable";
    if (isKept) {
      finishRequests(group.releaseRequests(), () => statusOf(fault), this.#statistics);
      this.#stall(fault);
    } else {
      this.#lose(group, statusOf(fault));
    }
    this.submit();
    this.#wake();
  }

  #lose(group: WriteGroup, status: BlockStatus): void {
    this.lostSectors += group.acknowledgedSectors;
    const first = group.releaseRequests();
    this.#drop(group);
    finishRequests(first, () => status, this.#statistics);
  }

  /** Acknowledged sectors in blocks whose rest is damaged: at most all of these blocks. */
  #loseBlocks({ failedBlocks }: WriteGroup, fault: StoreFault): void {
    this.lostSectors += (failedBlocks.size * this.#state.record.blockBytes) / SECTOR_BYTES;
    this.onFailed(fault);
  }

  /** Whoever waits in the groups that are kept is told now: the next try may be one of many. */
  #stall(fault: StoreFault): void {
    if (this.#stalled !== undefined || this.#isStopped) return;
    this.#stalled = fault;
    this.#unstored = fault;
    for (const group of this.groups.slice(this.#appended.length)) {
      finishRequests(group.releaseRequests(), () => statusOf(fault), this.#statistics);
    }
    this.#retry = setTimeout(() => {
      this.#stalled = undefined;
      this.submit();
    }, RETRY_MS).unref();
  }

  #finish(first: BlockRequest | null, statusFor: (request: BlockRequest) => BlockStatus): void {
    finishConfirmed(this.#store, this.#options.remote, first, statusFor, this.#statistics);
  }

  /**
   * No group is begun until `release`; resolves when none is under way. Rejects with a StoreFault,
   * and holds nothing, when acknowledged writes wait for another try: they belong before what the
   * caller is about to do.
   */
  async hold(): Promise<void> {
    this.#held++;
    let fault = this.#unstored;
    while (this.#isUnderWay) {
      await this.#nextEnd();
      fault ??= this.#unstored;
    }
    if (fault === undefined) return;
    this.release();
    throw fault;
  }

  release(): void {
    this.#held--;
    this.submit();
  }

  /**
   * Hands nothing more to the store: by the time that it would take it, others may have written
   * there. Resolves when all that it was handed is in it or is not, and drops the rest.
   */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#retry);
    while (this.#isUnderWay) await this.#nextEnd();
    while (this.groups.length > 0) this.#lose(this.groups[0], BlockStatus.unavailable);
  }

  get #isUnderWay(): boolean {
    return this.#completing !== undefined || this.#appended.length > 0;
  }

  #nextEnd(): Promise<void> {
    this.#idle ??= Promise.withResolvers<void>();
    return this.#idle.promise;
  }

  #wake(): void {
    this.#idle?.resolve();
    this.#idle = undefined;
  }
}
