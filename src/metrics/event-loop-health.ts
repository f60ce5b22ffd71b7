import { monitorEventLoopDelay, performance, PerformanceObserver } from "node:perf_hooks";

/** How one event loop fares: whether it keeps up, and what held it up. */
export interface EventLoopFigures {
  /** Share of the time that it was busy, 0 to 1, over the last second that was sampled. */
  readonly utilization: number;
  /** By how much timers were late over the last ten seconds. */
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
  /** Pauses of the garbage collector since the start, and their sum. */
  readonly gcPauses: number;
  readonly gcSeconds: number;
  readonly gcLongestMs: number;
}

const RESOLUTION_MS = 20;
const WINDOW_SAMPLES = 10;

/** Watches the event loop that it is made on. */
export class EventLoopHealth {
  readonly #delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #collections: PerformanceObserver;
  #utilizationBefore = performance.eventLoopUtilization();
  #utilization = 0;
  #samples = 0;
  #delayP99Ms = 0;
  #delayMaxMs = 0;
  #gcPauses = 0;
  #gcSeconds = 0;
  #gcLongestMs = 0;

  constructor() {
    this.#delays.enable();
    this.#collections = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) this.#noteCollection(duration);
    });
    this.#collections.observe({ entryTypes: ["gc"] });
  }

  #noteCollection(durationMs: number): void {
    this.#gcPauses++;
    this.#gcSeconds += durationMs / 1000;
    this.#gcLongestMs = Math.max(this.#gcLongestMs, durationMs);
  }

  /** To be called once a second. */
  sample(): void {
    const now = performance.eventLoopUtilization();
    this.#utilization = performance.eventLoopUtilization(now, this.#utilizationBefore).utilization;
    this.#utilizationBefore = now;
    this.#delayMaxMs = Math.max(this.#delayMaxMs, this.#lateMs(this.#delays.max));
    if (++this.#samples % WINDOW_SAMPLES !== 0) return;
    this.#delayP99Ms = this.#lateMs(this.#delays.percentile(99));
    this.#delayMaxMs = this.#lateMs(this.#delays.max);
    this.#delays.reset();
  }

  /** The histogram holds the time between two ticks; it has no maximum before the first. */
  #lateMs(intervalNs: number): number {
    return this.#delays.count === 0 ? 0 : Math.max(0, intervalNs / 1e6 - RESOLUTION_MS);
  }

  figures(): EventLoopFigures {
    return {
      utilization: this.#utilization,
      delayP99Ms: this.#delayP99Ms,
      delayMaxMs: this.#delayMaxMs,
      gcPauses: this.#gcPauses,
      gcSeconds: this.#gcSeconds,
      gcLongestMs: this.#gcLongestMs,
    };
  }

  stop(): void {
    this.#delays.disable();
    this.#collections.disconnect();
  }
}
