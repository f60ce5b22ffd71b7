import type { CasStore } from "../cas/cas-store.ts";
import { describe } from "../cas/cas-store.ts";
import { GarbageCollector } from "../cas/garbage-collector.ts";
import type { CollectionStatus } from "../control/store-api.ts";
import { Cancelled } from "../control/store-api.ts";
import type { Log } from "../log/log.ts";

/** How often a store is looked at. */
const LOOK_EVERY_MS = 60_000;
/** Less than this is not worth a pass over the store. */
const LEAST_GROWTH_BYTES = 256 * 1024 * 1024;
/** A pass is due when the store has grown by this share since the last one. */
const GROWTH_SHARE = 0.25;
/** After a pass, nothing for so many times what it took: it gets at most a tenth of the time. */
const REST_FACTOR = 9;

/**
 * Rids a store of what nothing names any more, at times of its own choosing. What is dead is known
 * only after a pass, so a pass is due when much was written since the last one (overwritten blocks
 * are left behind), or when a snapshot or volume is gone.
 */
export class AutoCollector {
  readonly #cas: CasStore;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  #baselineBytes: number;
  #roots: ReadonlySet<string>;
  #restUntilMs = 0;
  #running: Promise<void> | undefined;
  #isStopped = false;
  last: CollectionStatus | null = null;

  constructor(cas: CasStore, log: Log) {
    this.#cas = cas;
    this.#log = log;
    this.#baselineBytes = cas.store.statistics.blobBytes;
    this.#roots = this.#rootsNow();
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS);
    this.#timer.unref();
  }

  /** Starts a pass if one is due. */
  look(nowMs = performance.now()): void {
    if (this.#running !== undefined || this.#isStopped || nowMs < this.#restUntilMs) return;
    if (!this.isDue()) return;
    this.#running = this.collect().finally(() => {
      this.#running = undefined;
    });
  }

  isDue(): boolean {
    const { blobBytes } = this.#cas.store.statistics;
    const growth = blobBytes - this.#baselineBytes;
    if (growth >= Math.max(LEAST_GROWTH_BYTES, this.#baselineBytes * GROWTH_SHARE)) return true;
    const now = this.#rootsNow();
    return [...this.#roots].some((root) => !now.has(root));
  }

  async collect(): Promise<void> {
    const began = performance.now();
    const roots = this.#rootsNow();
    try {
      const report = await new GarbageCollector(this.#cas).collect({
        onProgress: () => {
          if (this.#isStopped) throw new Cancelled();
        },
      });
      this.#note(report.bytesFreed, null);
      this.#log.debug({ ...report }, "collected garbage");
    } catch (error) {
      if (error instanceof Cancelled) return;
      this.#note(0, describe(error));
      const { description } = this.#cas.store;
      this.#log.error(`${description}: no garbage was collected: ${describe(error)}`);
    }
    this.#roots = roots;
    this.#baselineBytes = this.#cas.store.statistics.blobBytes;
    const ended = performance.now();
    this.#restUntilMs = ended + (ended - began) * REST_FACTOR;
  }

  #note(bytesFreed: number, failure: string | null): void {
    this.last = { ended: new Date().toISOString(), bytesFreed, failure };
  }

  #rootsNow(): ReadonlySet<string> {
    const { snapshots, volumes } = this.#cas.catalog;
    const ids = [...volumes.keys()].map((id) => `volume ${id}`);
    return new Set([...snapshots.keys(), ...ids]);
  }

  /** Resolves when no pass runs any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }
}
