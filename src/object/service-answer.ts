import { Readable } from "node:stream";
import { crc32Of } from "./checksums.ts";
import { ObjectFault, type ObjectFaultCode } from "./object-store.ts";

/** What the answers of S3 and of Azure mean, and how the body of one is read to its end. */

export interface ServiceError {
  /** Of the HTTP answer; undefined when there was none. */
  readonly status: number | undefined;
  /** The service's word for it, or the system's: "NoSuchKey", "ECONNRESET". */
  readonly name: string;
  readonly retryAfter: string | undefined;
}

const STATUS_FAULTS: Record<number, ObjectFaultCode> = {
  301: "denied",
  307: "denied",
  401: "denied",
  403: "denied",
  408: "unavailable",
  409: "unavailable",
  412: "changed",
  416: "corrupt",
  429: "unavailable",
  501: "unsupported",
  505: "unsupported",
};

/**
 * What the services call an object that is not there. Any other 404 is not theirs, or not about the
 * object: a proxy on the way gives one, and so does an endpoint with a wrong path. Nobody may take
 * that for a store that is empty.
 */
const MISSING_NAMES: ReadonlySet<string> = new Set(["NoSuchKey", "BlobNotFound"]);
const NOT_OF_THE_STORE =
  "the answer does not come from the store: check the endpoint, and the proxies on the way to it";

/** Statuses that S3 gives for a request that was fine, or would be if sent again. */
const NAME_FAULTS: Record<string, ObjectFaultCode> = {
  BadDigest: "unavailable",
  IncompleteBody: "unavailable",
  Md5Mismatch: "unavailable",
  RequestTimeout: "unavailable",
  XAmzContentSHA256Mismatch: "unavailable",
  XAmzContentChecksumMismatch: "unavailable",
  NoSuchBucket: "denied",
  ContainerNotFound: "denied",
  ContainerBeingDeleted: "unavailable",
  CredentialsProviderError: "denied",
  ExpiredToken: "denied",
  InvalidToken: "denied",
  AuthorizationHeaderMalformed: "denied",
};

/** Words for what people can mend. */
const REMEDIES: Record<string, string> = {
  NoSuchBucket: "make the bucket, or correct its name",
  ContainerNotFound: "make the container, or correct its name",
  CredentialsProviderError: "no credentials were found",
  ExpiredToken: "renew the credentials",
  AuthorizationHeaderMalformed: "the region is wrong",
  RequestTimeTooSkewed: "set this machine's clock",
  PermanentRedirect: "the bucket is in another region or at another endpoint",
};

/**
 * @param what the call, for the message: "get of packs/1"
 * @param ofStatus what a status means for this call and not for others
 */
export function serviceFault(
  error: ServiceError,
  what: string,
  ofStatus: Readonly<Record<number, ObjectFaultCode>> = {},
): ObjectFault {
  const { status, name } = error;
  const said = status === undefined ? name : `${name}, HTTP ${status}`;
  const code = codeOf(error, ofStatus);
  const isForeign = status === 404 && code === "unavailable" && NAME_FAULTS[name] === undefined;
  const words = isForeign ? NOT_OF_THE_STORE : REMEDIES[name];
  const remedy = words === undefined ? "" : `: ${words}`;
  return new ObjectFault(code, `${what} failed (${said})${remedy}`, {
    retryAfterMs: retryAfterMsOf(error.retryAfter),
  });
}

function codeOf(
  { status, name }: ServiceError,
  ofStatus: Readonly<Record<number, ObjectFaultCode>>,
): ObjectFaultCode {
  const byName = NAME_FAULTS[name];
  if (byName !== undefined) return byName;
  // No answer at all, or one that is no HTTP or no XML.
  if (status === undefined || status < 300) return "unavailable";
  if (status === 404) {
    return MISSING_NAMES.has(name) ? (ofStatus[404] ?? "missing") : "unavailable";
  }
  const known = ofStatus[status] ?? STATUS_FAULTS[status];
  if (known !== undefined) return known;
  return status >= 500 ? "unavailable" : "unsupported";
}

/** Who says longer is asked again all the same: a lease does not wait for so long. */
const LONGEST_RETRY_AFTER_MS = 30_000;

/** Seconds or a date, as RFC 9110 §10.2.3 has it. */
function retryAfterMsOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = /^\d{1,6}$/.test(text) ? Number(text) : undefined;
  const delayMs = seconds === undefined ? Date.parse(text) - Date.now() : seconds * 1000;
  if (Number.isNaN(delayMs)) return undefined;
  return Math.min(LONGEST_RETRY_AFTER_MS, Math.max(0, delayMs));
}

/** What is expected of a body that is read. */
export interface ExpectedBody {
  readonly key: string;
  readonly lengthBytes: number;
  /** Of a whole object that has one. */
  readonly crc32: string | undefined;
  /** Called for each part that comes. */
  readonly onPart?: (() => void) | undefined;
}

/** @throws ObjectFault `corrupt` when it is not what was expected; errors of the connection */
export async function readBody(body: unknown, expected: ExpectedBody): Promise<Uint8Array> {
  if (!(body instanceof Readable)) throw new TypeError("the answer has no body");
  const { key, lengthBytes } = expected;
  // Not from the pool of small buffers: it may be kept for long.
  const data = Buffer.allocUnsafeSlow(lengthBytes);
  let filled = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    if (filled + chunk.length > lengthBytes) {
      throw new ObjectFault("corrupt", `object ${key}: more than ${lengthBytes} octets came`);
    }
    data.set(chunk, filled);
    expected.onPart?.();
    filled += chunk.length;
  }
  if (filled !== lengthBytes) {
    throw new ObjectFault("corrupt", `object ${key}: ${filled} octets of ${lengthBytes} came`);
  }
  if (expected.crc32 !== undefined && (await crc32Of(data)) !== expected.crc32) {
    throw new ObjectFault("corrupt", `object ${key}: the checksum is wrong`);
  }
  return data;
}

/** Ends the connection of a body that is not read to its end. */
export function releaseBody(body: unknown): void {
  if (body instanceof Readable) body.destroy();
}

/** Without the quotes that HTTP puts around it. */
export function plainEtag(etag: string | undefined): string {
  if (etag === undefined)
    throw new ObjectFault("unsupported", "the store answered without an etag");
  return etag.replace(/^"(.*)"$/, "$1");
}

/** The size of the object that a range is of: "bytes 0-9/100". @throws ObjectFault */
export function totalOf(
  contentRange: string | undefined,
  contentLength: number | undefined,
  key: string,
): number {
  const total = /^bytes \d+-\d+\/(\d+)$/.exec(contentRange ?? "")?.[1];
  if (total !== undefined) return Number(total);
  // Of an empty object some services give all that there is.
  if (contentLength === 0) return 0;
  throw new ObjectFault("unsupported", `object ${key}: the store does not give ranges`);
}
