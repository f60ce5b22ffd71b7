import { BlobBatch, type BlobStore, StoreFault } from "../blob/blob-store.ts";
import { bytesEqual, copyBytes } from "../blob/bytes.ts";
import { HASH_BYTES, hashPieces } from "../blob/hash.ts";
import {
  BlockOperation,
  type BlockRequest,
  BlockStatus,
  SECTOR_BYTES,
  type StorageStatistics,
} from "../storage/block-storage.ts";
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

/**
 * Collects writes into groups, one after the other: while one is on its way to the disk, the next
 * one fills. A group is hashed as a whole, and becomes one append.
 */
export class VolumeWriter {
  /** Groups on their way, oldest first; the last one may still take writes. */
  readonly groups: WriteGroup[] = [];
  readonly #state: VolumeState;
  readonly #store: BlobStore;
  readonly #options: WriterOptions;
  readonly #memory: Uint8Array;
  readonly #statistics: StorageStatistics;
  readonly #free: WriteGroup[] = [];
  readonly #batch: GroupBatch;
  #open: WriteGroup | undefined;
  #committing: WriteGroup | undefined;
  #oldContent: OldContent = () => {};
  /** Called when a group has taken effect. */
  onCommitted: (group: WriteGroup) => void = () => {};
  /** Called when one has not. */
  onFailed: (fault: StoreFault) => void = () => {};
  #held = 0;
  #idle: (() => void) | undefined;
  /** Acknowledged writes that the store could not take; it is asked again from time to time. */
  #stalled: StoreFault | undefined;
  #offsets = new Uint32Array(0);
  #lengths = new Uint32Array(0);
  #slotOf = new Uint32Array(0);
  #names = new Uint8Array(0);
  readonly #zeroBlock: Uint8Array;

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
    this.#batch = new GroupBatch(this.#capacity, this);
    this.#makeRoom(this.#capacity);
    this.#zeroBlock = new Uint8Array(state.record.blockBytes);
  }

  set oldContent(oldContent: OldContent) {
    this.#oldContent = oldContent;
  }

  get #capacity(): number {
    return Math.max(4, Math.floor(this.#options.groupBytes / this.#state.record.blockBytes));
  }

  #makeRoom(blocks: number): void {
    this.#offsets = new Uint32Array(blocks);
    this.#lengths = new Uint32Array(blocks).fill(this.#state.record.blockBytes);
    this.#slotOf = new Uint32Array(blocks);
    this.#names = new Uint8Array(blocks * HASH_BYTES);
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
    if (isDone) return this.#finishConfirmed(request, () => BlockStatus.ok);
    const group = this.#openGroup();
    group.durable = true;
    return group.hold(request);
  }

  /** Makes what was acknowledged so far durable, without anybody waiting for it. */
  sync(): void {
    if (this.#statistics.unsyncedSectors === 0 || this.#stalled !== undefined) return;
    this.#openGroup().durable = true;
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
    group.acknowledgedSectors += request.lengthSectors;
    this.#statistics.unsyncedSectors += request.lengthSectors;
    request.status = BlockStatus.ok;
    request.completed();
  }

  /** Then an acknowledgement waits until the store has made sure that it is ours. */
  get #mayHaveOtherOwner(): boolean {
    return this.#store.isOurs === false;
  }

  #isOverLimit(): boolean {
    const unsynced = this.#statistics.unsyncedSectors * SECTOR_BYTES;
    return unsynced >= this.#options.writebackLimitBytes;
  }

  /** The open group, or a new one when the blocks of this request have no room in it. */
  #groupFor(lba: number, lengthSectors: number): WriteGroup | undefined {
    if (this.#stalled !== undefined) return undefined;
    const sectors = this.#state.record.blockBytes / SECTOR_BYTES;
    const blocks = Math.ceil((lba + lengthSectors) / sectors) - Math.floor(lba / sectors);
    if (this.#open?.hasRoom(blocks) === false) this.#open = undefined;
    return this.#openGroup(blocks);
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

  /** Starts a commit if none is under way. */
  submit(): void {
    if (this.#committing !== undefined || this.#held > 0 || this.#stalled !== undefined) return;
    const [group] = this.groups;
    if (group === undefined) return;
    if (group.isEmpty) {
      this.#dropFirst();
      return;
    }
    if (group === this.#open) this.#open = undefined;
    this.#committing = group;
    this.#complete(group);
  }

  #dropFirst(): void {
    const group = this.groups.shift();
    if (group === undefined) return;
    if (group === this.#open) this.#open = undefined;
    group.reset();
    if (group.capacity === this.#capacity && this.#free.length < 2) this.#free.push(group);
  }

  /** Blocks that are written in part get the rest from what is stored. */
  #complete(group: WriteGroup): void {
    let waiting = 1;
    const finished = (): void => {
      if (--waiting === 0) this.#append(group);
    };
    group.slots.forEach((slot, block) => {
      if (group.isComplete(slot)) return;
      waiting++;
      const old = new Uint8Array(group.blockBytes);
      this.#oldContent(block, 0, old, (isRead) => {
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
    const batch = this.#batch;
    batch.clear();
    batch.group = group;
    batch.durable = group.durable;
    const blobs = this.#hash(group);
    for (let blob = 0; blob < blobs; blob++) {
      const at = this.#slotOf[blob] * HASH_BYTES;
      batch.addBlob(group.hashes, at, group.data, this.#offsets[blob], group.blockBytes);
    }
    if (group.hasChanges) {
      const { id } = this.#state;
      batch.notes.push(encodeChanges(id, group.zeroRanges, group.slots, group.hashes));
    }
    if (batch.durable) this.#statistics.syncs++;
    this.#store.append(batch);
  }

  /** Names all blocks of the group; zeros have the null hash, and are not stored. */
  #hash(group: WriteGroup): number {
    let count = 0;
    if (group.slots.size > this.#offsets.length) this.#makeRoom(group.slots.size);
    for (const slot of group.slots.values()) {
      const at = slot * group.blockBytes;
      if (bytesEqual(group.data, at, this.#zeroBlock, 0, group.blockBytes)) {
        group.hashes.fill(0, slot * HASH_BYTES, (slot + 1) * HASH_BYTES);
        continue;
      }
      this.#offsets[count] = at;
      this.#slotOf[count++] = slot;
    }
    hashPieces(group.data, this.#offsets, this.#lengths, count, this.#names);
    for (let blob = 0; blob < count; blob++) {
      const to = this.#slotOf[blob] * HASH_BYTES;
      copyBytes(this.#names, blob * HASH_BYTES, group.hashes, to, HASH_BYTES);
    }
    return count;
  }

  /** The group is in the log. */
  committed(group: WriteGroup, note: Uint8Array | undefined): void {
    if (note !== undefined) this.#state.apply(note);
    this.onCommitted(group);
    const { failedBlocks } = group;
    const failed = failedBlocks.size > 0 ? new Set(failedBlocks) : undefined;
    const sectors = this.#state.record.sizeBytes / SECTOR_BYTES;
    if (group.durable) this.#statistics.unsyncedSectors = this.#acknowledgedBehind(group);
    const first = group.releaseRequests();
    this.#dropFirst();
    this.#committing = undefined;
    this.#finishConfirmed(first, (request) => {
      const isFlush = request.operation === BlockOperation.flush;
      if (isFlush) return BlockStatus.ok;
      const isBeyondEnd = request.lba + request.lengthSectors > sectors;
      const isFailed = failed !== undefined && this.#touches(request, failed);
      return isBeyondEnd || isFailed ? BlockStatus.writeFault : BlockStatus.ok;
    });
    this.submit();
    this.#wake();
  }

  /** A durable group makes what came before it durable; what is in later groups is not. */
  #acknowledgedBehind(group: WriteGroup): number {
    let sectors = 0;
    for (const later of this.groups) if (later !== group) sectors += later.acknowledgedSectors;
    return sectors;
  }

  #touches(request: BlockRequest, blocks: Set<number>): boolean {
    const sectors = this.#state.record.blockBytes / SECTOR_BYTES;
    const end = request.lba + request.lengthSectors;
    for (let block = Math.floor(request.lba / sectors); block * sectors < end; block++) {
      if (blocks.has(block)) return true;
    }
    return false;
  }

  /** The group is not in the log. What was acknowledged already is kept, and tried again. */
  failed(group: WriteGroup, fault: StoreFault): void {
    this.onFailed(fault);
    const first = group.releaseRequests();
    this.#committing = undefined;
    if (group.acknowledgedSectors > 0 && fault.kind !== "unavailable") {
      this.#stalled = fault;
      setTimeout(() => {
        this.#stalled = undefined;
        this.submit();
      }, RETRY_MS).unref();
    } else {
      this.#dropFirst();
    }
    this.#finish(first, () => statusOf(fault));
    this.submit();
    this.#wake();
  }

  /** Completes requests whose group is in the log, when the store says that they may be. */
  #finishConfirmed(
    first: BlockRequest | null,
    statusFor: (request: BlockRequest) => BlockStatus,
  ): void {
    const confirmed = first === null ? undefined : this.#store.confirm?.(this.#options.remote);
    if (confirmed === undefined) return this.#finish(first, statusFor);
    confirmed.then(
      () => this.#finish(first, statusFor),
      (fault: unknown) => {
        const status = statusOf(fault instanceof StoreFault ? fault : undefined);
        this.#finish(first, () => status);
      },
    );
    return undefined;
  }

  #finish(first: BlockRequest | null, statusFor: (request: BlockRequest) => BlockStatus): void {
    let request = first;
    while (request !== null) {
      const { next } = request;
      request.next = null;
      request.status = statusFor(request);
      if (request.status !== BlockStatus.ok) this.#statistics.faults++;
      request.completed();
      request = next;
    }
  }

  /** No group is begun until `release`; resolves when none is under way. */
  async hold(): Promise<void> {
    this.#held++;
    while (this.#committing !== undefined) {
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

class GroupBatch extends BlobBatch {
  group: WriteGroup | undefined;
  readonly #writer: VolumeWriter;

  constructor(capacity: number, writer: VolumeWriter) {
    super(capacity);
    this.#writer = writer;
  }

  appended(): void {
    if (this.group !== undefined) this.#writer.committed(this.group, this.notes[0]);
  }

  failed(fault: StoreFault): void {
    if (this.group !== undefined) this.#writer.failed(this.group, fault);
  }
}

function statusOf(fault: StoreFault | undefined): BlockStatus {
  if (fault?.kind === "noSpace") return BlockStatus.noSpace;
  return fault?.kind === "unavailable" ? BlockStatus.unavailable : BlockStatus.writeFault;
}
