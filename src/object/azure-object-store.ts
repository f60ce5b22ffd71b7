import type {
  BlobDownloadResponseParsed,
  BlobRequestConditions,
  BlockBlobClient,
  ContainerClient,
} from "@azure/storage-blob";
import { containerClient } from "./azure-credentials.ts";
import { rangeOf } from "./byte-range.ts";
import { checksumsOf } from "./checksums.ts";
import {
  type ByteRange,
  type CallOptions,
  checkObjectKey,
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
import type { AzureSettings } from "./object-store-settings.ts";
import {
  callService,
  CRC32,
  plainEtag,
  readBody,
  serviceFault,
  totalOf,
  WRITE_ID,
} from "./service-answer.ts";
import { Silence } from "./silence.ts";

const SILENCE_TIMEOUT_MS = 15_000;

/** Objects of a container of Azure Blob Storage: block blobs. */
export class AzureObjectStore implements ObjectStore {
  readonly description: string;
  readonly statistics = newObjectStatistics();
  readonly #container: ContainerClient;
  readonly #prefix: string;
  #isClosed = false;

  private constructor(container: ContainerClient, { prefix }: AzureSettings) {
    this.#container = container;
    this.#prefix = prefix;
    const { host } = new URL(container.url);
    const under = prefix === "" ? "" : ` under ${prefix}`;
    this.description = `azure container ${container.containerName}${under} at ${host}`;
  }

  /** Loads the client; asks the service nothing yet. @throws UsageError */
  static async open(settings: AzureSettings): Promise<AzureObjectStore> {
    const sdk = await import("@azure/storage-blob");
    const container = containerClient(sdk, settings, {
      // What is tried again, and when, is decided above this store.
      retryOptions: { maxTries: 1 },
      keepAliveOptions: { enable: true },
    });
    return new AzureObjectStore(container, settings);
  }

  get(key: string, range?: ByteRange, options?: CallOptions): Promise<StoredObject> {
    const what = `get of ${key}`;
    return this.#call(what, key, options, async () => {
      this.statistics.gets++;
      const { offsetBytes, lengthBytes } = range ?? {};
      // The client has no limit of its own for a connection on which nothing moves.
      using silence = new Silence(what, SILENCE_TIMEOUT_MS, options?.signal);
      const once = { abortSignal: silence.signal, maxRetryRequests: 0 };
      try {
        const answer = await this.#blob(key).download(offsetBytes, lengthBytes, once);
        return await readObject(answer, range, key, () => silence.broken());
      } catch (error) {
        silence.signal.throwIfAborted();
        throw error;
      }
    }).then((object) => {
      this.statistics.bytesRead += object.data.length;
      return object;
    });
  }

  stat(key: string, options?: CallOptions): Promise<ObjectState> {
    return this.#call(`stat of ${key}`, key, options, async (abort) => {
      this.statistics.gets++;
      const { contentLength = 0, etag, metadata } = await this.#blob(key).getProperties(abort);
      const writeId = metadata?.[WRITE_ID];
      return { key, sizeBytes: contentLength, etag: plainEtag(etag), writeId };
    });
  }

  putIfAbsent(key: string, data: Uint8Array, options?: PutOptions): Promise<string> {
    const ofStatus = { 409: "exists", 412: "exists" } as const;
    return this.#put(key, data, { ifNoneMatch: "*" }, options, ofStatus);
  }

  putIfMatch(key: string, data: Uint8Array, etag: string, options?: PutOptions): Promise<string> {
    const ofStatus = { 404: "changed", 412: "changed" } as const;
    return this.#put(key, data, { ifMatch: `"${etag}"` }, options, ofStatus);
  }

  #put(
    key: string,
    data: Uint8Array,
    conditions: BlobRequestConditions,
    options: PutOptions | undefined,
    ofStatus: Record<number, ObjectFaultCode>,
  ): Promise<string> {
    const send = async (abort: CallAbort): Promise<string> => {
      const { md5, crc32 } = await checksumsOf(data);
      const writeId = options?.writeId;
      this.statistics.puts++;
      const { etag } = await this.#blob(key).upload(data, data.length, {
        ...abort,
        conditions,
        transactionalContentMD5: md5,
        metadata: { [CRC32]: crc32, ...(writeId !== undefined && { [WRITE_ID]: writeId }) },
      });
      this.statistics.bytesWritten += data.length;
      return plainEtag(etag);
    };
    return this.#call(`put of ${key}`, key, options, send, ofStatus);
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    const after = options?.after ?? "";
    let continuationToken: string | undefined;
    do {
      const page = await this.#page(prefix, continuationToken, options);
      for (const { name, properties } of page.segment.blobItems) {
        const key = name.slice(this.#prefix.length);
        if (key <= after) continue;
        yield { key, sizeBytes: properties.contentLength ?? 0, etag: plainEtag(properties.etag) };
      }
      continuationToken = page.continuationToken;
    } while (continuationToken !== undefined && continuationToken !== "");
  }

  #page(prefix: string, continuationToken: string | undefined, options: ListOptions | undefined) {
    return this.#call(`list of ${prefix}`, undefined, options, async (abort) => {
      this.statistics.lists++;
      const pages = this.#container
        .listBlobsFlat({ prefix: this.#prefix + prefix, ...abort })
        .byPage(continuationToken === undefined ? {} : { continuationToken });
      const { value } = await pages.next();
      if (value === undefined) throw new ObjectFault("unavailable", "the listing ended early");
      return value;
    });
  }

  delete(key: string, options?: CallOptions): Promise<void> {
    const send = async (abort: CallAbort): Promise<void> => {
      this.statistics.deletes++;
      await this.#blob(key).delete(abort);
    };
    return this.#call(`delete of ${key}`, key, options, send).catch((error: unknown) => {
      if (objectFaultCode(error) !== "missing") throw error;
    });
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  #blob(key: string): BlockBlobClient {
    return this.#container.getBlockBlobClient(this.#prefix + key);
  }

  async #call<T>(
    what: string,
    key: string | undefined,
    options: CallOptions | undefined,
    send: (abort: CallAbort) => Promise<T>,
    ofStatus?: Record<number, ObjectFaultCode>,
  ): Promise<T> {
    if (key !== undefined) checkObjectKey(key);
    if (this.#isClosed) throw new ObjectFault("unavailable", `${this.description} is closed`);
    const signal = options?.signal;
    const abort = signal === undefined ? {} : { abortSignal: signal };
    return callService(
      this.statistics,
      options,
      async () => send(abort),
      (error) => faultOf(error, what, ofStatus),
    );
  }
}

