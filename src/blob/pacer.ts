import { setImmediate as nextTurn } from "node:timers/promises";

/** Longest stretch of work before others get their turn. */
const TURN_MS = 4;

/** Cuts long work into turns of the event loop. */
export class Pacer {
  #began = performance.now();
  #turn: Promise<void> | undefined;

  /**
   * Lets others go first if this turn has lasted long enough. Several parts of one work may wait at
   * the same time: those for which the next turn has no time wait for the one after it.
   */
  readonly pace = async (): Promise<void> => {
    while (performance.now() - this.#began >= TURN_MS) await (this.#turn ??= this.#nextTurn());
  };

  async #nextTurn(): Promise<void> {
    await nextTurn();
    this.#turn = undefined;
    this.#began = performance.now();
  }
}
