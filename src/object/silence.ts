import { ObjectFault } from "./object-store.ts";

/** A signal that comes when nothing has been heard for a while, or when the caller's does. */
export class Silence implements Disposable {
  readonly signal: AbortSignal;
  readonly #timer: NodeJS.Timeout;

  constructor(what: string, longestMs: number, callers: AbortSignal | undefined) {
    const controller = new AbortController();
    const { signal } = controller;
    this.signal = callers === undefined ? signal : AbortSignal.any([signal, callers]);
    this.#timer = setTimeout(() => {
      const message = `${what} failed (nothing came for ${longestMs} ms)`;
      controller.abort(new ObjectFault("unavailable", message));
    }, longestMs);
  }

  /** Something was heard. */
  broken(): void {
    this.#timer.refresh();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
