import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * A strict S3 in this process: conditions, Content-MD5, ranges and pages as the real one has them,
 * and whatever goes wrong on a bad day, as a test asks for it.
 */

export interface S3Request {
  readonly method: string;
  /** "" for a listing. */
  readonly key: string;
  /** How many requests came before. */
  readonly ordinal: number;
}

/**
 * What becomes of a request: a status with an S3 error code; an answer that never comes, that comes
 * after the connection has gone, or that is cut off, wrong in one bit, or not XML. `lost`: it takes
 * effect, but the connection ends without an answer. `foreign 404`: something on the way answers in
 * place of the service. `whole`: the range that was asked for is not heeded.
 */
export type S3Mishap =
  | { readonly status: number; readonly code: string; readonly retryAfter?: string }
  | "drop"
  | "lost"
  | "hang"
  | "cut"
  | "flip"
  | "garbage"
  | "foreign 404"
  | "whole"
  | undefined;

export interface S3ServerOptions {
  /** As some old services do. */
  ignoreConditions?: boolean;
  /** Knows an etag in If-Match only so. */
  quotes?: "needed" | "refused";
  keysPerPage?: number;
}

interface Stored {
  readonly data: Buffer;
  readonly etag: string;
  readonly metadata: Record<string, string>;
}

interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: Buffer | string;
}

