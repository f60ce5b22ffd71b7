import {
  type ByteRange,
  type CallOptions,
  type ListOptions,
  ObjectFault,
  type ObjectFaultCode,
  type ObjectInfo,
  type ObjectState,
  type ObjectStatistics,
  type ObjectStore,
  type PutOptions,
  type StoredObject,
} from "./object-store.ts";
import { untilAborted } from "./until-aborted.ts";

export type ObjectOperation = "get" | "stat" | "putIfAbsent" | "putIfMatch" | "list" | "delete";

/** A request on its way to the store. */
export interface ObjectRequest {
  readonly operation: ObjectOperation;
  /** The prefix of a `list`. */
  readonly key: string;
  /** How many requests this store was asked for before. */
  readonly ordinal: number;
}

/**
 * What becomes of a request:
 * - an ObjectFaultCode: it fails so, and has no effect;
 * - `lost`: it takes effect, but the answer is lost: the fault is `unavailable`;
 * - `flipped`: one bit of what a `get` gives is wrong, and nobody notices below;
 * - undefined: it goes through.
 */
export type ObjectMishap = ObjectFaultCode | "lost" | "flipped" | undefined;

/** Lets chosen requests fail, as a bad network or service would; for tests. */
export class FaultObjectStore implements ObjectStore {
  /**
   * Decides on each request. A promise delays the request until it resolves; one that never does
   * is a service that hangs until the caller gives up.
   */
  decide: (request: ObjectRequest) => ObjectMishap | Promise<ObjectMishap>;
  readonly #inner: ObjectStore;
  #ordinal = 0;

  constructor(inner: ObjectStore, decide: FaultObjectStore["decide"] = () => undefined) {
    this.#inner = inner;
    this.decide = decide;
  }

  get description(): string {
    return this.#inner.description;
  }

  get statistics(): ObjectStatistics {
    return this.#inner.statistics;
  }

  async get(key: string, range?: ByteRange, options?: CallOptions): Promise<StoredObject> {
    let isFlipped = false;
    const object = await this.#request("get", key, options, {
      send: async () => this.#inner.get(key, range, options),
      flip: () => (isFlipped = true),
    });
    if (isFlipped && object.data.length > 0) object.data[object.data.length >> 1] ^= 1;
    return object;
  }

  stat(key: string, options?: CallOptions): Promise<ObjectState> {
    const send = async () => this.#inner.stat(key, options);
    return this.#request("stat", key, options, { send });
  }

  putIfAbsent(key: string, data: Uint8Array, options?: PutOptions): Promise<string> {
    const send = async () => this.#inner.putIfAbsent(key, data, options);
    return this.#request("putIfAbsent", key, options, { send });
  }

  putIfMatch(key: string, data: Uint8Array, etag: string, options?: PutOptions): Promise<string> {
    const send = async () => this.#inner.putIfMatch(key, data, etag, options);
    return this.#request("putIfMatch", key, options, { send });
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    await this.#request("list", prefix, options, { send: () => Promise.resolve() });
    yield* this.#inner.list(prefix, options);
  }

  delete(key: string, options?: CallOptions): Promise<void> {
    const send = async () => this.#inner.delete(key, options);
    return this.#request("delete", key, options, { send });
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #request<T>(
    operation: ObjectOperation,
    key: string,
    options: CallOptions | undefined,
    { send, flip }: { send: () => Promise<T>; flip?: () => void },
  ): Promise<T> {
    const decision = Promise.resolve(this.decide({ operation, key, ordinal: this.#ordinal++ }));
    const signal = options?.signal;
    const mishap = signal === undefined ? await decision : await untilAborted(decision, signal);
    if (mishap === undefined) return send();
    if (mishap === "flipped") {
      flip?.();
      return send();
    }
    if (mishap === "lost") await send();
    const code = mishap === "lost" ? "unavailable" : mishap;
    throw new ObjectFault(code, `${operation} ${key}: a ${mishap} fault was asked for`);
  }
}
