import { lchown } from "node:fs/promises";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { dirname } from "node:path";
import { messageOf, systemErrorCode, UsageError } from "../errors.ts";
import { MadeFolders } from "../system/made-folders.ts";
import type { ManagementApi } from "./control-api.ts";
import { createServer } from "./http.ts";
import { jobRoutes } from "./job-routes.ts";
import { isAnswered, removeAbandoned } from "./socket-file.ts";
import { streamJob } from "./job-stream.ts";
import { readJson } from "./read-json.ts";
import { findRoute, Job } from "./router.ts";
import { storeRoutes } from "./store-routes.ts";
import { targetRoutes } from "./target-routes.ts";

/** What fits a Unix socket's address (sun_path) with its terminating zero. */
const SOCKET_PATH_LIMIT_BYTES = 107;

/** lchown(2) leaves this one as it is. */
const UNCHANGED_ID = -1;

/** Whose the socket is, and who else may open it. */
export interface SocketAccess {
  readonly mode: number;
  /** Undefined: that of the process. */
  readonly userId?: number | undefined;
  readonly groupId?: number | undefined;
}

/**
 * The control socket: HTTP with JSON over a Unix socket that, unless told otherwise, only its owner
 * can open. It is there, and nobody else's, before `begin` makes it answer
 * (docs/control.md). `GET /v1/status`, `POST /v1/snapshots`, `POST /v1/jobs/import`.
 */
export class ControlServer {
  readonly path: string;
  readonly #server: Server;
  readonly #begin: () => void;
  /** Those that were made for the socket. */
  readonly #folders: MadeFolders;

  private constructor(path: string, server: Server, begin: () => void, folders: MadeFolders) {
    this.path = path;
    this.#server = server;
    this.#begin = begin;
    this.#folders = folders;
  }

  /** @throws UsageError when another server answers at `path`, or none could; makes nothing */
  static async #refuseIfAnswered(path: string): Promise<void> {
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
  static async listen(
    path: string,
    api: ManagementApi,
    { mode, userId, groupId }: SocketAccess = { mode: 0o600 },
  ): Promise<ControlServer> {
    await ControlServer.#refuseIfAnswered(path);
    const begun = Promise.withResolvers<void>();
    const server = createServer((request, response) => {
      void begun.promise.then(async () => respond(api, request, response));
    });
    let folders: MadeFolders | undefined;
    try {
      // Others than the owner reach the socket only through a folder that they may enter.
      const isGiven = userId !== undefined || groupId !== undefined;
      const folderMode = (mode & 0o066) === 0 && !isGiven ? 0o700 : 0o711;
      folders = await MadeFolders.make(dirname(path), folderMode);
      await removeAbandoned(path);
      await listenWithMode(server, path, mode);
      // Whoever owns the folder may have put something else there by now: links are not followed.
      if (isGiven) await lchown(path, userId ?? UNCHANGED_ID, groupId ?? UNCHANGED_ID);
    } catch (error) {
      await closeServer(server);
      await folders?.remove();
      const code = systemErrorCode(error) ?? "unknown error";
      throw new UsageError(`${path}: the control socket cannot be made (${code})`, {
        cause: error,
      });
    }
    return new ControlServer(path, server, begun.resolve, folders);
  }

  /** Answers from now on; whoever asked before has waited. */
  begin(): void {
    this.#begin();
  }

  async close(): Promise<void> {
    await closeServer(this.#server);
  }

  /** Ends a start that was refused, and leaves the disk as it was. */
  async abandon(): Promise<void> {
    await this.close();
    await this.#folders.remove();
  }
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}

/** The socket has this mode from the moment it exists: it is made during the call. */
async function listenWithMode(server: Server, path: string, mode: number): Promise<void> {
  const before = process.umask(0o777 & ~mode);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
      process.umask(before);
    });
  } finally {
    process.umask(before);
  }
}

const ROUTES = [...targetRoutes, ...storeRoutes, ...jobRoutes];

async function respond(
  api: ManagementApi,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const answer = await answerTo(api, request);
    if (answer instanceof Job) await streamJob(answer, response);
    else send(response, 200, answer);
  } catch (error) {
    const message = messageOf(error);
    send(response, statusOf(error), { error: message });
  }
}

class UnknownOperation extends UsageError {}

function statusOf(error: unknown): number {
  if (error instanceof UnknownOperation) return 404;
  return error instanceof UsageError ? 400 : 500;
}

async function answerTo(api: ManagementApi, request: IncomingMessage): Promise<unknown> {
  const { method = "GET", url = "/" } = request;
  const [path, search = ""] = url.split("?", 2);
  const match = findRoute(ROUTES, method, path);
  if (match === undefined) throw new UnknownOperation(`${method} ${path}: no such operation`);
  const body = method === "POST" ? await readJson(request) : {};
  const query = new URLSearchParams(search);
  return match.route.handle(api, { parameters: match.parameters, query, body });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body)}\n`);
}
