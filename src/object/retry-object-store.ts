import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
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
  objectFaultCode,
  type PutOptions,
  type StoredObject,
} from "./object-store.ts";
import { untilAborted } from "./until-aborted.ts";

export interface RetryOptions {
  /** After so long a call is not tried again. */
  readonly deadlineMs: number;
  /** The pause before the second try is up to this; before each further one up to double. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  /** A try without an answer ends after this, and what a slow line needs for what it moves. */
  readonly tryTimeoutMs: number;
  /** Called before a pause. */
  readonly onRetry?: (retry: Retry) => void;
}

export interface Retry {
  readonly call: string;
  /** Counts from 1. */
  readonly failedTries: number;
  readonly fault: ObjectFault;
  readonly pauseMs: number;
}

export const DEFAULT_RETRY: RetryOptions = {
  deadlineMs: 120_000,
  firstPauseMs: 100,
  longestPauseMs: 10_000,
  tryTimeoutMs: 10_000,
};

/** 256 KiB/s: a pack must get through the uplink of a home. */
const SLOWEST_BYTES_PER_MS = 262;

/** What is corrupt may have been so on the way only; more tries than this prove that it is not. */
const MAX_CORRUPT_TRIES = 3;
/** For a `get` that does not say how much it wants: the size of a pack. */
const ASSUMED_BYTES = 64 * 2 ** 20;

/**
 * Tries again what a store could not do: with pauses that grow and vary, as long as the store asks
 * for (Retry-After), until a deadline. A put whose answer was lost is recognised by its `writeId`:
 * when it is found to be in its own way, it has succeeded.
 *
 * A put that replaced a version and was itself replaced before its answer was asked for again
 * counts as `changed`. A delete may take effect once more after its answer was given up, so keys
 * that were deleted are not used again.
 */
