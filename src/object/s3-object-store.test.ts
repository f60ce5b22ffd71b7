import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, onTestFinished, test, vi } from "vitest";
import { UsageError } from "../errors.ts";
import { checkConditionalPuts } from "./conditional-puts.ts";
import { openAdapter, openObjectStore } from "./open-object-store.ts";
import { type ObjectStore, objectFaultCode } from "./object-store.ts";
import type { S3Settings } from "./object-store-settings.ts";
import { describeObjectStore, listed } from "./object-store.compliance.ts";
import { RetryObjectStore } from "./retry-object-store.ts";
import { type S3Mishap, S3Server, type S3ServerOptions } from "./s3-server.testing.ts";

const SECRET = "planted/secret+key";
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

async function serverOf(options?: S3ServerOptions) {
  const server = await S3Server.start(options);
  const folder = await mkdtemp(join(tmpdir(), "aoed-s3-"));
  const credentialsFile = join(folder, "credentials");
  await writeFile(
    credentialsFile,
    `[default]\naws_access_key_id = test\naws_secret_access_key = ${SECRET}\n`,
  );
  const settings: S3Settings = {
    kind: "s3",
    bucket: server.bucket,
    prefix: "lab/",
    region: undefined,
    endpoint: server.endpoint,
    pathStyle: true,
    profile: undefined,
    credentialsFile,
    unsafeSingleWriter: false,
  };
  const close = async (): Promise<void> => {
    await server.close();
    await rm(folder, { recursive: true });
  };
  return { server, settings, close };
}

describeObjectStore("S3ObjectStore", async () => {
  const { settings, close } = await serverOf({ keysPerPage: 100 });
  return { open: async () => openAdapter(settings), keepsWriteIds: true, manyKeys: 250, close };
});

async function rig(options?: S3ServerOptions) {
  const { server, settings, close } = await serverOf(options);
  const bare = await openAdapter(settings);
  onTestFinished(async () => {
    await bare.close();
    await close();
  });
  return { server, settings, bare };
}

const next = (server: S3Server, ...mishaps: S3Mishap[]): void => {
  server.mishap = () => mishaps.shift();
};

const bad: [string, S3Mishap, string][] = [
  ["429", { status: 429, code: "TooManyRequests" }, "unavailable"],
  ["500", { status: 500, code: "InternalError" }, "unavailable"],
  ["503", { status: 503, code: "SlowDown" }, "unavailable"],
  ["400 BadDigest", { status: 400, code: "BadDigest" }, "unavailable"],
  ["400 RequestTimeout", { status: 400, code: "RequestTimeout" }, "unavailable"],
  ["409 conflict", { status: 409, code: "ConditionalRequestConflict" }, "unavailable"],
  ["403", { status: 403, code: "AccessDenied" }, "denied"],
  ["403 clock", { status: 403, code: "RequestTimeTooSkewed" }, "denied"],
  ["301", { status: 301, code: "PermanentRedirect" }, "denied"],
  ["501", { status: 501, code: "NotImplemented" }, "unsupported"],
  ["404 of somebody else", "foreign 404", "unavailable"],
  ["404 no bucket", { status: 404, code: "NoSuchBucket" }, "denied"],
  ["dropped", "drop", "unavailable"],
  ["lost", "lost", "unavailable"],
];

const calls: [string, (store: ObjectStore) => Promise<unknown>][] = [
  ["get", async (store) => store.get("there")],
  ["get range", async (store) => store.get("there", { offsetBytes: 1, lengthBytes: 2 })],
  ["stat", async (store) => store.stat("there")],
  ["putIfAbsent", async (store) => store.putIfAbsent("new", bytes("x"))],
  [
    "putIfMatch",
    async (store) => store.putIfMatch("there", bytes("y"), (await store.stat("there")).etag),
  ],
  ["list", async (store) => listed(store, "")],
  ["delete", async (store) => store.delete("there")],
];

/**
 * The answer to a HEAD request has no body that could say what a 400 is about. A 404 is asked about
 * again, and has a test of its own.
 */
function callsFor(mishap: S3Mishap) {
  const isVague = typeof mishap === "object" && [400, 404].includes(mishap.status);
  return calls.filter(([name]) => name !== "stat" || !(isVague || mishap === "foreign 404"));
}

test.each(bad)(
  "%s: the fault, no secret in it; a later try heals what can be healed",
  async (_, mishap, code) => {
    const { server, bare } = await rig();
    const patient = new RetryObjectStore(bare, { firstPauseMs: 1, longestPauseMs: 2 });
    for (const [name, call] of callsFor(mishap)) {
      const isTwo = name === "putIfMatch";
      server.objects.clear();
      await bare.putIfAbsent("there", bytes("0123"));
      next(server, ...(isTwo ? [undefined] : []), mishap);
      const before = bare.statistics.failures;
      const error: unknown = await call(bare).catch((reason: unknown) => reason);
      expect(objectFaultCode(error), name).toBe(code);
      expect(inspect(error, { depth: 9 }), name).not.toContain(SECRET);
      expect(bare.statistics.failures - before, name).toBe(1);

      server.mishap = () => undefined;
      server.objects.clear();
      await bare.putIfAbsent("there", bytes("0123"));
      next(server, ...(isTwo ? [undefined] : []), mishap);
      const healed = await call(patient).then(
        () => "healed",
        (reason: unknown) => objectFaultCode(reason),
      );
      expect(healed, name).toBe(code === "unavailable" ? "healed" : code);
    }
  },
);

