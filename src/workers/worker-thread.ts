import { parentPort, workerData } from "node:worker_threads";
import type { Configuration } from "../config/configuration.ts";
import { createLog, type LogOptions } from "../log/log.ts";
import { Server } from "../server/server.ts";
import { answerCalls } from "./answering.ts";
import { beat, lastGivenUp } from "./pulse.ts";
import { CONTROL_OBJECT, SERVER_OBJECT } from "./worker-methods.ts";

/** What a worker is given when it is made. */
export interface WorkerStart {
  /** The first is 0. */
  readonly worker: number;
  /** With the targets of this worker alone. */
  readonly configuration: Configuration;
  readonly log: Pick<LogOptions, "level" | "humanReadable">;
  /** See pulse.ts. */
  readonly pulse: SharedArrayBuffer;
}

/** The thread of one worker: a whole server of its own, which the main thread tells what to do. */
if (parentPort === null) throw new Error("this is the main thread");
const { worker, configuration, log, pulse } = workerData as WorkerStart;
beat(pulse);
const server = new Server(configuration, createLog(log), { worker });

answerCalls(
  parentPort,
  (name) => {
    if (name === SERVER_OBJECT) return server;
    return name === CONTROL_OBJECT ? server.api : server.storeAt(name);
  },
  () => lastGivenUp(pulse),
);