export class RetryObjectStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #options: RetryOptions;
  readonly #closing = new AbortController();

  constructor(inner: ObjectStore, options: Partial<RetryOptions> = {}) {
    this.#inner = inner;
    this.#options = { ...DEFAULT_RETRY, ...options };
  }

  get description(): string {
    return this.#inner.description;
  }

  get statistics(): ObjectStatistics {
    return this.#inner.statistics;
  }

  get(key: string, range?: ByteRange, options?: CallOptions): Promise<StoredObject> {
    const lengthBytes = range?.lengthBytes ?? ASSUMED_BYTES;
    const call = { name: `get of ${key}`, lengthBytes, options };
    return this.#retry(call, async (signal) => this.#inner.get(key, range, { signal }));
  }

  stat(key: string, options?: CallOptions): Promise<ObjectState> {
    const call = { name: `stat of ${key}`, lengthBytes: 0, options };
    return this.#retry(call, async (signal) => this.#inner.stat(key, { signal }));
  }

  putIfAbsent(key: string, data: Uint8Array, options?: PutOptions): Promise<string> {
    return this.#put(key, data, options, async (again) =>
      this.#inner.putIfAbsent(key, data, again),
    );
  }

  putIfMatch(key: string, data: Uint8Array, etag: string, options?: PutOptions): Promise<string> {
    return this.#put(key, data, options, async (again) =>
      this.#inner.putIfMatch(key, data, etag, again),
    );
  }

  async #put(
    key: string,
    data: Uint8Array,
    options: PutOptions | undefined,
    put: (options: PutOptions) => Promise<string>,
  ): Promise<string> {
    const writeId = options?.writeId ?? randomUUID();
    const call = { name: `put of ${key}`, lengthBytes: data.length, options };
    // Who chose the name may have tried before.
    let mayBeThere = options?.writeId !== undefined;
    return this.#retry(call, async (signal) => {
      try {
        return await put({ signal, writeId });
      } catch (error) {
        const code = objectFaultCode(error);
        if (mayBeThere && (code === "exists" || code === "changed")) {
          const etag = await this.#ownVersion(key, data, writeId, signal);
          if (etag !== undefined) return etag;
        }
        // An abort of this try's own timeout, too, leaves open what became of it.
        if (code === "unavailable" || code === undefined) mayBeThere = true;
        throw error;
      }
    });
  }

  /** The etag of what is there, if this put wrote it. */
  async #ownVersion(
    key: string,
    data: Uint8Array,
    writeId: string,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    try {
      const state = await this.#inner.stat(key, { signal });
      if (state.writeId !== undefined) {
        return state.writeId === writeId ? state.etag : undefined;
      }
      // A store that keeps no names: the bytes tell.
      if (state.sizeBytes !== data.length) return undefined;
      const there = await this.#inner.get(key, undefined, { signal });
      return Buffer.compare(there.data, data) === 0 ? there.etag : undefined;
    } catch (error) {
      if (objectFaultCode(error) === "missing") return undefined;
      throw error;
    }
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    let after = options?.after;
    const call = { name: `list of ${prefix}`, lengthBytes: 0, options };
    let listing: Listing | undefined;
    try {
      for (;;) {
        const next = await this.#retry(call, async (signal) => {
          // A try's timeout is for one page; the listing itself lives as long as the caller reads.
          listing ??= new Listing(this.#inner, prefix, { ...options, after });
          try {
            return await untilAborted(listing.next(), signal);
          } catch (error) {
            listing.giveUp();
            listing = undefined;
            throw error;
          }
        });
        if (next.done === true) return;
        after = next.value.key;
        yield next.value;
      }
    } finally {
      listing?.giveUp();
    }
  }

  delete(key: string, options?: CallOptions): Promise<void> {
    const call = { name: `delete of ${key}`, lengthBytes: 0, options };
    return this.#retry(call, async (signal) => this.#inner.delete(key, { signal }));
  }

  /** What waits for another try ends now, with the fault of the last one. */
  close(): Promise<void> {
    this.#closing.abort();
    return this.#inner.close();
  }

  async #retry<T>(call: Call, send: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const signal = call.options?.signal;
    const { deadlineMs, firstPauseMs, longestPauseMs } = this.#options;
    const deadline = performance.now() + deadlineMs;
    let widestPauseMs = firstPauseMs;
    for (let failedTries = 1; ; failedTries++) {
      const result = await this.#try(call, send);
      if (!(result instanceof ObjectFault)) return result;
      if (!isWorthATry(result.code, failedTries)) throw result;
      const pauseMs = Math.max(Math.random() * widestPauseMs, result.retryAfterMs ?? 0);
      if (performance.now() + pauseMs > deadline) throw result;
      if (this.#closing.signal.aborted) throw result;
      this.statistics.retries++;
      this.#options.onRetry?.({ call: call.name, failedTries, fault: result, pauseMs });
      await pause(pauseMs, signal, this.#closing.signal);
      if (this.#closing.signal.aborted) throw result;
      widestPauseMs = Math.min(widestPauseMs * 2, longestPauseMs);
    }
  }

  /** Faults are returned; what else was thrown, such as the caller's abort, is thrown on. */
  async #try<T>(call: Call, send: (signal: AbortSignal) => Promise<T>): Promise<T | ObjectFault> {
    const { name, lengthBytes, options } = call;
    const patienceMs = Math.ceil(this.#options.tryTimeoutMs + lengthBytes / SLOWEST_BYTES_PER_MS);
    const timeout = AbortSignal.timeout(patienceMs);
    const callers = options?.signal;
    try {
      return await send(callers === undefined ? timeout : AbortSignal.any([callers, timeout]));
    } catch (error) {
      callers?.throwIfAborted();
      if (error instanceof ObjectFault) return error;
      if (!timeout.aborted) throw error;
      return new ObjectFault("unavailable", `${name}: no answer within ${patienceMs} ms`);
    }
  }
}

/** A listing under way, and the request that it may have open. */
class Listing {
  readonly #abort = new AbortController();
  readonly #infos: AsyncIterator<ObjectInfo>;

  constructor(store: ObjectStore, prefix: string, options: ListOptions) {
    const { signal } = this.#abort;
    const callers = options.signal;
    const either = callers === undefined ? signal : AbortSignal.any([callers, signal]);
    this.#infos = store.list(prefix, { ...options, signal: either })[Symbol.asyncIterator]();
  }

  next(): Promise<IteratorResult<ObjectInfo>> {
    return this.#infos.next();
  }

  giveUp(): void {
    this.#abort.abort();
    // It ends by itself, late when a request is open.
    this.#infos.return?.().catch(() => undefined);
  }
}

interface Call {
  readonly name: string;
  readonly lengthBytes: number;
  readonly options: CallOptions | undefined;
}

function isWorthATry(code: ObjectFaultCode, failedTries: number): boolean {
  return code === "unavailable" || (code === "corrupt" && failedTries < MAX_CORRUPT_TRIES);
}

/** Ends early, and without an error, when the store is closed. */
async function pause(
  pauseMs: number,
  signal: AbortSignal | undefined,
  closing: AbortSignal,
): Promise<void> {
  const either = signal === undefined ? closing : AbortSignal.any([signal, closing]);
  try {
    await sleep(pauseMs, undefined, { signal: either });
  } catch (error) {
    signal?.throwIfAborted();
    if (!closing.aborted) throw error;
  }
}
