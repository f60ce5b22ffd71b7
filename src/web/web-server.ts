import { randomUUID } from "node:crypto";
import { chmodSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { ListenOptions } from "node:net";
import type { ManagementApi } from "../control/control-api.ts";
import { healthProblems, isReady } from "../control/health.ts";
import { createServer } from "../control/http.ts";
import { readJson } from "../control/read-json.ts";
import { findRoute, type Route } from "../control/router.ts";
import { isAnswered, removeAbandoned } from "../control/socket-file.ts";
import { storeRoutes } from "../control/store-routes.ts";
import { targetRoutes } from "../control/target-routes.ts";
import { messageOf, systemErrorCode, UsageError } from "../errors.ts";
import { type Asset, loadAssets } from "./assets.ts";
import { expose } from "./exposition.ts";
import { History } from "./history.ts";
import { metricFamilies } from "./metric-families.ts";
import { RequestGuard } from "./request-guard.ts";

/** Where to listen: an address and port, or a Unix socket. */
export type WebAddress =
  | { readonly host: string; readonly port: number }
  | { readonly socketPath: string };

export interface WebOptions {
  readonly addresses: readonly WebAddress[];
  /** Whether the page may take, clone and roll back snapshots. */
  readonly allowsControl: boolean;
  /** For tests. */
  readonly silenceTimeoutMs?: number;
}

const SAMPLE_MS = 1000;
const REQUEST_TIMEOUT_MS = 10_000;
/** For how long a client may neither read nor ask. */
const SILENCE_TIMEOUT_MS = 30_000;
const CONNECTIONS_LIMIT = 64;
const SOCKET_MODE = 0o660;

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** What the page may ask of the control interface: to look, and with `allowsControl` a little more. */
const READ_PATHS = ["/v1/status", "/v1/stores", "/v1/volumes", "/v1/snapshots"];
const CHANGE_PATHS = [
  "/v1/snapshots",
  "/v1/snapshots/:snapshot/rollback",
  "/v1/snapshots/:snapshot/clone",
];

/**
 * The endpoint for looking at a server: `/metrics` for Prometheus, `/healthz` and `/readyz`, and a page
 * for people. It answers from the ManagementApi and knows no more than that.
 */
export class WebServer {
  readonly #api: ManagementApi;
  readonly #options: WebOptions;
  readonly #servers: Server[] = [];
  readonly #guard = new RequestGuard();
  readonly #assets: ReadonlyMap<string, Asset> = loadAssets();
  readonly #history = new History();
  /** Another one after a restart: samples are numbered anew. */
  readonly #instance = randomUUID();
  readonly #routes: readonly Route[];
  #timer: NodeJS.Timeout | undefined;

  private constructor(api: ManagementApi, options: WebOptions) {
    this.#api = api;
    this.#options = options;
    this.#routes = [...targetRoutes, ...storeRoutes].filter(({ method, path }) =>
      method === "GET"
        ? READ_PATHS.includes(path)
        : options.allowsControl && method === "POST" && CHANGE_PATHS.includes(path),
    );
  }

  /** Takes the addresses; until `begin` it answers that it starts. @throws UsageError */
  static async listen(api: ManagementApi, options: WebOptions): Promise<WebServer> {
    const web = new WebServer(api, options);
    try {
      for (const address of options.addresses) await web.#listen(address);
    } catch (error) {
      await web.close();
      throw error;
    }
    return web;
  }

  /** The ports that it listens on. */
  get ports(): number[] {
    return this.#servers.flatMap((server) => {
      const address = server.address();
      return typeof address === "object" && address !== null ? [address.port] : [];
    });
  }

  async #listen(address: WebAddress): Promise<void> {
    if ("socketPath" in address && (await isAnswered(address.socketPath))) {
      throw new UsageError(`metrics: ${address.socketPath}: another server answers here`);
    }
    const server = createServer((request, response) => {
      void this.#respond(request, response);
    });
    server.maxConnections = CONNECTIONS_LIMIT;
    server.requestTimeout = REQUEST_TIMEOUT_MS;
    server.timeout = this.#silenceTimeoutMs;
    this.#servers.push(server);
    try {
      if ("socketPath" in address) await removeAbandoned(address.socketPath);
      await listening(server, "socketPath" in address ? { path: address.socketPath } : address);
      if ("socketPath" in address) chmodSync(address.socketPath, SOCKET_MODE);
    } catch (error) {
      const place =
        "socketPath" in address ? address.socketPath : `${address.host}:${address.port}`;
      const code = systemErrorCode(error) ?? "unknown error";
      throw new UsageError(`metrics: ${place} cannot be listened on (${code}); name another`, {
        cause: error,
      });
    }
  }

  get #silenceTimeoutMs(): number {
    return this.#options.silenceTimeoutMs ?? SILENCE_TIMEOUT_MS;
  }

  /** From now on the server answers on the wire, so there is something to look at. */
  begin(): void {
    const sample = (): void => {
      // A server that is on its way down has no status.
      this.#api.status().then(
        (status) => this.#history.add(status, Date.now()),
        () => undefined,
      );
    };
    sample();
    this.#timer = setInterval(sample, SAMPLE_MS);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(
      this.#servers.map(async (server) => {
        const closed = new Promise((resolve) => server.close(resolve));
        server.closeAllConnections();
        await closed;
      }),
    );
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url = "/" } = request;
    const [path, search = ""] = url.split("?", 2);
    const refusal = this.#guard.refuse(request);
    if (refusal !== undefined) return sendJson(response, refusal.status, { error: refusal.reason });
    try {
      if (this.#timer === undefined) return sendJson(response, 503, { error: "it starts" });
      if (method === "GET" || method === "HEAD") {
        if (await this.#answerLook(path, search, request, response)) return;
      }
      await this.#answerApi(method, path, search, request, response);
    } catch (error) {
      const status = error instanceof UsageError ? 400 : 500;
      const message = messageOf(error);
      sendJson(response, status, { error: message });
    }
  }

  /** @returns whether the path was one of these */
  async #answerLook(
    path: string,
    search: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<boolean> {
    const asset = this.#assets.get(path);
    if (asset !== undefined) {
      send(response, 200, asset.contentType, asset.bytes);
    } else if (path === "/metrics") {
      const families = metricFamilies(await this.#api.status());
      const { contentType, text } = await expose(families, request.headers.accept);
      send(response, 200, contentType, text);
    } else if (path === "/healthz") {
      const problems = healthProblems(await this.#api.status());
      const status = problems.length === 0 ? "ok" : "degraded";
      sendJson(response, problems.length === 0 ? 200 : 503, { status, problems });
    } else if (path === "/readyz") {
      const ready = isReady(await this.#api.status());
      sendJson(response, ready ? 200 : 503, { status: ready ? "ready" : "no link is up" });
    } else if (path === "/v1/overview") {
      sendJson(response, 200, await this.#overview(new URLSearchParams(search)));
    } else {
      return false;
    }
    return true;
  }

  /** All that the page shows and changes each second, in one answer. */
  async #overview(query: URLSearchParams): Promise<object> {
    const status = await this.#api.status();
    const since = Number(query.get("since") ?? 0);
    return {
      status,
      problems: healthProblems(status),
      instance: this.#instance,
      samples: this.#history.since(Number.isFinite(since) ? since : 0),
      allowsControl: this.#options.allowsControl,
      ...(this.#options.allowsControl ? { token: this.#guard.token } : {}),
    };
  }

  async #answerApi(
    method: string,
    path: string,
    search: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const match = findRoute(this.#routes, method, path);
    if (match === undefined) {
      const isChange = method !== "GET" && method !== "HEAD";
      const readOnly = isChange && !this.#options.allowsControl;
      const error = readOnly
        ? "this page only shows; web_control = true lets it change snapshots"
        : "there is nothing here";
      return sendJson(response, readOnly ? 403 : 404, { error });
    }
    const body = method === "POST" ? await readJson(request) : {};
    const { parameters, route } = match;
    // A change may take its time: only what the client itself does not take is timed.
    request.socket.setTimeout(0);
    const query = new URLSearchParams(search);
    try {
      sendJson(response, 200, await route.handle(this.#api, { parameters, query, body }));
    } finally {
      request.socket.setTimeout(this.#silenceTimeoutMs);
    }
  }
}

function listening(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, resolve);
  });
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  send(response, status, "application/json", `${JSON.stringify(body)}\n`);
}

function send(
  response: ServerResponse,
  status: number,
  contentType: string,
  body: string | Buffer,
): void {
  response.writeHead(status, {
    "content-type": contentType,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
  });
  response.end(response.req.method === "HEAD" ? undefined : body);
}
