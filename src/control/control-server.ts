import { chmod, chown, mkdir, rmdir } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { dirname } from "node:path";
import { systemErrorCode, UsageError } from "../errors.ts";
import type { ManagementApi } from "./control-api.ts";
import { jobRoutes } from "./job-routes.ts";
import { isAnswered, removeAbandoned } from "./socket-file.ts";
import { streamJob } from "./job-stream.ts";
import { readJson } from "./read-json.ts";
import { findRoute, Job } from "./router.ts";
import { storeRoutes } from "./store-routes.ts";
import { targetRoutes } from "./target-routes.ts";

/** What fits a Unix socket's address (sun_path) with its terminating zero. */
const SOCKET_PATH_LIMIT_BYTES = 107;

/** chown(2) leaves this one as it is. */
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
  /** Folders that were made for the socket, innermost first. */
  readonly #madeFolders: readonly string[];

  private constructor(
    path: string,
    server: Server,
    begin: () => void,
    madeFolders: readonly string[],
  ) {
    this.path = path;
    this.#server = server;
    this.#begin = begin;
    this.#madeFolders = madeFolders;
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
    let madeFolders: string[] = [];
    try {
      // Others than the owner reach the socket only through a folder that they may enter.
      const folderMode = (mode & 0o066) === 0 ? 0o700 : 0o711;
      const first = await mkdir(dirname(path), { recursive: true, mode: folderMode });
      madeFolders = foldersBetween(dirname(path), first);
      await removeAbandoned(path);
      await listenPrivately(server, path);
      if (userId !== undefined || groupId !== undefined) {
        await chown(path, userId ?? UNCHANGED_ID, groupId ?? UNCHANGED_ID);
      }
      await chmod(path, mode);
    } catch (error) {
      await closeServer(server);
      await removeFolders(madeFolders);
      const code = systemErrorCode(error) ?? "unknown error";
      throw new UsageError(`${path}: the control socket cannot be made (${code})`, {
        cause: error,
      });
    }
    return new ControlServer(path, server, begun.resolve, madeFolders);
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
    await removeFolders(this.#madeFolders);
  }
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}

/** From `folder` up to `first`, which contains it; none without a first. */
function foldersBetween(folder: string, first: string | undefined): string[] {
  const folders: string[] = [];
  if (first === undefined) return folders;
  for (let path = folder; path.length >= first.length; path = dirname(path)) {
    folders.push(path);
  }
  return folders;
}

async function removeFolders(folders: readonly string[]): Promise<void> {
  // One that holds something by now stays.
  for (const folder of folders) await rmdir(folder).catch(() => undefined);
}

/** The socket is its owner's from the moment it exists: it is made during the call. */
async function listenPrivately(server: Server, path: string): Promise<void> {
  const before = process.umask(0o177);
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
    const message = error instanceof Error ? error.message : String(error);
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
