import type { MessagePort } from "node:worker_threads";
import type { JobControl } from "../control/store-api.ts";
import { NoAnswer } from "../errors.ts";
import { type Answer, type Call, type Cancel, toPlainError } from "./messages.ts";

/** Nobody looks at progress more often. */
const PROGRESS_INTERVAL_MS = 50;

/**
 * Answers the calls that come by `port` with the methods of this thread's objects.
 * @param objectNamed the object that a call means; undefined when there is none
 * @param lastGivenUp the last call whose caller has been told that it failed: must not happen now
 */
export function answerCalls(
  port: Pick<MessagePort, "on" | "postMessage">,
  objectNamed: (name: string) => object | undefined,
  lastGivenUp: () => number = () => 0,
): void {
  const jobs = new Map<number, AbortController>();
  port.on("message", (message: Call | Cancel) => {
    if ("cancel" in message) jobs.get(message.cancel)?.abort();
    else void answer(message);
  });

  const answer = async (call: Call): Promise<void> => {
    const send = (said: Answer): void => port.postMessage(said);
    const { id } = call;
    try {
      send({ id, value: await run(call, send) });
    } catch (error) {
      send({ id, error: toPlainError(error) });
    } finally {
      jobs.delete(id);
    }
  };

  const run = async (call: Call, send: (said: Answer) => void): Promise<unknown> => {
    const { object, method, parameters, controlAt, id } = call;
    if (id <= lastGivenUp()) throw new NoAnswer("nobody waits for this call any more");
    const asked = objectNamed(object) as Record<string, unknown> | undefined;
    const called = asked?.[method];
    if (typeof called !== "function") throw new Error(`${object} has no ${method} here`);
    if (controlAt === -1) return called.call(asked, ...parameters);
    const ending = new AbortController();
    jobs.set(id, ending);
    const control: JobControl = {
      signal: ending.signal,
      onProgress: sometimes((progress) => send({ id, progress })),
    };
    return called.call(asked, ...parameters.with(controlAt, control));
  };
}

function sometimes(report: JobControl["onProgress"]): JobControl["onProgress"] {
  let lastMs = -Infinity;
  return (progress) => {
    const nowMs = performance.now();
    if (nowMs - lastMs < PROGRESS_INTERVAL_MS) return;
    lastMs = nowMs;
    report(progress);
  };
}
