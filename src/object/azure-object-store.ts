import { Readable } from "node:stream";
import type { BlobRequestConditions, BlockBlobClient, ContainerClient } from "@azure/storage-blob";
import { containerClient } from "./azure-credentials.ts";
import { md5Of } from "./checksums.ts";
import {
  type ByteRange,
  type CallOptions,
  type ListOptions,
  ObjectFault,
  type ObjectInfo,
  type ObjectState,
  type PutOptions,
  type StoredObject,
} from "./object-store.ts";
import type { AzureSettings } from "./object-store-settings.ts";
import { plainEtag, type ServiceError } from "./service-answer.ts";
import { type CallAbort, ServiceObjectStore, type StatusFaults } from "./service-object-store.ts";
import { Silence } from "./silence.ts";

/**
 * The client has no limit of its own for a connection on which nothing moves, and the whole time of
 * a try lets a large object take minutes. What is written has gone only as far as the kernel's
 * buffer, which a slow line needs a while to empty.
 */
export const DEFAULT_SILENCES = { readMs: 15_000, writeMs: 30_000 };
/** After each of these it is known that something has moved. */
const PIECE_BYTES = 256 * 1024;

/** Objects of a container of Azure Blob Storage: block blobs. */
export class AzureObjectStore extends ServiceObjectStore {
  readonly #container: ContainerClient;
  readonly #silences: typeof DEFAULT_SILENCES;

  private constructor(
    container: ContainerClient,
    { prefix }: AzureSettings,
    silences: typeof DEFAULT_SILENCES,
  ) {
    const { host } = new URL(container.url);
    super(`azure container ${container.containerName}`, prefix, ` at ${host}`);
    this.#container = container;
    this.#silences = silences;
  }

  /** Loads the client; asks the service nothing yet. @throws UsageError */
  static async open(
    settings: AzureSettings,
    silences = DEFAULT_SILENCES,
  ): Promise<AzureObjectStore> {
    const sdk = await import("@azure/storage-blob");
    const container = containerClient(sdk, settings, {
      // What is tried again, and when, is decided above this store.
      retryOptions: { maxTries: 1 },
      keepAliveOptions: { enable: true },
    });
    return new AzureObjectStore(container, settings, silences);
  }

  get(key: string, range?: ByteRange, options?: CallOptions): Promise<StoredObject> {
    const what = `get of ${key}`;
    return this.call(what, key, options, async (abort) => {
      this.statistics.gets++;
      const { offsetBytes, lengthBytes } = range ?? {};
      return unlessSilent(what, this.#silences.readMs, abort, async (once, onPart) => {
        const answer = await this.#blob(key).download(offsetBytes, lengthBytes, {
          ...once,
          maxRetryRequests: 0,
        });
        const { readableStreamBody: body, contentLength, contentRange, etag, metadata } = answer;
        return this.read(key, range, { body, contentLength, contentRange, etag, metadata }, onPart);
      });
    });
  }

  stat(key: string, options?: CallOptions): Promise<ObjectState> {
    return this.call(`stat of ${key}`, key, options, async (abort) => {
      this.statistics.gets++;
      const answer = await this.#blob(key).getProperties(abort);
      return this.stateOf(key, answer.contentLength, answer);
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
    ofStatus: StatusFaults,
  ): Promise<string> {
    return this.put(key, data, options, ofStatus, async (metadata, abort) => {
      const md5 = await md5Of(data);
      const { writeMs } = this.#silences;
      return unlessSilent(`put of ${key}`, writeMs, abort, async (once, onProgress) => {
        const { etag } = await this.#blob(key).upload(bodyOf(data), data.length, {
          ...once,
          onProgress,
          conditions,
          transactionalContentMD5: md5,
          metadata,
        });
        return etag;
      });
    });
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    const after = options?.after ?? "";
    let continuationToken: string | undefined;
    do {
      const page = await this.#page(prefix, continuationToken, options);
      for (const { name, properties } of page.segment.blobItems) {
        const key = name.slice(this.prefix.length);
        if (key <= after) continue;
        yield { key, sizeBytes: properties.contentLength ?? 0, etag: plainEtag(properties.etag) };
      }
      continuationToken = page.continuationToken;
    } while (continuationToken !== undefined && continuationToken !== "");
  }

  #page(prefix: string, continuationToken: string | undefined, options: ListOptions | undefined) {
    return this.call(`list of ${prefix}`, undefined, options, async (abort) => {
      this.statistics.lists++;
      const pages = this.#container
        .listBlobsFlat({ prefix: this.prefix + prefix, ...abort })
        .byPage(continuationToken === undefined ? {} : { continuationToken });
      const { value } = await pages.next();
      if (value === undefined) throw new ObjectFault("unavailable", "the listing ended early");
      return value;
    });
  }

  protected remove(key: string, abort: CallAbort): Promise<unknown> {
    return this.#blob(key).delete(abort);
  }

  #blob(key: string): BlockBlobClient {
    return this.#container.getBlockBlobClient(this.prefix + key);
  }

  protected errorOf(error: Error): ServiceError {
    const { code, statusCode, response } = error as RestError;
    return {
      status: statusCode,
      name: code ?? response?.headers.get("x-ms-error-code") ?? "no answer",
      retryAfter: response?.headers.get("retry-after"),
    };
  }
}

interface RestError {
  readonly code?: string;
  readonly statusCode?: number;
  readonly response?: { readonly headers: { get(name: string): string | undefined } };
}

/** The client tells how far it is at the end of each piece only. */
function bodyOf(data: Uint8Array): Uint8Array | (() => Readable) {
  if (data.length <= PIECE_BYTES) return data;
  return () => Readable.from(piecesOf(data), { objectMode: false });
}

function* piecesOf(data: Uint8Array): Iterable<Uint8Array> {
  for (let begin = 0; begin < data.length; begin += PIECE_BYTES) {
    yield data.subarray(begin, begin + PIECE_BYTES);
  }
}

/** Ends a request on which nothing moves. @param send calls `onMove` whenever something does */
async function unlessSilent<T>(
  what: string,
  longestMs: number,
  { abortSignal }: CallAbort,
  send: (abort: CallAbort, onMove: () => void) => Promise<T>,
): Promise<T> {
  using silence = new Silence(what, longestMs, abortSignal);
  try {
    return await send({ abortSignal: silence.signal }, () => silence.broken());
  } catch (error) {
    silence.signal.throwIfAborted();
    throw error;
  }
}
