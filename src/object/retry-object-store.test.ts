import { describe, expect, test } from "vitest";
import { FaultObjectStore, type ObjectMishap, type ObjectRequest } from "./fault-object-store.ts";
import { MemoryBucket, MemoryObjectStore } from "./memory-object-store.ts";
import {
  ObjectFault,
  type ObjectState,
  type ObjectStore,
  objectFaultCode,
} from "./object-store.ts";
import { describeObjectStore, listed } from "./object-store.compliance.ts";
import { type Retry, type RetryOptions, RetryObjectStore } from "./retry-object-store.ts";

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const quick: Partial<RetryOptions> = { firstPauseMs: 1, longestPauseMs: 2 };

describeObjectStore("RetryObjectStore over a store that fails every third request", async () => {
  const bucket = new MemoryBucket();
  const faults: ObjectMishap[] = ["unavailable", "lost"];
  return {
    open: async () => {
      const inner = new MemoryObjectStore(bucket);
      const decide = ({ ordinal }: ObjectRequest): ObjectMishap =>
        ordinal % 3 === 1 ? faults[(ordinal >> 2) % 2] : undefined;
      return new RetryObjectStore(new FaultObjectStore(inner, decide), quick);
    },
    keepsWriteIds: true,
    manyKeys: 1100,
    countsCalls: false,
  };
});

interface Rig {
  bucket: MemoryBucket;
  /** What becomes of the next requests, in order. */
  mishaps: (ObjectMishap | Promise<ObjectMishap>)[];
  requests: string[];
  retries: Retry[];
  store: RetryObjectStore;
}

function rig(options: Partial<RetryOptions> = {}, wrap = (inner: ObjectStore) => inner): Rig {
  const bucket = new MemoryBucket();
  const mishaps: Rig["mishaps"] = [];
  const requests: string[] = [];
  const retries: Retry[] = [];
  const decide = ({ operation, key }: ObjectRequest) => {
    requests.push(`${operation} ${key}`);
    return mishaps.shift();
  };
  const faulty = new FaultObjectStore(wrap(new MemoryObjectStore(bucket)), decide);
  const onRetry = (retry: Retry): void => void retries.push(retry);
  const store = new RetryObjectStore(faulty, { ...quick, onRetry, ...options });
  return { bucket, mishaps, requests, retries, store };
}

const codeOf = async (call: Promise<unknown>) =>
  call.then(
    () => "none",
    (error: unknown) => objectFaultCode(error),
  );

describe("a put whose answer was lost", () => {
  test("is found to have succeeded", async () => {
    const { store, mishaps, bucket } = rig();
    mishaps.push("lost");
    const etag = await store.putIfAbsent("pack", bytes("mine"));
    expect(bucket.objects.get("pack")).toMatchObject({ etag });
    mishaps.push("lost", "unavailable");
    const next = await store.putIfMatch("pack", bytes("mine too"), etag);
    expect(bucket.objects.get("pack")).toMatchObject({ etag: next, data: bytes("mine too") });
    expect(store.statistics.retries).toBe(3);
  });

  test("is told from the same bytes that another wrote", async () => {
    const { store, mishaps, bucket } = rig();
    bucket.write("lease", bytes("same"), "another");
    mishaps.push("unavailable");
    expect(await codeOf(store.putIfAbsent("lease", bytes("same")))).toBe("exists");
    const etag = bucket.write("head", bytes("1"), "another");
    mishaps.push(
      "lost",
      Promise.resolve(undefined).then(() => {
        bucket.write("head", bytes("3"), "another");
        return undefined;
      }),
    );
    expect(await codeOf(store.putIfMatch("head", bytes("2"), etag))).toBe("changed");
  });

  test("is told by its bytes in a store that keeps no names of writes", async () => {
    const forgetful = (inner: ObjectStore): ObjectStore =>
      new Proxy(inner, {
        get(target, name): unknown {
          if (name === "stat") {
            return async (key: string): Promise<ObjectState> => ({
              ...(await target.stat(key)),
              writeId: undefined,
            });
          }
          const member: unknown = Reflect.get(target, name);
          return typeof member === "function" ? member.bind(target) : member;
        },
      });
    const { store, mishaps, bucket } = rig({}, forgetful);
    mishaps.push("lost");
    await store.putIfAbsent("pack", bytes("mine"));
    bucket.write("other", bytes("them"), undefined);
    mishaps.push("unavailable");
    expect(await codeOf(store.putIfAbsent("other", bytes("mine")))).toBe("exists");
  });

  test("is recognised over calls when the caller names the write", async () => {
    const { store, bucket } = rig();
    await store.putIfAbsent("pack", bytes("mine"), { writeId: "w-1" });
    const etag = await store.putIfAbsent("pack", bytes("mine"), { writeId: "w-1" });
    expect(bucket.objects.get("pack")).toMatchObject({ etag });
    expect(await codeOf(store.putIfAbsent("pack", bytes("mine"), { writeId: "w-2" }))).toBe(
      "exists",
    );
  });
});

