import { messageOf } from "../errors.ts";
import type { SnapshotRecord } from "./catalog.ts";
import type { Snapshots } from "./snapshots.ts";

/** The longest time that a timer can wait. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export interface SnapshotTimerOptions {
  readonly volume: string;
  readonly everyMs: number;
  /** How many snapshots of this timer are kept; others are never touched. */
  readonly keep: number;
  readonly log: (level: "warn" | "error", message: string) => void;
  readonly now?: () => number;
}

/**
 * Takes a snapshot of a volume from time to time and deletes the oldest of its own. The times are
 * those of the records, so a restart neither skips one nor takes one early.
 */
export class SnapshotTimer {
  readonly #snapshots: Snapshots;
  readonly #options: SnapshotTimerOptions;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(snapshots: Snapshots, options: SnapshotTimerOptions) {
    this.#snapshots = snapshots;
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  start(): void {
    const last = this.#own().at(-1);
    const dueMs = last === undefined ? 0 : Date.parse(last.timestamp) + this.#options.everyMs;
    this.#wait(Math.max(0, dueMs - this.#now()));
  }

  /** Resolves when no snapshot is being taken any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #wait(delayMs: number): void {
    if (this.#isStopped) return;
    const step = Math.min(delayMs, MAX_TIMEOUT_MS);
    this.#timer = setTimeout(() => {
      if (delayMs > step) return this.#wait(delayMs - step);
      this.#running = this.#tick();
      return undefined;
    }, step);
    this.#timer.unref();
  }

  async #tick(): Promise<void> {
    const { volume, everyMs, log } = this.#options;
    try {
      await this.takeAndPrune();
    } catch (error) {
      const reason = messageOf(error);
      log("error", `volume ${volume}: no snapshot was taken: ${reason}`);
    }
    this.#wait(everyMs);
  }

  /** One snapshot now, and the oldest away. */
  async takeAndPrune(): Promise<void> {
    await this.#snapshots.create(this.#options.volume, {
      description: "timer",
      trigger: "timer",
    });
    const own = this.#own();
    for (const { id } of own.slice(0, Math.max(0, own.length - this.#options.keep))) {
      await this.#snapshots.delete(id);
    }
  }

  #own(): SnapshotRecord[] {
    const { volume } = this.#options;
    return this.#snapshots.list(volume).filter(({ trigger }) => trigger === "timer");
  }
}
