import {
  BlockRequest,
  type BlockStorage,
  type StorageInfo,
  type StorageStatistics,
} from "./block-storage.ts";

/** Gives every request back later than the storage beneath does, as a slow disk would. For tests. */
export class DelayStorage implements BlockStorage {
  readonly #inner: BlockStorage;
  readonly #delayMs: (request: BlockRequest) => number;
  readonly #free: DelayedRequest[] = [];
  #held = 0;
  #onIdle: (() => void) | undefined;

  /** @param delayMs asked for each request when the storage beneath has done it */
  constructor(inner: BlockStorage, delayMs: (request: BlockRequest) => number) {
    this.#inner = inner;
    this.#delayMs = delayMs;
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
    this.#inner.read(this.#delayed(request));
  }

  write(request: BlockRequest): void {
    this.#inner.write(this.#delayed(request));
  }

  flush(request: BlockRequest): void {
    this.#inner.flush(this.#delayed(request));
  }

  trim(request: BlockRequest): void {
    this.#inner.trim(this.#delayed(request));
  }

  submit(): void {
    this.#inner.submit();
  }

  async close(): Promise<void> {
    await this.#inner.close();
    while (this.#held > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
  }

  #delayed(request: BlockRequest): BlockRequest {
    this.#held++;
    const delayed = this.#free.pop() ?? new DelayedRequest((done) => this.#done(done));
    delayed.original = request;
    delayed.lba = request.lba;
    delayed.lengthSectors = request.lengthSectors;
    delayed.memoryOffset = request.memoryOffset;
    return delayed;
  }

  #done(delayed: DelayedRequest): void {
    const original = delayed.original!;
    original.operation = delayed.operation;
    original.status = delayed.status;
    original.failedLba = delayed.failedLba;
    setTimeout(() => {
      delayed.original = null;
      this.#free.push(delayed);
      this.#held--;
      original.completed();
      if (this.#held === 0) this.#onIdle?.();
    }, this.#delayMs(original));
  }
}

/** Stands for a request in the storage beneath. */
class DelayedRequest extends BlockRequest {
  original: BlockRequest | null = null;
  readonly #done: (request: DelayedRequest) => void;

  constructor(done: (request: DelayedRequest) => void) {
    super();
    this.#done = done;
  }

  override completed(): void {
    this.#done(this);
  }
}
