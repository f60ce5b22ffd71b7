import type { JobControl } from "../control/store-api.ts";
import { type Answer, type Call, type Cancel, fromPlainError } from "./messages.ts";

export type JobProgress = Parameters<JobControl["onProgress"]>[0];

/** The names of the methods of T, all of which answer later. */
export type MethodName<T> = {
  [Name in keyof T]: T[Name] extends (...parameters: never[]) => Promise<unknown> ? Name : never;
}[keyof T] &
  string;

/** Every one of these methods of T; one that is left out does not compile. */
export type MethodTable<T, Name extends MethodName<T> = MethodName<T>> = Readonly<
  Record<Name, true>
>;

interface PendingCall {
  readonly object: string;
  readonly method: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly control: JobControl | undefined;
  readonly onAbort: () => void;
}

/** The calls of this thread to the objects of another one. */
export class Caller {
  readonly #post: (message: Call | Cancel) => void;
  readonly #obstacle: () => Error | undefined;
  readonly #onLate: (object: string, method: string) => void;
  readonly #pending = new Map<number, PendingCall>();
  readonly #givenUp = new Map<number, PendingCall>();
  #lastId = 0;
  #failure: Error | undefined;

  /**
   * @param post sends a message to the other thread
   * @param obstacle why there is no use in asking it just now
   * @param onLate told what was done after all that had been given up
   */
  constructor(
    post: (message: Call | Cancel) => void,
    obstacle: () => Error | undefined = () => undefined,
    onLate: (object: string, method: string) => void = () => {},
  ) {
    this.#post = post;
    this.#obstacle = obstacle;
    this.#onLate = onLate;
  }

  /**
   * An object whose methods ask the object of that name in the other thread. Arguments and results
   * are plain data, except that a JobControl works from here.
   */
  remote<T, Name extends MethodName<T>>(
    object: string,
    methods: MethodTable<T, Name>,
  ): Pick<T, Name> {
    const asking = Object.keys(methods).map((method) => [
      method,
      async (...parameters: unknown[]) => this.#call(object, method, parameters),
    ]);
    return Object.fromEntries(asking) as Pick<T, Name>;
  }

  /** Takes an answer of the other thread. */
  take(answer: Answer): void {
    const call = this.#pending.get(answer.id);
    if (call === undefined) {
      this.#takeLate(answer);
      return;
    }
    if ("progress" in answer) {
      call.control?.onProgress(answer.progress);
      return;
    }
    this.#pending.delete(answer.id);
    call.control?.signal.removeEventListener("abort", call.onAbort);
    if ("error" in answer) call.reject(fromPlainError(answer.error));
    else call.resolve(answer.value);
  }

  /** The other thread has ended: what it was asked, and will be, fails. */
  fail(error: Error): void {
    this.#failure = error;
    this.giveUp(error);
  }

  /** What the other thread was asked until now fails. */
  giveUp(error: Error): void {
    for (const [id, call] of this.#pending) {
      this.#givenUp.set(id, call);
      call.reject(error);
    }
    this.#pending.clear();
  }

  get lastId(): number {
    return this.#lastId;
  }

  #takeLate(answer: Answer): void {
    const call = this.#givenUp.get(answer.id);
    if (call === undefined || "progress" in answer) return;
    this.#givenUp.delete(answer.id);
    if ("value" in answer) this.#onLate(call.object, call.method);
  }

  async #call(object: string, method: string, parameters: unknown[]): Promise<unknown> {
    const failure = this.#failure ?? this.#obstacle();
    if (failure !== undefined) throw failure;
    const id = ++this.#lastId;
    const controlAt = parameters.findIndex(isJobControl);
    const control = parameters[controlAt] as JobControl | undefined;
    const sent = parameters.map((value, index) => (index === controlAt ? null : value));
    return new Promise((resolve, reject) => {
      const onAbort = (): void => this.#post({ cancel: id });
      this.#post({
        id,
        object,
        method,
        parameters: sent,
        controlAt,
      });
      this.#pending.set(id, { object, method, resolve, reject, control, onAbort });
      if (control?.signal.aborted === true) onAbort();
      else control?.signal.addEventListener("abort", onAbort);
    });
  }
}

function isJobControl(value: unknown): value is JobControl {
  return typeof value === "object" && value !== null && "onProgress" in value && "signal" in value;
}
