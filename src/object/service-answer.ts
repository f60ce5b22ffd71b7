import { Readable } from "node:stream";
import { crc32Of } from "./checksums.ts";
import {
  type CallOptions,
  isFailure,
  ObjectFault,
  type ObjectFaultCode,
  type ObjectStatistics,
} from "./object-store.ts";

/**
 * What S3 and Azure have in common: a request is counted, its error becomes a fault, and the body
 * of an answer is read to its end. The clients' own error messages go no further than here: they
 * may quote requests, and requests may carry a secret.
 */

/** Names under which an object's own metadata are kept; Azure wants identifiers. */
export const WRITE_ID = "aoedwrite";
export const CRC32 = "aoedcrc32";

export interface ServiceError {
  /** Of the HTTP answer; undefined when there was none. */
  readonly status: number | undefined;
  /** The service's word for it, or the system's: "NoSuchKey", "ECONNRESET". */
  readonly name: string;
  readonly retryAfter: string | undefined;
}

/** Runs a request and turns its error into a fault, or into the reason of the signal. */
export async function callService<T>(
  statistics: ObjectStatistics,
  options: CallOptions | undefined,
  send: () => Promise<T>,
  faultOf: (error: unknown) => unknown,
): Promise<T> {
  options?.signal?.throwIfAborted();
  try {
    return await send();
  } catch (error) {
    options?.signal?.throwIfAborted();
    const fault = error instanceof ObjectFault ? error : faultOf(error);
    if (fault instanceof ObjectFault && isFailure(fault.code)) statistics.failures++;
    throw fault;
  }
}

const STATUS_FAULTS: Record<number, ObjectFaultCode> = {
  301: "denied",
  307: "denied",
  401: "denied",
  403: "denied",
  404: "missing",
  408: "unavailable",
  409: "unavailable",
  412: "changed",
  416: "corrupt",
  429: "unavailable",
  501: "unsupported",
  505: "unsupported",
};

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
  const remedy = REMEDIES[name] === undefined ? "" : `: ${REMEDIES[name]}`;
  return new ObjectFault(codeOf(error, ofStatus), `${what} failed (${said})${remedy}`, {
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
  readonly onPart?: () => void;
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
