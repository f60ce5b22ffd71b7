import type { IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import { text as readText } from "node:stream/consumers";
import { likelyControlSockets } from "../config/state-directory.ts";
import { request as httpRequest } from "../control/http.ts";
import type { JobLine } from "../control/job-stream.ts";
import { Cancelled } from "../control/store-api.ts";
import { RuntimeFault, systemErrorCode, UsageError } from "../errors.ts";

const TIMEOUT_MS = 10_000;

export interface ServerRequest {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  /** How long it may take; undefined: as long as the server lives. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Asks a running server over its control socket.
 * @param socketPath undefined: wherever a server with default settings would listen
 * @throws UsageError when no server answers there, or it refuses
 */
export async function askServer<Answer>(
  socketPath: string | undefined,
  method: ServerRequest["method"],
  path: string,
  body?: unknown,
): Promise<Answer> {
  return (await atServer(socketPath, async (candidate) =>
    exchange(candidate, { method, path, body, timeoutMs: TIMEOUT_MS }),
  )) as Answer;
}

/** Runs `action` with the first socket that a server answers at. @throws UsageError */
export async function atServer<Result>(
  socketPath: string | undefined,
  action: (socketPath: string) => Promise<Result>,
): Promise<Result> {
  const candidates = socketPath === undefined ? likelyControlSockets() : [socketPath];
  const failures: string[] = [];
  let denied: string | undefined;
  for (const candidate of candidates) {
    try {
      return await action(candidate);
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      failures.push(`${candidate} (${code})`);
      if (code === "EACCES") denied ??= candidate;
    }
  }
  if (denied !== undefined) {
    throw new UsageError(`${denied}: permission denied; run this as root, or as the server's user`);
  }
  const where = failures.join(", ");
  throw new UsageError(`no server answers at ${where}; start one, or name its --socket`);
}

/** Whether a server answers there at all. */
export async function isServerThere(socketPath: string): Promise<boolean> {
  try {
    await exchange(socketPath, { method: "GET", path: "/v1/status", timeoutMs: TIMEOUT_MS });
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "EACCES") {
      throw new UsageError(`${socketPath}: permission denied; run this as the server's user`);
    }
    return false;
  }
}

/** One request and its answer. @throws a system error when nobody listens, UsageError, Error */
export async function exchange(socketPath: string, request: ServerRequest): Promise<unknown> {
  const response = await send(socketPath, request);
  return readAnswer(socketPath, response.statusCode ?? 0, await readText(response));
}

/**
 * A request that is answered line by line, until the signal cancels it.
 * @throws Cancelled
 */
export async function* exchangeLines(
  socketPath: string,
  request: ServerRequest,
  signal: AbortSignal,
): AsyncGenerator<JobLine> {
  try {
    const response = await send(socketPath, request, signal);
    if (response.headers["content-type"] !== "application/x-ndjson") {
      readAnswer(socketPath, response.statusCode ?? 0, await readText(response));
      return;
    }
    for await (const line of createInterface({ input: response })) {
      yield JSON.parse(line) as JobLine;
    }
  } catch (error) {
    if (signal.aborted) throw new Cancelled();
    throw error;
  }
}

async function send(
  socketPath: string,
  { method, path, body, timeoutMs }: ServerRequest,
  signal?: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = {
      socketPath,
      method,
      path,
      ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
      ...(signal === undefined ? {} : { signal }),
    };
    const request = httpRequest(options, resolve);
    request.on("timeout", () => {
      request.destroy(new UsageError(`${socketPath}: the server does not answer in time`));
    });
    request.on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function readAnswer(socketPath: string, status: number, text: string): unknown {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new UsageError(`${socketPath}: what answers there is not aoed; name its own socket`);
  }
  if (status === 200) return answer;
  const { error } = answer as { error?: unknown };
  const message = typeof error === "string" ? error : `the server refused (${status})`;
  // What is the server's own fault is no mistake of whoever asks.
  throw status >= 500 ? new RuntimeFault(message) : new UsageError(message);
}
