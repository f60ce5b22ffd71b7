import {
  BlockOperation,
  type BlockRequest,
  BlockStatus,
  type BlockStorage,
  type StorageInfo,
  type StorageStatistics,
} from "./block-storage.ts";

/** Requests of this kind that touch one of these sectors fail. */
export interface Fault {
  readonly operation: BlockOperation;
  readonly firstLba: number;
  readonly lastLba: number;
  readonly status: BlockStatus;
}

/** Lets chosen requests fail, as a bad disk would; all others go through. For tests. */
export class FaultStorage implements BlockStorage {
  readonly faults: Fault[] = [];
  readonly #inner: BlockStorage;
  #failed: BlockRequest[] = [];

  constructor(inner: BlockStorage) {
    this.#inner = inner;
  }

  get statistics(): StorageStatistics {
    return this.#inner.statistics;
  }

  get onResize(): (() => void) | undefined {
    return this.#inner.onResize;
  }

  set onResize(call: (() => void) | undefined) {
    this.#inner.onResize = call;
  }

  info(): StorageInfo {
    return this.#inner.info();
  }

  read(request: BlockRequest): void {
    if (!this.#fails(request, BlockOperation.read)) this.#inner.read(request);
  }

  write(request: BlockRequest): void {
    if (!this.#fails(request, BlockOperation.write)) this.#inner.write(request);
  }

  flush(request: BlockRequest): void {
    if (!this.#fails(request, BlockOperation.flush)) this.#inner.flush(request);
  }

  trim(request: BlockRequest): void {
    if (!this.#fails(request, BlockOperation.trim)) this.#inner.trim(request);
  }

  submit(): void {
    const failed = this.#failed;
    this.#failed = [];
    for (const request of failed) request.completed();
    this.#inner.submit();
  }

  close(): Promise<void> {
    this.submit();
    return this.#inner.close();
  }

  #fails(request: BlockRequest, operation: BlockOperation): boolean {
    const end = request.lba + request.lengthSectors;
    const touches = (fault: Fault): boolean =>
      operation === BlockOperation.flush || (fault.firstLba < end && fault.lastLba >= request.lba);
    const fault = this.faults.find((each) => each.operation === operation && touches(each));
    if (fault === undefined) return false;
    request.operation = operation;
    request.status = fault.status;
    if (fault.status === BlockStatus.unreadable) {
      request.failedLba = Math.max(fault.firstLba, request.lba);
    }
    this.statistics.faults++;
    this.#failed.push(request);
    return true;
  }
}
