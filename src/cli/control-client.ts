import { request as httpRequest } from "node:http";
import { likelyControlSockets } from "../config/state-directory.ts";
import { systemErrorCode, UsageError } from "../errors.ts";

const TIMEOUT_MS = 10_000;

/**
 * Asks a running server over its control socket.
 * @param socketPath undefined: wherever a server with default settings would listen
 * @throws UsageError when no server answers there, or it refuses
 */
export async function askServer<Answer>(
  socketPath: string | undefined,
  method: "GET" | "POST",
  path: string,
  body?: unknown,
): Promise<Answer> {
  const candidates = socketPath === undefined ? likelyControlSockets() : [socketPath];
  const failures: string[] = [];
  for (const candidate of candidates) {
    try {
      return (await exchange(candidate, method, path, body)) as Answer;
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      failures.push(`${candidate} (${code})`);
    }
  }
  const where = failures.join(", ");
  throw new UsageError(`no server answers at ${where}; start one, or name its --socket`);
}

/** Whether a server answers there at all. */
export async function isServerThere(socketPath: string): Promise<boolean> {
  try {
    await exchange(socketPath, "GET", "/v1/status");
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "EACCES") {
      throw new UsageError(`${socketPath}: permission denied; run this as the server's user`);
    }
    return false;
  }
}

async function exchange(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<unknown> {
  const { status, text } = await new Promise<{ status: number; text: string }>(
    (resolve, reject) => {
      const request = httpRequest({ socketPath, method, path, timeout: TIMEOUT_MS }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const answer = Buffer.concat(chunks).toString("utf8");
          resolve({ status: response.statusCode ?? 0, text: answer });
        });
      });
      request.on("timeout", () => {
        request.destroy(new UsageError(`${socketPath}: the server does not answer in time`));
      });
      request.on("error", reject);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    },
  );
  return readAnswer(socketPath, status, text);
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
  throw new UsageError(typeof error === "string" ? error : `the server refused (${status})`);
}
