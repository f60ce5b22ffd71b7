import type * as S3Sdk from "@aws-sdk/client-s3";
import type { GetObjectCommandOutput, PutObjectCommandInput, S3Client } from "@aws-sdk/client-s3";
import { UsageError } from "../errors.ts";
import { checksumsOf, OffloadedSha256 } from "./checksums.ts";
import { rangeOf } from "./byte-range.ts";
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
import type { S3Settings } from "./object-store-settings.ts";
import {
  callService,
  CRC32,
  plainEtag,
  readBody,
  serviceFault,
  totalOf,
  WRITE_ID,
} from "./service-answer.ts";

type Sdk = typeof S3Sdk;

const CONNECTION_TIMEOUT_MS = 5000;
/** Of a connection on which nothing moves: far sooner than what a large object may take. */
const SILENCE_TIMEOUT_MS = 15_000;
const MAX_CONNECTIONS = 64;

/** Objects of a bucket of Amazon S3, or of what speaks its protocol. */
export class S3ObjectStore implements ObjectStore {
  readonly description: string;
  readonly statistics = newObjectStatistics();
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  /** Some services know an etag in If-Match only without its quotes, others only with them. */
  #quotesEtags = true;
  #isClosed = false;

  private constructor(sdk: Sdk, client: S3Client, settings: S3Settings) {
    const { bucket, prefix, endpoint } = settings;
    this.#sdk = sdk;
    this.#client = client;
    this.#bucket = bucket;
    this.#prefix = prefix;
    const under = prefix === "" ? "" : ` under ${prefix}`;
    this.description = `s3 bucket ${bucket}${under}${endpoint === undefined ? "" : ` at ${endpoint}`}`;
  }

  /** Loads the client; asks the service nothing yet. */
  static async open(settings: S3Settings): Promise<S3ObjectStore> {
    const sdk = await import("@aws-sdk/client-s3");
    const { endpoint, profile, credentialsFile, pathStyle, region } = settings;
    const client = new sdk.S3Client({
      // undefined lets the client find its own; a key with that value would not.
      ...(endpoint !== undefined && { endpoint }),
      ...(profile !== undefined && { profile }),
      ...(credentialsFile !== undefined && {
        credentials: await credentialsOf(credentialsFile, profile),
      }),
      // A service of one's own has one region, whatever it is called.
      ...(region === undefined && endpoint === undefined ? {} : { region: region ?? "us-east-1" }),
      forcePathStyle: pathStyle,
      // What is tried again, and when, is decided above this store.
      maxAttempts: 1,
      // Content-MD5 is what every service checks.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      sha256: OffloadedSha256,
      requestHandler: {
        connectionTimeout: CONNECTION_TIMEOUT_MS,
        socketTimeout: SILENCE_TIMEOUT_MS,
        httpAgent: { keepAlive: true, maxSockets: MAX_CONNECTIONS },
        httpsAgent: { keepAlive: true, maxSockets: MAX_CONNECTIONS },
      },
    });
    await client.config.region().catch((error: unknown) => {
      throw new UsageError("the region of the s3 bucket is missing; set region, or AWS_REGION", {
        cause: error,
      });
    });
    return new S3ObjectStore(sdk, client, settings);
  }

