import { Worker as Thread } from "node:worker_threads";
import type { ControlApi } from "../control/control-api.ts";
import type { StoreApi } from "../control/store-api.ts";
import { NoAnswer } from "../errors.ts";
import type { Server } from "../server/server.ts";
// A process ends badly when ffi-rs was loaded by a worker alone (src/system/libc.ts).
import "../system/libc.ts";
import type { Answer } from "./messages.ts";
import { Pulse } from "./pulse.ts";
import { Caller } from "./remote.ts";
import {
  CONTROL_METHODS,
  CONTROL_OBJECT,
  type ControlMethod,
  SERVER_METHODS,
  SERVER_OBJECT,
  type ServerMethod,
  STORE_METHODS,
} from "./worker-methods.ts";
import type { WorkerStart } from "./worker-thread.ts";

/** Published, the sources are JavaScript. */
const THREAD = new URL(
  `./worker-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`,
  import.meta.url,
);

/** One worker, as the main thread sees it. */
export class Worker {
  readonly number: number;
  readonly server: Pick<Server, ServerMethod>;
  readonly control: Pick<ControlApi, ControlMethod>;
  /** Why the thread has ended that nobody told to. */
  failure: Error | undefined;
  readonly #thread: Thread;
  readonly #caller: Caller;
  readonly #pulse: Pulse;
  #isEnding = false;

  /**
   * @param onFailure called once when the thread ends by itself
   * @param onHang called when it begins to hang
   */
  constructor(
    start: Omit<WorkerStart, "pulse">,
    onFailure: (worker: Worker) => void,
    onHang: (worker: Worker) => void,
  ) {
    this.number = start.worker;
    const silence = new NoAnswer(`worker ${start.worker} does not answer`);
    this.#pulse = new Pulse(() => {
      this.#pulse.giveUp(this.#caller.lastId);
      this.#caller.giveUp(silence);
      onHang(this);
    });
    const workerData: WorkerStart = { ...start, pulse: this.#pulse.memory };
    this.#thread = new Thread(THREAD, { name: `aoed-${start.worker}`, workerData });
    this.#caller = new Caller(
      (message) => this.#thread.postMessage(message),
      () => (this.hangs ? silence : undefined),
      (object, method) => {
        // It had begun when it was given up: what the other threads take to be is not so any more.
        if (isChange(object, method)) fail(`${method} was done though it had been given up`);
      },
    );
    this.server = this.#caller.remote<Server, ServerMethod>(SERVER_OBJECT, SERVER_METHODS);
    this.control = this.#caller.remote<ControlApi, ControlMethod>(CONTROL_OBJECT, CONTROL_METHODS);
    const fail = (reason: string, cause?: unknown): void => {
      if (this.#isEnding || this.failure !== undefined) return;
      this.failure = new Error(`worker ${start.worker} has ended: ${reason}`, { cause });
      this.#caller.fail(this.failure);
      onFailure(this);
    };
    this.#thread.on("message", (answer: Answer) => this.#caller.take(answer));
    this.#thread.on("messageerror", (error) => fail("it said what cannot be read", error));
    this.#thread.on("error", (error) => fail(messageOf(error), error));
    this.#thread.on("exit", (code) => fail(`exit code ${code}`));
  }

  /** Its event loop stands still: it answers neither initiators nor this thread. */
  get hangs(): boolean {
    return this.#pulse.isLost;
  }

  /** It has started: from now on it is found when it hangs. */
  watch(): void {
    this.#pulse.watch();
  }

  /** @param path of one of the stores that this worker has open */
  store(path: string): StoreApi {
    return this.#caller.remote<StoreApi, keyof StoreApi>(path, STORE_METHODS);
  }

  /** Ends the thread, which has let go of everything or is given up. */
  async end(): Promise<void> {
    this.#isEnding = true;
    this.#pulse.stop();
    await this.#thread.terminate();
    this.#caller.fail(new Error("the server is stopping"));
  }
}

/** Calls that change no target of the worker. */
const HARMLESS = new Set<string>(["status", "storeCandidates", "setElsewhere"] satisfies (
  | ServerMethod
  | ControlMethod
)[]);

/** Whether it changes which targets the worker serves, or how. */
function isChange(object: string, method: string): boolean {
  return (object === SERVER_OBJECT || object === CONTROL_OBJECT) && !HARMLESS.has(method);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
