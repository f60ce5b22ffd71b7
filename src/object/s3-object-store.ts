import type * as S3Sdk from "@aws-sdk/client-s3";
import type { PutObjectCommandInput, S3Client } from "@aws-sdk/client-s3";
import { UsageError } from "../errors.ts";
import { md5Of, OffloadedSha256 } from "./checksums.ts";
import {
  type ByteRange,
  type CallOptions,
  type ListOptions,
  ObjectFault,
  type ObjectInfo,
  type ObjectState,
  objectFaultCode,
  type PutOptions,
  type StoredObject,
} from "./object-store.ts";
import type { S3Settings } from "./object-store-settings.ts";
import { plainEtag, releaseBody, type ServiceError } from "./service-answer.ts";
import { type CallAbort, ServiceObjectStore, type StatusFaults } from "./service-object-store.ts";

type Sdk = typeof S3Sdk;

const CONNECTION_TIMEOUT_MS = 5000;
/** Of a connection on which nothing moves: far sooner than what a large object may take. */
const SILENCE_TIMEOUT_MS = 15_000;
const MAX_CONNECTIONS = 64;
const FIRST_OCTET = { offsetBytes: 0, lengthBytes: 1 };

/** Objects of a bucket of Amazon S3, or of what speaks its protocol. */
export class S3ObjectStore extends ServiceObjectStore {
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #bucket: string;
  /** Some services know an etag in If-Match only without its quotes, others only with them. */
  #quotesEtags = true;

  private constructor(sdk: Sdk, client: S3Client, settings: S3Settings) {
    const { bucket, prefix, endpoint } = settings;
    super(`s3 bucket ${bucket}`, prefix, endpoint === undefined ? "" : ` at ${endpoint}`);
    this.#sdk = sdk;
    this.#client = client;
    this.#bucket = bucket;
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

  get(key: string, range?: ByteRange, options?: CallOptions): Promise<StoredObject> {
    return this.call(`get of ${key}`, key, options, async (abort) => {
      const answer = await this.#get(key, range, abort);
      const { Body: body, ContentLength, ContentRange, ETag, Metadata } = answer;
      return this.read(key, range, {
        body,
        contentLength: ContentLength,
        contentRange: ContentRange,
        etag: ETag,
        metadata: Metadata,
      });
    });
  }

  #get(key: string, range: ByteRange | undefined, abort: CallAbort) {
    this.statistics.gets++;
    const Range = range === undefined ? undefined : httpRange(range);
    return this.#client.send(new this.#sdk.GetObjectCommand({ ...this.#name(key), Range }), abort);
  }

  stat(key: string, options?: CallOptions): Promise<ObjectState> {
    return this.call(`stat of ${key}`, key, options, async (abort) => {
      this.statistics.gets++;
      try {
        const command = new this.#sdk.HeadObjectCommand(this.#name(key));
        const { ContentLength, ETag, Metadata } = await this.#client.send(command, abort);
        return this.stateOf(key, ContentLength, { etag: ETag, metadata: Metadata });
      } catch (error) {
        if ((error as SdkError).$metadata?.httpStatusCode !== 404) throw error;
        return this.#notFound(key, abort);
      }
    });
  }

  /** The answer to a HEAD has no body that says what is not there, and who says so. */
  async #notFound(key: string, abort: CallAbort): Promise<never> {
    const { Body } = await this.#get(key, FIRST_OCTET, abort);
    releaseBody(Body);
    throw new ObjectFault("unavailable", `${key} has come while it was asked for`);
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
    ofStatus: StatusFaults,
  ): Promise<string> {
    return this.put(key, data, options, ofStatus, async (metadata, abort) => {
      const md5 = await md5Of(data);
      const command = new this.#sdk.PutObjectCommand({
        ...this.#name(key),
        ...condition,
        Body: data,
        ContentLength: data.length,
        ContentMD5: Buffer.from(md5).toString("base64"),
        Metadata: metadata,
      });
      return (await this.#client.send(command, abort)).ETag;
    });
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    let after = options?.after;
    for (let isTruncated = true; isTruncated;) {
      const page = await this.#page(prefix, after, options);
      for (const { Key = "", Size = 0, ETag } of page.Contents ?? []) {
        after = Key.slice(this.prefix.length);
        yield { key: after, sizeBytes: Size, etag: plainEtag(ETag) };
      }
      isTruncated = page.IsTruncated === true && (page.Contents ?? []).length > 0;
    }
  }

  #page(prefix: string, after: string | undefined, options: ListOptions | undefined) {
    return this.call(`list of ${prefix}`, undefined, options, async (abort) => {
      this.statistics.lists++;
      const command = new this.#sdk.ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.prefix + prefix,
        // From key to key instead of with the service's tokens: what was read stays read.
        StartAfter: after === undefined ? undefined : this.prefix + after,
      });
      return this.#client.send(command, abort);
    });
  }

  protected remove(key: string, abort: CallAbort): Promise<unknown> {
    return this.#client.send(new this.#sdk.DeleteObjectCommand(this.#name(key)), abort);
  }

  override close(): Promise<void> {
    this.#client.destroy();
    return super.close();
  }

  #name(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.prefix + key };
  }

  protected errorOf(error: Error): ServiceError {
    const { name = "unknown", code, $metadata, $response } = error as SdkError;
    return {
      status: $metadata?.httpStatusCode,
      name: name === "Error" ? (code ?? "no answer") : name,
      retryAfter: $response?.headers?.["retry-after"],
    };
  }
}

async function credentialsOf(filepath: string, profile: string | undefined) {
  const { fromIni } = await import("@aws-sdk/credential-provider-ini");
  return fromIni({ filepath, ...(profile !== undefined && { profile }) });
}

function httpRange({ offsetBytes, lengthBytes }: ByteRange): string {
  return `bytes=${offsetBytes}-${offsetBytes + lengthBytes - 1}`;
}

interface SdkError {
  readonly name?: string;
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}