async function readObject(
  answer: BlobDownloadResponseParsed,
  range: ByteRange | undefined,
  key: string,
  onPart: () => void,
): Promise<StoredObject> {
  const { contentLength = 0, contentRange, metadata } = answer;
  const sizeBytes = range === undefined ? contentLength : totalOf(contentRange, contentLength, key);
  const { begin, end } = rangeOf(range, sizeBytes, key);
  const data = await readBody(answer.readableStreamBody, {
    key,
    lengthBytes: end - begin,
    crc32: range === undefined ? metadata?.[CRC32] : undefined,
    onPart,
  });
  return { data, etag: plainEtag(answer.etag), sizeBytes };
}

interface CallAbort {
  readonly abortSignal?: AbortSignal;
}

interface RestError {
  readonly code?: string;
  readonly statusCode?: number;
  readonly response?: { readonly headers: { get(name: string): string | undefined } };
}

function faultOf(
  error: unknown,
  what: string,
  ofStatus?: Record<number, ObjectFaultCode>,
): unknown {
  if (!(error instanceof Error) || error instanceof TypeError) return error;
  const { code, statusCode, response } = error as RestError;
  return serviceFault(
    {
      status: statusCode,
      name: code ?? response?.headers.get("x-ms-error-code") ?? "no answer",
      retryAfter: response?.headers.get("retry-after"),
    },
    what,
    ofStatus,
  );
}