describe("tries", () => {
  test("faults that will not go away are not tried again", async () => {
    const { store, mishaps, requests } = rig();
    for (const fault of ["denied", "unsupported"] as const) {
      mishaps.push(fault);
      expect(await codeOf(store.get("pack"))).toBe(fault);
    }
    expect(await codeOf(store.get("pack"))).toBe("missing");
    expect(requests).toHaveLength(3);
  });

  test("what stays corrupt is believed after the third try", async () => {
    const { store, mishaps, requests } = rig();
    mishaps.push("corrupt", "corrupt", "corrupt", "corrupt");
    expect(await codeOf(store.get("pack"))).toBe("corrupt");
    expect(requests).toHaveLength(3);
  });

  test("a deadline ends them with the last fault", async () => {
    const { store, retries } = rig({ deadlineMs: 30 });
    const always = new FaultObjectStore(new MemoryObjectStore(), () => "unavailable");
    const failing = new RetryObjectStore(always, { ...quick, deadlineMs: 500 });
    expect(await codeOf(failing.get("pack"))).toBe("unavailable");
    expect(failing.statistics.retries).toBeGreaterThan(3);
    expect(await codeOf(store.stat("pack"))).toBe("missing");
    expect(retries).toEqual([]);
  });

  test("the store's Retry-After is kept to, up to the deadline", async () => {
    const busy = (retryAfterMs: number) => new ObjectFault("unavailable", "busy", { retryAfterMs });
    const { store, mishaps, retries } = rig();
    mishaps.push(Promise.reject(busy(25)));
    expect(await codeOf(store.stat("pack"))).toBe("missing");
    expect(retries.map(({ pauseMs }) => pauseMs)).toEqual([25]);
    mishaps.push(Promise.reject(busy(10_000_000)));
    expect(await codeOf(store.stat("pack"))).toBe("unavailable");
  });

  test("a request that hangs is given up and sent again", async () => {
    const { store, mishaps, bucket, retries } = rig({ tryTimeoutMs: 20 });
    mishaps.push(Promise.withResolvers<ObjectMishap>().promise);
    await store.putIfAbsent("pack", bytes("mine"));
    expect(bucket.objects.has("pack")).toBe(true);
    expect(retries[0].fault.message).toMatch(/^put of pack: no answer within \d+ ms$/);
  });

  test("the caller's abort ends a pause, and a request that hangs", async () => {
    const { store, mishaps } = rig({ firstPauseMs: 1e6, longestPauseMs: 1e6, deadlineMs: 1e9 });
    const reason = new Error("enough");
    const first = new AbortController();
    mishaps.push("unavailable");
    const paused = store.get("pack", undefined, { signal: first.signal });
    setImmediate(() => first.abort(reason));
    await expect(paused).rejects.toBe(reason);
    const second = new AbortController();
    mishaps.push(Promise.withResolvers<ObjectMishap>().promise);
    const hanging = store.get("pack", undefined, { signal: second.signal });
    setImmediate(() => second.abort(reason));
    await expect(hanging).rejects.toBe(reason);
  });

  test("a listing that breaks goes on behind what was read", async () => {
    const bucket = new MemoryBucket();
    for (let each = 10; each < 20; each++) bucket.write(`k/${each}`, bytes(""), undefined);
    let breaks = 0;
    class Breaking extends MemoryObjectStore {
      override async *list(...args: Parameters<MemoryObjectStore["list"]>) {
        let count = 0;
        for await (const info of super.list(...args)) {
          if (count++ === 3) {
            breaks++;
            throw new ObjectFault("unavailable", "broken");
          }
          yield info;
        }
      }
    }
    const store = new RetryObjectStore(new Breaking(bucket), quick);
    expect(await listed(store, "k/")).toEqual(bucket.keys());
    expect(breaks).toBe(3);
  });
});

test("a listing that is given up ends its request", async () => {
  const signals: AbortSignal[] = [];
  class Hanging extends MemoryObjectStore {
    override async *list(...args: Parameters<MemoryObjectStore["list"]>) {
      const signal = args[1]?.signal;
      if (signal != null) signals.push(signal);
      if (signals.length === 1) await new Promise<never>(() => {});
      yield* super.list(...args);
    }
  }
  const bucket = new MemoryBucket();
  bucket.write("k/1", bytes(""), undefined);
  const store = new RetryObjectStore(new Hanging(bucket), { ...quick, tryTimeoutMs: 20 });
  expect(await listed(store, "k/")).toEqual(["k/1"]);
  expect(signals).toHaveLength(2);
  expect(signals[0].aborted).toBe(true);
});
