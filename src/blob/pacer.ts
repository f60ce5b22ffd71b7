import { setImmediate as nextTurn } from "node:timers/promises";

/** Longest stretch of work before others get their turn. */
const TURN_MS = 4;

/** Cuts long work into turns of the event loop. */
export class Pacer {
  #began = performance.now();

  /** Lets others go first if this turn has lasted long enough. */
  readonly pace = async (): Promise<void> => {
    if (performance.now() - this.#began < TURN_MS) return;
    await nextTurn();
    this.#began = performance.now();
  };
}
