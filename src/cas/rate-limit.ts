import { setTimeout as sleep } from "node:timers/promises";

/** Keeps work at no more than so many bytes a second, on average. */
export class RateLimit {
  readonly #bytesPerSecond: number;
  #began = performance.now();
  #bytes = 0;

  /** @param bytesPerSecond Infinity: no limit */
  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** @param signal ends the waiting early; it is for the caller to look at */
  async spend(bytes: number, signal?: AbortSignal): Promise<void> {
    this.#bytes += bytes;
    const dueMs = (this.#bytes / this.#bytesPerSecond) * 1000;
    const aheadMs = dueMs - (performance.now() - this.#began);
    if (aheadMs > 1) await sleep(aheadMs, undefined, { signal }).catch(ignoreAbort);
    // A long idle time is no credit for a burst.
    if (aheadMs < -1000) {
      this.#began = performance.now();
      this.#bytes = 0;
    }
  }
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof Error) || error.name !== "AbortError") throw error;
}
