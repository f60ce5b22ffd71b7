import { setTimeout as sleep } from "node:timers/promises";

/** Time, so that the tests can let minutes pass at once. */
export interface Clock {
  /** Never goes back; stands still while the machine sleeps. */
  nowMs(): number;
  /** Goes on while the machine sleeps; may jump when it is set. */
  wallMs(): number;
  /** Resolves after that time, or at once when the signal is aborted. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  sleep: async (durationMs, signal) => {
    await sleep(durationMs, undefined, signal === undefined ? {} : { signal }).catch(
      () => undefined,
    );
  },
};
