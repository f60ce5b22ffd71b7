const FIRST_TIMEOUT_MS = 250;
const LONGEST_TIMEOUT_MS = 2000;

/** A disk that syncs may take tens of milliseconds now and then; the Linux driver waits as long. */
const SHORTEST_TIMEOUT_MS = 100;

/** How long to wait for an answer before sending again: as TCP does (RFC 6298), in milliseconds. */
export class RoundTripEstimate {
  readonly #shortestMs: number;
  #averageMs = 0;
  #deviationMs = 0;
  #hasSample = false;

  constructor(shortestMs = SHORTEST_TIMEOUT_MS) {
    this.#shortestMs = shortestMs;
  }

  /** Undefined until the first answer. */
  get averageMs(): number | undefined {
    return this.#hasSample ? this.#averageMs : undefined;
  }

  add(sampleMs: number): void {
    if (!this.#hasSample) {
      this.#hasSample = true;
      this.#averageMs = sampleMs;
      this.#deviationMs = sampleMs / 2;
      return;
    }
    this.#deviationMs += (Math.abs(sampleMs - this.#averageMs) - this.#deviationMs) / 4;
    this.#averageMs += (sampleMs - this.#averageMs) / 8;
  }

  /** @param attempts how often the request was sent so far; each doubles the wait */
  timeoutMs(attempts: number): number {
    const once = this.#hasSample
      ? Math.max(this.#averageMs + 4 * this.#deviationMs, this.#shortestMs)
      : Math.max(FIRST_TIMEOUT_MS, this.#shortestMs);
    return Math.min(once * 2 ** (attempts - 1), LONGEST_TIMEOUT_MS);
  }
}