test("a 404 is a missing object only when the service says so", async () => {
  const { server, bare } = await rig();
  const codeOf = async (call: Promise<unknown>) => call.then(() => "none", objectFaultCode);
  const noBucket = { status: 404, code: "NoSuchBucket" };
  const etag = await bare.putIfAbsent("there", bytes("0123"));
  // Of a HEAD nobody can tell: a GET is sent after it.
  next(server, "foreign 404", "foreign 404");
  expect(await codeOf(bare.stat("there"))).toBe("unavailable");
  next(server, noBucket, noBucket);
  expect(await codeOf(bare.stat("there"))).toBe("denied");
  next(server, "foreign 404");
  expect(await codeOf(bare.stat("there"))).toBe("unavailable");
  expect(await codeOf(bare.stat("absent"))).toBe("missing");
  next(server, "foreign 404");
  expect(await codeOf(bare.putIfMatch("there", bytes("4"), etag))).toBe("unavailable");
  expect(await codeOf(bare.putIfMatch("absent", bytes("4"), etag))).toBe("changed");
  next(server, "foreign 404");
  await expect(bare.get("there")).rejects.toThrow(/HTTP 404\): .* check the endpoint/);
  next(server, noBucket);
  await expect(bare.get("there")).rejects.toThrow(/NoSuchBucket, HTTP 404\): make the bucket/);
});

test("an answer that is refused before it is read holds no connection", async () => {
  const { server, bare } = await rig();
  await bare.putIfAbsent("pack", new Uint8Array(4 * 1024 * 1024));
  next(server, "whole");
  await expect(bare.get("pack", { offsetBytes: 1, lengthBytes: 2 })).rejects.toMatchObject({
    code: "unsupported",
  });
  await vi.waitUntil(async () => (await server.connections()) === 0, 30_000);
});

test("a cut, flipped or senseless answer is never taken for the object", async () => {
  const { server, bare } = await rig();
  const data = new Uint8Array(300_000).fill(7);
  await bare.putIfAbsent("pack", data);
  const patient = new RetryObjectStore(bare, { firstPauseMs: 1, longestPauseMs: 2 });
  const range = { offsetBytes: 1000, lengthBytes: 200_000 };
  for (const [mishap, whole, part] of [
    ["cut", "unavailable", "unavailable"],
    ["flip", "corrupt", "none"],
    ["garbage", "corrupt", "none"],
  ] as const) {
    const code = async (call: Promise<unknown>) => call.then(() => "none", objectFaultCode);
    next(server, mishap);
    expect(await code(bare.get("pack")), mishap).toBe(whole);
    next(server, mishap);
    // Of a part only the length is known here: who asks for parts knows their hashes.
    expect(await code(bare.get("pack", range)), mishap).toBe(part);
    next(server, mishap, mishap);
    expect((await patient.get("pack")).data).toEqual(Buffer.from(data));
  }
  next(server, "garbage");
  expect(await listed(patient, "")).toEqual(["pack"]);
});

test("an answer that never comes is given up", async () => {
  const { server, bare } = await rig();
  const patient = new RetryObjectStore(bare, { firstPauseMs: 1, tryTimeoutMs: 500 });
  next(server, "hang", "hang");
  await patient.putIfAbsent("pack", bytes("x"));
  expect(server.objects.has("lab/pack")).toBe(true);
  const abort = new AbortController();
  next(server, "hang");
  const hanging = bare.get("pack", undefined, { signal: abort.signal });
  const reason = new Error("enough");
  setImmediate(() => abort.abort(reason));
  await expect(hanging).rejects.toBe(reason);
});

test("Retry-After reaches the caller, in seconds and as a date", async () => {
  const { server, bare } = await rig();
  const busy = { status: 503, code: "SlowDown" };
  next(server, { ...busy, retryAfter: "7" });
  await expect(bare.stat("x")).rejects.toMatchObject({ retryAfterMs: 7000 });
  next(server, { ...busy, retryAfter: new Date(Date.now() + 60_000).toUTCString() });
  const error: unknown = await bare.stat("x").catch((reason: unknown) => reason);
  const { retryAfterMs } = error as { retryAfterMs: number };
  expect(retryAfterMs).toBeGreaterThan(1000);
  expect(retryAfterMs).toBeLessThanOrEqual(60_000);
});

test.each(["needed", "refused"] as const)("quotes around an etag are %s", async (quotes) => {
  const { server, bare } = await rig({ quotes });
  let etag = await bare.putIfAbsent("head", bytes("0"));
  for (let round = 1; round < 4; round++) {
    const before = server.requests.length;
    const stale = etag;
    etag = await bare.putIfMatch("head", bytes(String(round)), etag);
    // Found out once: the put that failed, a look at the object, and the put without quotes.
    const expected = quotes === "refused" && round === 1 ? 3 : 1;
    expect(server.requests.length - before).toBe(expected);
    await expect(bare.putIfMatch("head", bytes("late"), stale)).rejects.toMatchObject({
      code: "changed",
    });
  }
  await checkConditionalPuts(bare);
});

test("a service that ignores conditions is refused, unless there is a single writer", async () => {
  const { server, settings } = await rig({ ignoreConditions: true });
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const refused: unknown = await openObjectStore(settings, { warn }).catch(
    (reason: unknown) => reason,
  );
  expect(refused).toBeInstanceOf(UsageError);
  expect(String(refused)).toMatch(/If-None-Match.*unsafe_single_writer = true/);
  expect(server.objects.size).toBe(0);
  expect(warnings).toEqual([]);
  const store = await openObjectStore({ ...settings, unsafeSingleWriter: true }, { warn });
  expect(warnings).toHaveLength(1);
  await store.close();
});

test("credentials that cannot be read are one line", async () => {
  const { settings } = await rig();
  const nowhere = { ...settings, credentialsFile: "/nowhere/credentials" };
  const error: unknown = await openObjectStore(nowhere, { warn: () => undefined }).catch(
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UsageError);
  expect(String(error)).toMatch(/cannot be used: .*CredentialsProviderError/);
});