const failure = (status: number, code: string, retryAfter?: string): Answer => ({
  status,
  headers: { "content-type": "application/xml", ...(retryAfter && { "retry-after": retryAfter }) },
  body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`,
});

const FOREIGN: Answer = {
  status: 404,
  headers: { "content-type": "text/html" },
  body: "<!doctype html><html><head><title>404</title><body><p>Not found<br></html>",
};

const md5 = (data: Uint8Array, form: "hex" | "base64"): string =>
  createHash("md5").update(data).digest(form);

export class S3Server {
  readonly bucket = "disks";
  readonly objects = new Map<string, Stored>();
  readonly options: S3ServerOptions;
  mishap: (request: S3Request) => S3Mishap = () => undefined;
  readonly requests: S3Request[] = [];
  readonly #server: Server;

  private constructor(server: Server, options: S3ServerOptions) {
    this.#server = server;
    this.options = options;
  }

  static async start(options: S3ServerOptions = {}): Promise<S3Server> {
    const http = createServer();
    const server = new S3Server(http, options);
    http.on("request", (request, response) => void server.#serve(request, response));
    await once(http.listen(0, "127.0.0.1"), "listening");
    return server;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Connections that are open. */
  connections(): Promise<number> {
    return new Promise((resolve) => {
      this.#server.getConnections((_, count) => resolve(count));
    });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return; // the client went away
    }
    const url = new URL(request.url ?? "/", this.endpoint);
    const [, bucket = "", ...parts] = decodeURIComponent(url.pathname).split("/");
    const key = parts.join("/");
    const seen = { method: request.method ?? "", key, ordinal: this.requests.length };
    this.requests.push(seen);
    const mishap = this.mishap(seen);
    if (mishap === "hang") return;
    if (mishap === "drop") return void request.socket.destroy();
    if (typeof mishap === "object") {
      return send(response, failure(mishap.status, mishap.code, mishap.retryAfter));
    }
    if (mishap === "foreign 404") return send(response, FOREIGN);
    if (mishap === "whole") delete request.headers.range;
    const body = Buffer.concat(chunks);
    const answer =
      this.#refused(request, body, bucket) ??
      (key === "" ? this.#list(url.searchParams) : this.#object(request, key, body));
    if (mishap === "lost") return void request.socket.destroy();
    send(response, answer, mishap);
  }

  #refused(request: IncomingMessage, body: Buffer, bucket: string): Answer | undefined {
    const { authorization, "content-md5": sum } = request.headers;
    if (!authorization?.startsWith("AWS4-HMAC-SHA256 ")) return failure(403, "AccessDenied");
    const signed = request.headers["x-amz-content-sha256"];
    const sha256 = createHash("sha256").update(body).digest("hex");
    if (signed !== sha256) return failure(400, "XAmzContentSHA256Mismatch");
    if (bucket !== this.bucket) return failure(404, "NoSuchBucket");
    if (request.method === "PUT" && sum !== md5(body, "base64")) return failure(400, "BadDigest");
    return undefined;
  }

  #object(request: IncomingMessage, key: string, body: Buffer): Answer {
    const stored = this.objects.get(key);
    switch (request.method) {
      case "PUT":
        return this.#put(request, key, body, stored);
      case "GET":
      case "HEAD":
        return stored === undefined ? failure(404, "NoSuchKey") : get(request, stored);
      case "DELETE":
        this.objects.delete(key);
        return { status: 204 };
      default:
        return failure(501, "NotImplemented");
    }
  }

  #put(request: IncomingMessage, key: string, data: Buffer, stored?: Stored): Answer {
    const { "if-none-match": ifNoneMatch, "if-match": ifMatch } = request.headers;
    if (this.options.ignoreConditions !== true) {
      if (ifNoneMatch === "*" && stored !== undefined) return failure(412, "PreconditionFailed");
      if (ifMatch !== undefined && stored === undefined) return failure(404, "NoSuchKey");
      if (ifMatch !== undefined && !this.#matches(ifMatch, stored?.etag ?? "")) {
        return failure(412, "PreconditionFailed");
      }
    }
    const metadata: Record<string, string> = {};
    for (const [name, value] of Object.entries(request.headers)) {
      if (name.startsWith("x-amz-meta-")) metadata[name] = String(value);
    }
    const etag = md5(data, "hex");
    this.objects.set(key, { data, etag, metadata });
    return { status: 200, headers: { etag: `"${etag}"` } };
  }

  #matches(ifMatch: string, etag: string): boolean {
    const { quotes } = this.options;
    return (
      (quotes !== "needed" && ifMatch === etag) || (quotes !== "refused" && ifMatch === `"${etag}"`)
    );
  }

  #list(query: URLSearchParams): Answer {
    const prefix = query.get("prefix") ?? "";
    const after = query.get("start-after") ?? "";
    const { keysPerPage = 1000 } = this.options;
    const keys = [...this.objects.keys()]
      .filter((key) => key.startsWith(prefix) && key > after)
      .toSorted();
    const page = keys.slice(0, keysPerPage).map((key) => {
      const { data, etag } = this.objects.get(key) ?? { data: "", etag: "" };
      return `<Contents><Key>${key}</Key><Size>${data.length}</Size><ETag>&quot;${etag}&quot;</ETag></Contents>`;
    });
    const isTruncated = keys.length > page.length;
    return {
      status: 200,
      headers: { "content-type": "application/xml" },
      body: `<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>${isTruncated}</IsTruncated>${page.join("")}</ListBucketResult>`,
    };
  }
}

function get(request: IncomingMessage, { data, etag, metadata }: Stored): Answer {
  const headers = { ...metadata, etag: `"${etag}"` };
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  if (range === null) return { status: 200, headers, body: data };
  const [begin, last] = [Number(range[1]), Math.min(Number(range[2]), data.length - 1)];
  if (begin >= data.length) return failure(416, "InvalidRange");
  return {
    status: 206,
    headers: { ...headers, "content-range": `bytes ${begin}-${last}/${data.length}` },
    body: data.subarray(begin, last + 1),
  };
}

function send(response: ServerResponse, answer: Answer, mishap?: S3Mishap): void {
  const body = Buffer.from(answer.body ?? "");
  if (mishap === "flip" && body.length > 0) body[body.length >> 1] ^= 1;
  response.writeHead(answer.status, { ...answer.headers, "content-length": body.length });
  if (mishap === "garbage") response.end(Buffer.alloc(body.length, "<"));
  else if (mishap === "cut" && body.length > 0) {
    response.write(body.subarray(0, body.length >> 1), () => response.socket?.destroy());
  } else response.end(body);
}
