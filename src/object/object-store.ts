import { RuntimeFault } from "../errors.ts";

/**
 * ObjectStore: whole objects under names, as S3, Azure Blob Storage or a folder keep them. It is
 * what packs, heads and leases are written to; blobs and volumes are things of the layers above.
 *
 * What every store promises (`object-store.compliance.ts` checks it):
 * - an object is there wholly or not at all, and a `put` that has resolved is durable: every later
 *   `get` and `list`, of any process, sees it;
 * - of any number of conditional puts that race for one key exactly one succeeds;
 * - `get` gives the bytes that were put, or rejects; it never gives fewer;
 * - a call rejects with an `ObjectFault`, or with the reason of its signal, and with nothing else.
 *
 * Keys are 1 to 900 characters out of `A–Z a–z 0–9 . _ - /`. A part between slashes is not empty
 * and does not begin with a dot, and no key continues another one with a slash (`a` and `a/b` are
 * not both keys): a folder cannot hold such a pair.
 */
export interface ObjectStore {
  /** What and where, for people: "s3 bucket disks, prefix lab/, at http://…". Never a secret. */
  readonly description: string;
  readonly statistics: ObjectStatistics;

  /**
   * @param range a part of the object; it ends where the object ends. A range that begins there or
   *   later rejects with the fault `corrupt`: the caller took the object for longer.
   * @throws ObjectFault `missing`
   */
  get(key: string, range?: ByteRange, options?: CallOptions): Promise<StoredObject>;

  /** Size and version without the bytes. @throws ObjectFault `missing` */
  stat(key: string, options?: CallOptions): Promise<ObjectState>;

  /**
   * Writes a new object; the bytes must not change until the promise is settled.
   * @returns its etag
   * @throws ObjectFault `exists`
   */
  putIfAbsent(key: string, data: Uint8Array, options?: PutOptions): Promise<string>;

  /**
   * Replaces the version of an object that has this etag.
   * @returns the new etag
   * @throws ObjectFault `changed`, also when there is no object any more
   */
  putIfMatch(key: string, data: Uint8Array, etag: string, options?: PutOptions): Promise<string>;

  /**
   * The objects whose keys begin with `prefix` (any text, not a folder), by key in the order of
   * its octets. What is put or deleted meanwhile may be in it or not.
   * @param options.after only keys behind this one
   */
  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo>;

  /** No fault when there is no such object. */
  delete(key: string, options?: CallOptions): Promise<void>;

  close(): Promise<void>;
}

export interface ByteRange {
  readonly offsetBytes: number;
  /** At least 1. */
  readonly lengthBytes: number;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface ListOptions extends CallOptions {
  readonly after?: string | undefined;
}

export interface PutOptions extends CallOptions {
  /**
   * Kept beside the object, see `ObjectState.writeId`: 1 to 64 of `A–Z a–z 0–9 -`. Who puts again
   * after an answer was lost knows by it whether the version that is in the way is its own.
   */
  readonly writeId?: string | undefined;
}

export interface ObjectInfo {
  readonly key: string;
  readonly sizeBytes: number;
  /**
   * Names a version of the object: opaque, in the form in which `putIfMatch` takes it. Versions
   * with the same bytes may have the same one: who replaces an object writes other bytes.
   */
  readonly etag: string;
}

export interface ObjectState extends ObjectInfo {
  /** Of the put that wrote this version; undefined where the store keeps none. */
  readonly writeId: string | undefined;
}

export interface StoredObject {
  /** The whole object or the range. */
  readonly data: Uint8Array;
  readonly etag: string;
  /** Of the whole object. */
  readonly sizeBytes: number;
}

/** Since the store was opened: requests as the store's owner is charged for them. */
export interface ObjectStatistics {
  puts: number;
  gets: number;
  lists: number;
  deletes: number;
  bytesWritten: number;
  bytesRead: number;
  /** Requests that were tried again. */
  retries: number;
  /** Requests that ended with a fault other than `missing`, `exists` and `changed`. */
  failures: number;
}

export function newObjectStatistics(): ObjectStatistics {
  return {
    puts: 0,
    gets: 0,
    lists: 0,
    deletes: 0,
    bytesWritten: 0,
    bytesRead: 0,
    retries: 0,
    failures: 0,
  };
}

export type ObjectFaultCode =
  /** There is no object of this name. */
  | "missing"
  /** `putIfAbsent` found an object. */
  | "exists"
  /** `putIfMatch` found another version, or none. */
  | "changed"
  /** The credentials do not allow it, or the bucket does not exist: trying again does not help. */
  | "denied"
  /**
   * The store did not answer, is overloaded or failed; the same call may succeed later. A put may
   * have taken effect.
   */
  | "unavailable"
  /** What came back has the wrong length or checksum. */
  | "corrupt"
  /** The store cannot do what is asked: it ignores conditions, or refuses this kind of request. */
  | "unsupported";

export class ObjectFault extends RuntimeFault {
  readonly code: ObjectFaultCode;
  /** Of an `unavailable` store that said when to come back. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ObjectFaultCode,
    message: string,
    options?: ErrorOptions & { retryAfterMs?: number | undefined },
  ) {
    super(message, options);
    this.name = "ObjectFault";
    this.code = code;
    this.retryAfterMs = options?.retryAfterMs;
  }
}

/** Whether a fault means that something is wrong, and not that another was first. */
export function isFailure(code: ObjectFaultCode): boolean {
  return code !== "missing" && code !== "exists" && code !== "changed";
}

/** The code of an ObjectFault, or undefined for anything else that was thrown. */
export function objectFaultCode(error: unknown): ObjectFaultCode | undefined {
  return error instanceof ObjectFault ? error.code : undefined;
}

export const MAX_KEY_LENGTH = 900;

/** @throws TypeError: a key is made by the program, never by a user or by the wire */
export function checkObjectKey(key: string): void {
  const isKey = key.length <= MAX_KEY_LENGTH && /^[\w-][\w.-]*(?:\/[\w-][\w.-]*)*$/.test(key);
  if (!isKey) throw new TypeError(`${JSON.stringify(key)} is not the key of an object`);
}
