import { EventLoopHealth } from "../metrics/event-loop-health.ts";
import type { RequestMeter } from "../metrics/request-meter.ts";
import type { TargetManager } from "../target/target-manager.ts";

const SAMPLE_MS = 1000;

/** Renews everything that is a rate: once a second, off the data path. */
export class Meters {
  readonly eventLoop = new EventLoopHealth();
  readonly #targets: TargetManager;
  readonly #requests: RequestMeter;
  readonly #timer: NodeJS.Timeout;
  #sampledAtMs = performance.now();

  constructor(targets: TargetManager, requests: RequestMeter) {
    this.#targets = targets;
    this.#requests = requests;
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
    this.#timer.unref();
  }

  #sample(): void {
    const nowMs = performance.now();
    const elapsedSeconds = (nowMs - this.#sampledAtMs) / 1000;
    this.#sampledAtMs = nowMs;
    for (const target of this.#targets.all()) target.metrics.sample(elapsedSeconds);
    this.#requests.initiators.sample(elapsedSeconds);
    this.eventLoop.sample();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.eventLoop.stop();
  }
}
