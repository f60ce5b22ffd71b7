import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ObjectFaultCode, type ObjectStore, objectFaultCode } from "./object-store.ts";

export interface ObjectStoreHarness {
  /** Another client of the same bucket, or part of it, which is empty at first. */
  open(): Promise<ObjectStore>;
  /** Whether the store keeps the `writeId` of a put. */
  keepsWriteIds: boolean;
  /** More than one page of a listing. */
  manyKeys: number;
  /** Whether the statistics count each call once; a store that tries again counts more. */
  countsCalls?: boolean;
  close?(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const text = (data: Uint8Array): string => Buffer.from(data).toString();

async function faultOf(call: Promise<unknown>): Promise<ObjectFaultCode | "none" | undefined> {
  try {
    await call;
    return "none";
  } catch (error) {
    return objectFaultCode(error);
  }
}

const MOST_ATTEMPTS = 50;

/**
 * The outcome of a call that is repeated while the service says that it is busy: of many writers at
 * once some services send a part away before they compare anything.
 */
async function outcomeOf(
  call: () => Promise<unknown>,
): Promise<ObjectFaultCode | "none" | undefined> {
  for (let attempt = 1; ; attempt++) {
    const outcome = await faultOf(call());
    if (outcome !== "unavailable" || attempt === MOST_ATTEMPTS) return outcome;
    await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 80));
  }
}

/** Runs the calls with at most `width` under way. */
export async function eachOf<T>(
  items: readonly T[],
  width: number,
  call: (item: T) => Promise<unknown>,
): Promise<void> {
  const rest = items.values();
  const worker = async (): Promise<void> => {
    for (const item of rest) await call(item);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

export async function listed(
  store: ObjectStore,
  prefix: string,
  after?: string,
): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix, { after })) keys.push(key);
  return keys;
}

