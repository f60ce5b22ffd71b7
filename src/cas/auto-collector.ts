import { messageOf } from "../errors.ts";
import type { CasStore } from "./cas-store.ts";
import { GarbageCollector } from "./garbage-collector.ts";

export interface AutoCollectorOptions {
  /** How often to look whether a collection is due. */
  readonly checkEveryMs?: number;
  /** A collection is due when so much was appended since the last one … */
  readonly minBytes?: number;
  /** … and so large a share of what the store takes on its disk. */
  readonly minShare?: number;
  /** Told how each collection ended: why it could not end, or null. */
  readonly onEnd?: (bytesFreed: number, failure: string | null) => void;
}

interface Progress {
  readonly appendedBytes: number;
  readonly deletions: number;
  readonly noSpaceFaults: number;
}

const CHECK_EVERY_MS = 60_000;
const MIN_BYTES = 256 * 1024 * 1024;
const MIN_SHARE = 0.25;
/** After collections that freed nothing the next one waits longer each time, up to this. */
const LONGEST_PAUSE_MS = 3_600_000;

/**
 * Collects garbage from time to time: what is overwritten or deleted is about as much as what is
 * appended, so the work stays in proportion to the writes. A store that nobody writes is left alone,
 * except after something was deleted. When there is no space for a write a collection is due as well.
 */
export class AutoCollector {
  readonly #cas: CasStore;
  readonly #options: Required<Omit<AutoCollectorOptions, "onEnd">>;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  readonly #onEnd: AutoCollectorOptions["onEnd"];
  /** What there was when the last collection that came to its end began. */
  #collected: Progress;
  /** After a collection of no use: no other one before, unless something is deleted. */
  #pauseMs = 0;
  #pausedUntilMs = 0;
  #deletionsBefore = 0;
  readonly #controller = new AbortController();

  constructor(cas: CasStore, options: AutoCollectorOptions = {}) {
    this.#cas = cas;
    this.#onEnd = options.onEnd;
    this.#options = {
      checkEveryMs: options.checkEveryMs ?? CHECK_EVERY_MS,
      minBytes: options.minBytes ?? MIN_BYTES,
      minShare: options.minShare ?? MIN_SHARE,
    };
    this.#collected = this.#progress();
  }

  #progress(): Progress {
    const { store, catalog, noSpaceFaults } = this.#cas;
    const { appendedBytes } = store.statistics;
    return { appendedBytes, deletions: catalog.deletions, noSpaceFaults };
  }

  start(): void {
    this.#timer = setInterval(() => {
      if (this.#running !== undefined || !this.isDue()) return;
      this.#running = this.#collect();
    }, this.#options.checkEveryMs);
    this.#timer.unref();
  }

  isDue(): boolean {
    const { appendedBytes, deletions, noSpaceFaults } = this.#progress();
    const appended = appendedBytes - this.#collected.appendedBytes;
    const isPaused = performance.now() < this.#pausedUntilMs;
    if (isPaused && deletions === this.#deletionsBefore) return false;
    if (deletions > this.#collected.deletions) return true;
    if (noSpaceFaults > this.#collected.noSpaceFaults) return true;
    const { diskBytes } = this.#cas.store.statistics;
    return appended >= this.#options.minBytes && appended >= diskBytes * this.#options.minShare;
  }

  async #collect(): Promise<void> {
    const progress = this.#progress();
    try {
      const collector = new GarbageCollector(this.#cas);
      const { bytesFreed } = await collector.collect({ signal: this.#controller.signal });
      this.#collected = progress;
      this.#rest(bytesFreed > 0, progress);
      this.#onEnd?.(bytesFreed, null);
    } catch (error) {
      if (this.#controller.signal.aborted) return;
      this.#rest(false, progress);
      const reason = messageOf(error);
      this.#onEnd?.(0, reason);
      this.#cas.log("error", `${this.#cas.store.description}: nothing was collected: ${reason}`);
    }
    this.#running = undefined;
  }

  /** A store that stays full, or cannot be read, would be read as a whole each minute. */
  #rest(wasOfUse: boolean, { deletions }: Progress): void {
    const { checkEveryMs } = this.#options;
    const longer = Math.min(Math.max(2 * this.#pauseMs, checkEveryMs), LONGEST_PAUSE_MS);
    this.#pauseMs = wasOfUse ? 0 : longer;
    this.#pausedUntilMs = performance.now() + this.#pauseMs;
    this.#deletionsBefore = deletions;
  }

  /** Ends a collection that runs; what it has not freed the next one will. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#controller.abort();
    await this.#running;
  }
}
