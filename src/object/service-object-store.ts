import { crc32Of } from "./checksums.ts";
import { rangeOf } from "./byte-range.ts";
import {
  type ByteRange,
  type CallOptions,
  checkObjectKey,
  isFailure,
  type ListOptions,
  newObjectStatistics,
  ObjectFault,
  type ObjectFaultCode,
  type ObjectInfo,
  type ObjectState,
  type ObjectStore,
  objectFaultCode,
  type PutOptions,
  type StoredObject,
} from "./object-store.ts";
import {
  plainEtag,
  readBody,
  releaseBody,
  type ServiceError,
  serviceFault,
  totalOf,
} from "./service-answer.ts";

/** Names under which an object's own metadata are kept; Azure wants identifiers. */
const WRITE_ID = "aoedwrite";
const CRC32 = "aoedcrc32";

/** What a status means for one call and not for others. */
export type StatusFaults = Readonly<Record<number, ObjectFaultCode>>;

/** As the clients of the services take it: without the key when there is no signal. */
export interface CallAbort {
  readonly abortSignal?: AbortSignal;
}

export type ObjectMetadata = Record<string, string>;

/** An answer with the bytes of an object, or of a range of it. */
export interface ObjectAnswer {
  readonly body: unknown;
  readonly contentLength?: number | undefined;
  readonly contentRange?: string | undefined;
  readonly etag?: string | undefined;
  readonly metadata?: ObjectMetadata | undefined;
}

/** What the stores of S3 and Azure share: how a call is checked, counted, ended and read. */
export abstract class ServiceObjectStore implements ObjectStore {
  readonly description: string;
  readonly statistics = newObjectStatistics();
  /** Before every key. */
  protected readonly prefix: string;
  #isClosed = false;

  /** @param what "s3 bucket disks" */
  protected constructor(what: string, prefix: string, where: string) {
    this.prefix = prefix;
    this.description = `${what}${prefix === "" ? "" : ` under ${prefix}`}${where}`;
  }

  abstract get(key: string, range?: ByteRange, options?: CallOptions): Promise<StoredObject>;
  abstract stat(key: string, options?: CallOptions): Promise<ObjectState>;
  abstract putIfAbsent(key: string, data: Uint8Array, options?: PutOptions): Promise<string>;
  abstract putIfMatch(
    key: string,
    data: Uint8Array,
    etag: string,
    options?: PutOptions,
  ): Promise<string>;
  abstract list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo>;

  /** Sends the request that deletes an object. */
  protected abstract remove(key: string, abort: CallAbort): Promise<unknown>;
  /** What the error of the service's client says. */
  protected abstract errorOf(error: Error): ServiceError;

  delete(key: string, options?: CallOptions): Promise<void> {
    const send = async (abort: CallAbort): Promise<void> => {
      this.statistics.deletes++;
      await this.remove(key, abort);
    };
    return this.call(`delete of ${key}`, key, options, send).catch((error: unknown) => {
      if (objectFaultCode(error) !== "missing") throw error;
    });
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  /** @param upload sends the request; gives the etag of the answer */
  protected put(
    key: string,
    data: Uint8Array,
    options: PutOptions | undefined,
    ofStatus: StatusFaults,
    upload: (metadata: ObjectMetadata, abort: CallAbort) => Promise<string | undefined>,
  ): Promise<string> {
    const send = async (abort: CallAbort): Promise<string> => {
      const writeId = options?.writeId;
      const metadata = { [CRC32]: await crc32Of(data), ...(writeId && { [WRITE_ID]: writeId }) };
      this.statistics.puts++;
      const etag = await upload(metadata, abort);
      this.statistics.bytesWritten += data.length;
      return plainEtag(etag);
    };
    return this.call(`put of ${key}`, key, options, send, ofStatus);
  }

  /** @param onPart called for each part that comes */
  protected async read(
    key: string,
    range: ByteRange | undefined,
    answer: ObjectAnswer,
    onPart?: () => void,
  ): Promise<StoredObject> {
    const { body, contentLength = 0, contentRange, etag, metadata } = answer;
    try {
      const sizeBytes =
        range === undefined ? contentLength : totalOf(contentRange, contentLength, key);
      const { begin, end } = rangeOf(range, sizeBytes, key);
      const data = await readBody(body, {
        key,
        lengthBytes: end - begin,
        crc32: range === undefined ? metadata?.[CRC32] : undefined,
        onPart,
      });
      this.statistics.bytesRead += data.length;
      return { data, etag: plainEtag(etag), sizeBytes };
    } catch (error) {
      // Nobody reads what is left of it, and its connection would wait for that for ever.
      releaseBody(body);
      throw error;
    }
  }

  protected stateOf(
    key: string,
    sizeBytes: number | undefined,
    { etag, metadata }: Pick<ObjectAnswer, "etag" | "metadata">,
  ): ObjectState {
    const writeId = metadata?.[WRITE_ID];
    return { key, sizeBytes: sizeBytes ?? 0, etag: plainEtag(etag), writeId };
  }

  /**
   * Sends a request and turns its error into a fault, or into the reason of the signal.
   * @param what the call, for messages: "get of packs/1"
   */
  protected async call<T>(
    what: string,
    key: string | undefined,
    options: CallOptions | undefined,
    send: (abort: CallAbort) => Promise<T>,
    ofStatus?: StatusFaults,
  ): Promise<T> {
    if (key !== undefined) checkObjectKey(key);
    if (this.#isClosed) throw new ObjectFault("unavailable", `${this.description} is closed`);
    const signal = options?.signal;
    signal?.throwIfAborted();
    try {
      return await send(signal === undefined ? {} : { abortSignal: signal });
    } catch (error) {
      signal?.throwIfAborted();
      const fault = this.#faultOf(error, what, ofStatus);
      if (fault instanceof ObjectFault && isFailure(fault.code)) this.statistics.failures++;
      throw fault;
    }
  }

  /** The clients' own messages go no further: they may quote requests, and these may hold a secret. */
  #faultOf(error: unknown, what: string, ofStatus: StatusFaults | undefined): unknown {
    if (error instanceof ObjectFault || error instanceof TypeError) return error;
    if (!(error instanceof Error)) return error;
    return serviceFault(this.errorOf(error), what, ofStatus);
  }
}