/** What the contract in object-store.ts says, on one implementation. */
export function describeObjectStore(name: string, start: () => Promise<ObjectStoreHarness>): void {
  describe(name, () => {
    let harness: ObjectStoreHarness;
    let store: ObjectStore;

    beforeAll(async () => {
      harness = await start();
      store = await harness.open();
    }, 600_000);

    afterAll(async () => {
      await store.close();
      await harness.close?.();
    });

    test("gives what was put, also to another client", async () => {
      const etag = await store.putIfAbsent("round/trip_1.bin", bytes("hello"));
      const other = await harness.open();
      const object = await other.get("round/trip_1.bin");
      expect({ ...object, data: text(object.data) }).toEqual({ data: "hello", etag, sizeBytes: 5 });
      expect(await other.stat("round/trip_1.bin")).toMatchObject({
        key: "round/trip_1.bin",
        sizeBytes: 5,
        etag,
      });
      await other.close();
    });

    test("what is missing is a fault that says so, but to delete it is none", async () => {
      expect(await faultOf(store.get("no/such"))).toBe("missing");
      expect(await faultOf(store.get("no/such", { offsetBytes: 0, lengthBytes: 1 }))).toBe(
        "missing",
      );
      expect(await faultOf(store.stat("no/such"))).toBe("missing");
      expect(await faultOf(store.delete("no/such"))).toBe("none");
    });

    test("an empty object", async () => {
      const etag = await store.putIfAbsent("empty", new Uint8Array(0));
      const object = await store.get("empty");
      expect(object).toEqual({ data: object.data, etag, sizeBytes: 0 });
      expect(object.data).toHaveLength(0);
      expect(await faultOf(store.get("empty", { offsetBytes: 0, lengthBytes: 1 }))).toBe("corrupt");
      const next = await store.putIfMatch("empty", bytes("no more"), etag);
      expect(await faultOf(store.putIfMatch("empty", new Uint8Array(0), etag))).toBe("changed");
      await store.putIfMatch("empty", new Uint8Array(0), next);
      expect((await store.stat("empty")).sizeBytes).toBe(0);
    });

    test("an object of 64 MiB, whole and in parts", async () => {
      const data = new Uint8Array(randomBytes(64 * 2 ** 20));
      const before = { ...store.statistics };
      await store.putIfAbsent("large", data);
      const object = await store.get("large");
      expect(object.sizeBytes).toBe(data.length);
      expect(Buffer.compare(object.data, data)).toBe(0);
      const offsetBytes = 40 * 2 ** 20 + 13;
      const part = await store.get("large", { offsetBytes, lengthBytes: 2 ** 20 });
      expect(part.sizeBytes).toBe(data.length);
      expect(part.etag).toBe(object.etag);
      expect(Buffer.compare(part.data, data.subarray(offsetBytes, offsetBytes + 2 ** 20))).toBe(0);
      await store.delete("large");
      if (harness.countsCalls === false) return;
      expect(store.statistics.bytesWritten - before.bytesWritten).toBe(data.length);
      expect(store.statistics.bytesRead - before.bytesRead).toBe(data.length + 2 ** 20);
      expect(store.statistics.gets - before.gets).toBe(2);
    }, 600_000);

    test("ranges end where the object ends", async () => {
      await store.putIfAbsent("ranges", bytes("0123456789"));
      const part = async (offsetBytes: number, lengthBytes: number): Promise<string> =>
        text((await store.get("ranges", { offsetBytes, lengthBytes })).data);
      expect(await part(0, 1)).toBe("0");
      expect(await part(3, 4)).toBe("3456");
      expect(await part(0, 10)).toBe("0123456789");
      expect(await part(8, 100)).toBe("89");
      expect(await faultOf(part(10, 1))).toBe("corrupt");
      expect(await faultOf(part(99, 5))).toBe("corrupt");
    });

    test("put if absent never replaces", async () => {
      await store.putIfAbsent("once", bytes("first"));
      expect(await faultOf(store.putIfAbsent("once", bytes("second")))).toBe("exists");
      expect(text((await store.get("once")).data)).toBe("first");
      await store.delete("once");
      expect(await faultOf(store.get("once"))).toBe("missing");
      await store.putIfAbsent("once", bytes("third"));
      expect(text((await store.get("once")).data)).toBe("third");
    });

    test("put if match replaces the version that it names, and no other", async () => {
      const first = await store.putIfAbsent("head", bytes("1"));
      const second = await store.putIfMatch("head", bytes("22"), first);
      expect(second).not.toBe(first);
      expect(await faultOf(store.putIfMatch("head", bytes("3"), first))).toBe("changed");
      const object = await store.get("head");
      expect({ ...object, data: text(object.data) }).toEqual({
        data: "22",
        etag: second,
        sizeBytes: 2,
      });
      await store.delete("head");
      expect(await faultOf(store.putIfMatch("head", bytes("4"), second))).toBe("changed");
      expect(await faultOf(store.stat("head"))).toBe("missing");
      expect(await faultOf(store.putIfMatch("never", bytes("5"), second))).toBe("changed");
    });

    test("of 16 that race to put if absent, one wins", async () => {
      for (let round = 0; round < 4; round++) {
        const clients = await Promise.all(Array.from({ length: 16 }, async () => harness.open()));
        const results = await Promise.all(
          clients.map(async (client, racer) =>
            outcomeOf(async () => client.putIfAbsent(`race/${round}`, bytes(`racer ${racer}`))),
          ),
        );
        const winner = results.indexOf("none");
        expect(results.filter((_, racer) => racer !== winner)).toEqual(Array(15).fill("exists"));
        expect(text((await store.get(`race/${round}`)).data)).toBe(`racer ${winner}`);
        await Promise.all(clients.map(async (client) => client.close()));
      }
    }, 600_000);

    test("of 16 that race to put if match, one wins each round", async () => {
      const clients = await Promise.all(Array.from({ length: 16 }, async () => harness.open()));
      let etag = await store.putIfAbsent("race-head", bytes("start"));
      for (let round = 0; round < 4; round++) {
        const results = await Promise.all(
          clients.map(async (client, racer) =>
            outcomeOf(async () =>
              client.putIfMatch("race-head", bytes(`${round}: racer ${racer}`), etag),
            ),
          ),
        );
        const winner = results.indexOf("none");
        expect(results.filter((_, racer) => racer !== winner)).toEqual(Array(15).fill("changed"));
        const object = await store.get("race-head");
        expect(text(object.data)).toBe(`${round}: racer ${winner}`);
        etag = object.etag;
      }
      await Promise.all(clients.map(async (client) => client.close()));
    }, 600_000);

    test("lists keys in order, by prefix, from a key on", async () => {
      const keys = ["b", "a/2", "a/10", "a-b/1", "a.b", "ab/c/d", "ab/c-d", "a/1", "a_/x"];
      const inOrder = keys.toSorted().map((key) => `list/${key}`);
      for (const key of keys) await store.putIfAbsent(`list/${key}`, bytes(key));
      expect(await listed(store, "list/")).toEqual(inOrder);
      for (const prefix of ["list/a", "list/a/", "list/ab/c", "list/a/1", "list/zz", "li"]) {
        const expected = inOrder.filter((key) => key.startsWith(prefix));
        expect(await listed(store, prefix), prefix).toEqual(expected);
        for (const after of ["list/a", "list/a/10", "list/ab/c-d", "list/ab/c/d", "list/~", "a"]) {
          const behind = expected.filter((key) => key > after);
          expect(await listed(store, prefix, after), `${prefix} after ${after}`).toEqual(behind);
        }
      }
      for await (const info of store.list("list/ab/c/d")) {
        const { etag, sizeBytes } = await store.stat(info.key);
        expect(info).toEqual({ key: "list/ab/c/d", sizeBytes, etag });
      }
    });

    test("the etag of a listing is one for put if match", async () => {
      await store.putIfAbsent("listed/head", bytes("a"));
      for await (const { key, etag } of store.list("listed/")) {
        await store.putIfMatch(key, bytes("b"), etag);
      }
      expect(text((await store.get("listed/head")).data)).toBe("b");
    });

    test("lists more keys than one page has", async () => {
      const count = harness.manyKeys;
      const keys = Array.from(
        { length: count },
        (_, each) => `many/${String(each).padStart(5, "0")}`,
      );
      await eachOf(keys, 16, async (key) => store.putIfAbsent(key, bytes(key)));
      expect(await listed(store, "many/")).toEqual(keys);
      expect(await listed(store, "many/", keys[count - 3])).toEqual(keys.slice(-2));
      // Who has seen enough need not see all.
      for await (const { key } of store.list("many/")) {
        expect(key).toBe(keys[0]);
        break;
      }
      await eachOf(keys, 16, async (key) => store.delete(key));
      expect(await listed(store, "many/")).toEqual([]);
    }, 600_000);

    test("keeps the name of the write", async () => {
      const writeId = "3f0c7c5e-6c0f-4f5b-9d51-7a4a0a1c2b3d";
      const etag = await store.putIfAbsent("written", bytes("x"), { writeId });
      const kept = (id: string): string | undefined => (harness.keepsWriteIds ? id : undefined);
      expect((await store.stat("written")).writeId).toBe(kept(writeId));
      await store.putIfMatch("written", bytes("x"), etag, { writeId: "another" });
      expect((await store.stat("written")).writeId).toBe(kept("another"));
    });

    test("an aborted call rejects with the reason, and a later one works", async () => {
      const reason = new Error("enough");
      const signal = AbortSignal.abort(reason);
      await expect(store.get("round/trip_1.bin", undefined, { signal })).rejects.toBe(reason);
      await expect(store.stat("round/trip_1.bin", { signal })).rejects.toBe(reason);
      await expect(store.putIfAbsent("aborted", bytes("x"), { signal })).rejects.toBe(reason);
      await expect(store.putIfMatch("aborted", bytes("x"), "1", { signal })).rejects.toBe(reason);
      await expect(store.delete("round/trip_1.bin", { signal })).rejects.toBe(reason);
      const list = store.list("round/", { signal })[Symbol.asyncIterator]();
      await expect(list.next()).rejects.toBe(reason);

      const later = new AbortController();
      const data = new Uint8Array(8 * 2 ** 20);
      const puts = [1, 2, 3].map(async (each) =>
        store.putIfAbsent(`late/${each}`, data, { signal: later.signal }),
      );
      later.abort(reason);
      const results = await Promise.allSettled(puts);
      for (const result of results) {
        if (result.status === "rejected") expect(result.reason).toBe(reason);
      }
      expect(text((await store.get("round/trip_1.bin")).data)).toBe("hello");
    }, 600_000);

    test("what is no key is a mistake of the program", async () => {
      for (const key of ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a b", "ä", "a\0"]) {
        await expect(store.get(key), key).rejects.toThrow(TypeError);
        await expect(store.putIfAbsent(key, bytes("x")), key).rejects.toThrow(TypeError);
        await expect(store.delete(key), key).rejects.toThrow(TypeError);
      }
    });

    test("a closed store does nothing any more", async () => {
      const closed = await harness.open();
      await closed.close();
      await closed.close();
      expect(await faultOf(closed.get("round/trip_1.bin"))).toBe("unavailable");
      expect(await faultOf(closed.putIfAbsent("closed", bytes("x")))).toBe("unavailable");
      expect(await faultOf(store.get("closed"))).toBe("missing");
    });
  });
}
