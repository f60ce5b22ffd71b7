import { type BlockRequest, BlockStatus } from "../storage/block-storage.ts";

const NO_MEMORY = new Uint8Array(0);

/** Reads that began between two drains. */
export class ReadEpoch {
  running = 0;
  readonly #ended = Promise.withResolvers<void>();

  /** Resolves with `end`. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** The last of its reads is done, and no other one joins it. */
  end(): void {
    this.#ended.resolve();
  }
}

/** A read whose parts are being gathered. Pooled. */
export class PendingRead {
  /** Parts that are not there yet; -1 when the read is complete. */
  waitingFor = 0;
  /** Where the parts go. */
  target: Uint8Array = NO_MEMORY;
  epoch: ReadEpoch | undefined;
  /** Instead of a request's `completed`. */
  done: ((isRead: boolean) => void) | undefined;
  #request: BlockRequest | null = null;
  #failedLba = -1;

  begin(request: BlockRequest | null, memory: Uint8Array, epoch: ReadEpoch): void {
    this.#request = request;
    this.target = memory;
    this.epoch = epoch;
    this.waitingFor = 0;
    this.done = undefined;
    this.#failedLba = -1;
  }

  /** The part that begins with this sector cannot be read. */
  failed(lba: number): void {
    this.#failedLba = this.#failedLba < 0 ? lba : Math.min(this.#failedLba, lba);
  }

  complete(): void {
    const request = this.#request;
    const isRead = this.#failedLba < 0;
    this.#request = null;
    this.target = NO_MEMORY;
    if (request === null) {
      this.done?.(isRead);
      return;
    }
    request.status = isRead ? BlockStatus.ok : BlockStatus.unreadable;
    if (!isRead) request.failedLba = this.#failedLba;
    request.completed();
  }
}
