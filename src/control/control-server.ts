import { chmod, lstat, mkdir, unlink } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { dirname } from "node:path";
import { systemErrorCode, UsageError } from "../errors.ts";
import type { ControlApi } from "./control-api.ts";
import { jobRoutes } from "./job-routes.ts";
import { streamJob } from "./job-stream.ts";
import { findRoute, Job } from "./router.ts";
import { storeRoutes } from "./store-routes.ts";
import { targetRoutes } from "./target-routes.ts";

const BODY_LIMIT_BYTES = 64 * 1024;

/** What fits a Unix socket's address (sun_path) with its terminating zero. */
const SOCKET_PATH_LIMIT_BYTES = 107;

/**
 * The control socket: HTTP with JSON over a Unix socket that only its owner can open
 * (docs/control.md). `GET /v1/status`, `POST /v1/snapshots`, `POST /v1/jobs/import`.
 */
export class ControlServer {
  readonly path: string;
  readonly #server: Server;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
  }

  /** @throws UsageError when another server answers at `path`, or none could; makes nothing */
  static async refuseIfAnswered(path: string): Promise<void> {
    if (Buffer.byteLength(path) > SOCKET_PATH_LIMIT_BYTES) {
      throw new UsageError(
        `${path}: the path of a socket has at most ${SOCKET_PATH_LIMIT_BYTES} octets; ` +
          "set control_socket to a shorter one",
      );
    }
    if (!(await isAnswered(path))) return;
    throw new UsageError(
      `${path}: another aoed answers here; stop it, or set another control_socket`,
    );
  }

  /** @throws UsageError when another server answers at `path`, or it cannot be made */
  static async listen(path: string, api: ControlApi): Promise<ControlServer> {
    await ControlServer.refuseIfAnswered(path);
    const server = createServer((request, response) => {
      void respond(api, request, response);
    });
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await removeAbandoned(path);
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(path, resolve);
      });
      await chmod(path, 0o600);
    } catch (error) {
      server.close();
      const code = systemErrorCode(error) ?? "unknown error";
      throw new UsageError(`${path}: the control socket cannot be made (${code})`, {
        cause: error,
      });
    }
    return new ControlServer(path, server);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}

/** Removes the socket of a killed server, and nothing that is not a socket. */
async function removeAbandoned(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() === true) await unlink(path);
}

async function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

const ROUTES = [...targetRoutes, ...storeRoutes, ...jobRoutes];

async function respond(
  api: ControlApi,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const answer = await answerTo(api, request);
    if (answer instanceof Job) await streamJob(answer, response);
    else send(response, 200, answer);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    send(response, statusOf(error), { error: message });
  }
}

class UnknownOperation extends UsageError {}

function statusOf(error: unknown): number {
  if (error instanceof UnknownOperation) return 404;
  return error instanceof UsageError ? 400 : 500;
}

async function answerTo(api: ControlApi, request: IncomingMessage): Promise<unknown> {
  const { method = "GET", url = "/" } = request;
  const [path, search = ""] = url.split("?", 2);
  const match = findRoute(ROUTES, method, path);
  if (match === undefined) throw new UnknownOperation(`${method} ${path}: no such operation`);
  const body = method === "POST" ? await readJson(request) : {};
  const query = new URLSearchParams(search);
  return match.route.handle(api, { parameters: match.parameters, query, body });
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let lengthBytes = 0;
  for await (const chunk of request) {
    const bytes = chunk as Buffer;
    lengthBytes += bytes.length;
    if (lengthBytes > BODY_LIMIT_BYTES) throw new UsageError("the request is too long");
    chunks.push(bytes);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8") || "{}");
  } catch (error) {
    throw new UsageError("the request is not JSON", { cause: error });
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body)}\n`);
}
