/**
 * Looks at the event loop every millisecond: how long a turn took, on the clock and of the thread's
 * own processor time. On a machine with other work the clock also shows when the thread was not
 * running at all; its processor time does not.
 */
export class TurnProbe {
  longestMs = 0;
  longestCpuMs = 0;
  /** Processor time of the thread between `start` and `stop`. */
  cpuMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #lastMs = 0;
  #lastCpuMs = 0;
  #firstCpuMs = 0;

  start(): void {
    this.longestMs = 0;
    this.longestCpuMs = 0;
    this.#lastMs = performance.now();
    this.#lastCpuMs = threadCpuMs();
    this.#firstCpuMs = this.#lastCpuMs;
    this.#timer = setInterval(() => this.#look(), 1);
  }

  /** The turn that is under way counts, too. */
  stop(): void {
    clearInterval(this.#timer);
    this.#look();
    this.cpuMs = this.#lastCpuMs - this.#firstCpuMs;
  }

  #look(): void {
    const nowMs = performance.now();
    const cpuMs = threadCpuMs();
    this.longestMs = Math.max(this.longestMs, nowMs - this.#lastMs);
    this.longestCpuMs = Math.max(this.longestCpuMs, cpuMs - this.#lastCpuMs);
    this.#lastMs = nowMs;
    this.#lastCpuMs = cpuMs;
  }
}

function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