  async get(key: string, range?: ByteRange, options?: CallOptions): Promise<StoredObject> {
    return this.#call(`get of ${key}`, key, options, async (abort) => {
      this.statistics.gets++;
      const Range = range === undefined ? undefined : httpRange(range);
      const command = new this.#sdk.GetObjectCommand({ ...this.#name(key), Range });
      const answer = await this.#client.send(command, abort);
      const object = await readObject(answer, range, key);
      this.statistics.bytesRead += object.data.length;
      return object;
    });
  }

  stat(key: string, options?: CallOptions): Promise<ObjectState> {
    return this.#call(`stat of ${key}`, key, options, async (abort) => {
      this.statistics.gets++;
      const command = new this.#sdk.HeadObjectCommand(this.#name(key));
      const { ContentLength, ETag, Metadata } = await this.#client.send(command, abort);
      const sizeBytes = ContentLength ?? 0;
      return { key, sizeBytes, etag: plainEtag(ETag), writeId: Metadata?.[WRITE_ID] };
    });
  }

  putIfAbsent(key: string, data: Uint8Array, options?: PutOptions): Promise<string> {
    return this.#put(key, data, { IfNoneMatch: "*" }, options, { 412: "exists" });
  }

  async putIfMatch(
    key: string,
    data: Uint8Array,
    etag: string,
    options?: PutOptions,
  ): Promise<string> {
    const put = async (IfMatch: string) =>
      this.#put(key, data, { IfMatch }, options, { 404: "changed", 412: "changed" });
    if (!this.#quotesEtags) return put(etag);
    try {
      return await put(`"${etag}"`);
    } catch (error) {
      // It may be the quotes that did not match.
      if (objectFaultCode(error) !== "changed") throw error;
      if (!(await this.#isVersion(key, etag, options))) throw error;
      const unquoted = await put(etag);
      this.#quotesEtags = false;
      return unquoted;
    }
  }

  async #isVersion(key: string, etag: string, options?: CallOptions): Promise<boolean> {
    try {
      return (await this.stat(key, options)).etag === etag;
    } catch (error) {
      if (objectFaultCode(error) === "missing") return false;
      throw error;
    }
  }

  #put(
    key: string,
    data: Uint8Array,
    condition: Pick<PutObjectCommandInput, "IfMatch" | "IfNoneMatch">,
    options: PutOptions | undefined,
    ofStatus: Record<number, ObjectFaultCode>,
  ): Promise<string> {
    const send = async (abort: AbortOptions): Promise<string> => {
      const { md5, crc32 } = await checksumsOf(data);
      const writeId = options?.writeId;
      this.statistics.puts++;
      const command = new this.#sdk.PutObjectCommand({
        ...this.#name(key),
        ...condition,
        Body: data,
        ContentLength: data.length,
        ContentMD5: Buffer.from(md5).toString("base64"),
        Metadata: { [CRC32]: crc32, ...(writeId !== undefined && { [WRITE_ID]: writeId }) },
      });
      const { ETag } = await this.#client.send(command, abort);
      this.statistics.bytesWritten += data.length;
      return plainEtag(ETag);
    };
    return this.#call(`put of ${key}`, key, options, send, ofStatus);
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    let after = options?.after;
    for (let isTruncated = true; isTruncated;) {
      const page = await this.#page(prefix, after, options);
      for (const { Key = "", Size = 0, ETag } of page.Contents ?? []) {
        after = Key.slice(this.#prefix.length);
        yield { key: after, sizeBytes: Size, etag: plainEtag(ETag) };
      }
      isTruncated = page.IsTruncated === true && (page.Contents ?? []).length > 0;
    }
  }

  #page(prefix: string, after: string | undefined, options: ListOptions | undefined) {
    return this.#call(`list of ${prefix}`, undefined, options, async (abort) => {
      this.statistics.lists++;
      const command = new this.#sdk.ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.#prefix + prefix,
        // From key to key instead of with the service's tokens: what was read stays read.
        StartAfter: after === undefined ? undefined : this.#prefix + after,
      });
      return this.#client.send(command, abort);
    });
  }

  delete(key: string, options?: CallOptions): Promise<void> {
    const ofStatus = { 404: "missing" } as const;
    const send = async (abort: AbortOptions): Promise<void> => {
      this.statistics.deletes++;
      await this.#client.send(new this.#sdk.DeleteObjectCommand(this.#name(key)), abort);
    };
    return this.#call(`delete of ${key}`, key, options, send, ofStatus).catch((error: unknown) => {
      if (objectFaultCode(error) !== "missing") throw error;
    });
  }

  close(): Promise<void> {
    if (!this.#isClosed) this.#client.destroy();
    this.#isClosed = true;
    return Promise.resolve();
  }

  #name(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }

  async #call<T>(
    what: string,
    key: string | undefined,
    options: CallOptions | undefined,
    send: (abort: AbortOptions) => Promise<T>,
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

interface AbortOptions {
  readonly abortSignal?: AbortSignal;
}

async function credentialsOf(filepath: string, profile: string | undefined) {
  const { fromIni } = await import("@aws-sdk/credential-provider-ini");
  return fromIni({ filepath, ...(profile !== undefined && { profile }) });
}

function httpRange({ offsetBytes, lengthBytes }: ByteRange): string {
  return `bytes=${offsetBytes}-${offsetBytes + lengthBytes - 1}`;
}

async function readObject(
  answer: GetObjectCommandOutput,
  range: ByteRange | undefined,
  key: string,
): Promise<StoredObject> {
  const { Body, ContentLength = 0, ContentRange, ETag, Metadata } = answer;
  const sizeBytes = range === undefined ? ContentLength : totalOf(ContentRange, ContentLength, key);
  const { begin, end } = rangeOf(range, sizeBytes, key);
  const data = await readBody(Body, {
    key,
    lengthBytes: end - begin,
    crc32: range === undefined ? Metadata?.[CRC32] : undefined,
  });
  return { data, etag: plainEtag(ETag), sizeBytes };
}

interface SdkError {
  readonly name?: string;
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}

function faultOf(
  error: unknown,
  what: string,
  ofStatus?: Record<number, ObjectFaultCode>,
): unknown {
  if (!(error instanceof Error) || error instanceof TypeError) return error;
  const { name = "unknown", code, $metadata, $response } = error as SdkError;
  return serviceFault(
    {
      status: $metadata?.httpStatusCode,
      name: name === "Error" ? (code ?? "no answer") : name,
      retryAfter: $response?.headers?.["retry-after"],
    },
    what,
    ofStatus,
  );
}
