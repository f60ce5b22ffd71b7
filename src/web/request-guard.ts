import { randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";

/** Why a request is not carried out, with its status code. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
}

/** The header that a page of ours sends with everything that changes something. */
const TOKEN_HEADER = "x-aoed-token";

/**
 * Keeps other web pages out: a browser lets any page send requests to this machine.
 *
 * - DNS rebinding: a name of the attacker's that suddenly means this machine. Such a request has
 *   that name as its Host; only addresses and "localhost" are served.
 * - Forged requests: what changes something needs the Origin of our own page, a type that no form
 *   can send, and a token that other pages cannot read.
 */
export class RequestGuard {
  /** Known to whoever can read our own page; new at each start. */
  readonly token = randomBytes(32).toString("base64url");

  /** @returns why the request must not be served */
  refuse(request: IncomingMessage): Refusal | undefined {
    const { host } = request.headers;
    if (host === undefined || !isAddress(host)) {
      return { status: 421, reason: "ask for this server by its address, or as localhost" };
    }
    if (request.method === "GET" || request.method === "HEAD") return undefined;
    return this.#refuseChange(request, host);
  }

  #refuseChange(request: IncomingMessage, host: string): Refusal | undefined {
    const { origin } = request.headers;
    if (origin !== `http://${host}`) {
      return { status: 403, reason: "a change must come from the page of this server" };
    }
    if (request.headers["content-type"] !== "application/json") {
      return { status: 415, reason: "a change is sent as application/json" };
    }
    if (!this.#isToken(request.headers[TOKEN_HEADER])) {
      return { status: 403, reason: "the page is older than the server; load it again" };
    }
    return undefined;
  }

  #isToken(given: string | string[] | undefined): boolean {
    const [expected, actual] = [Buffer.from(this.token), Buffer.from(String(given))];
    return expected.length === actual.length && timingSafeEqual(expected, actual);
  }
}

/** "127.0.0.1:9190", "[::1]:9190", "localhost". */
function isAddress(host: string): boolean {
  const name = host.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return name.toLowerCase() === "localhost" || isIP(name) !== 0;
}
