import type { ServerResponse } from "node:http";
import { messageOf } from "../errors.ts";
import type { Job } from "./router.ts";
import type { Progress } from "./store-api.ts";

/** A client that draws a bar needs no more. */
const PROGRESS_INTERVAL_MS = 100;

/** One line of the answer to a job. The last one is `result` or `error`. */
export type JobLine =
  | { readonly progress: Progress }
  | { readonly result: unknown }
  | { readonly error: string };

/**
 * Runs a job and sends what becomes of it, one JSON object a line. The job is cancelled when the
 * client closes the connection. A job that fails before its first progress throws, and is answered
 * like any other request.
 */
export async function streamJob(job: Job, response: ServerResponse): Promise<void> {
  const ending = new AbortController();
  response.once("close", () => ending.abort());
  let lastMs = -Infinity;
  const send = (line: JobLine): void => {
    if (!response.headersSent) {
      response.writeHead(200, { "content-type": "application/x-ndjson" });
    }
    response.write(`${JSON.stringify(line)}\n`);
  };
  try {
    const result = await job.run({
      signal: ending.signal,
      onProgress: (progress) => {
        const nowMs = performance.now();
        if (nowMs - lastMs < PROGRESS_INTERVAL_MS) return;
        lastMs = nowMs;
        send({ progress });
      },
    });
    send({ result });
  } catch (error) {
    if (!response.headersSent) throw error;
    send({ error: messageOf(error) });
  }
  response.end();
}
