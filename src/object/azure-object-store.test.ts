import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { AzureObjectStore } from "./azure-object-store.ts";
import { type ObjectStore, objectFaultCode } from "./object-store.ts";

/** Azurite has the whole suite in object-tests; here is what it cannot do: misbehave. */

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

async function rig(answer: Answer, silences?: { readMs: number; writeMs: number }) {
  const server = createServer((request, response) => {
    // The body of a put is read and thrown away.
    request.resume();
    answer(request, response);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const folder = await mkdtemp(join(tmpdir(), "aoed-azure-"));
  const accountKeyFile = join(folder, "key");
  await writeFile(accountKeyFile, Buffer.from("no secret").toString("base64"));
  const store = await AzureObjectStore.open(
    {
      kind: "azure",
      account: "lab",
      container: "disks",
      prefix: "",
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/lab`,
      connectionStringFile: undefined,
      accountKeyFile,
      sasTokenFile: undefined,
      unsafeSingleWriter: false,
    },
    silences,
  );
  onTestFinished(async () => {
    await store.close();
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true });
  });
  const connections = (): Promise<number> =>
    new Promise((resolve) => server.getConnections((_, count) => resolve(count)));
  return { store, connections };
}

const data = new Uint8Array(1024 * 1024);
const calls: [string, (store: ObjectStore) => Promise<unknown>][] = [
  ["get", async (store) => store.get("pack")],
  ["stat", async (store) => store.stat("pack")],
  ["putIfAbsent", async (store) => store.putIfAbsent("pack", data)],
  ["putIfMatch", async (store) => store.putIfMatch("pack", data, "etag")],
  ["delete", async (store) => store.delete("pack")],
];

const answered = async (call: Promise<unknown>) => call.then(() => "none", objectFaultCode);

test.each(calls)("%s: a 404 of somebody else is no missing object", async (_, call) => {
  const { store } = await rig((_request, response) => {
    response.writeHead(404, { "content-type": "text/html" }).end("<html>Not found<br></html>");
  });
  expect(await answered(call(store))).toBe("unavailable");
});

test.each(calls)("%s: what the service says is not there", async (name, call) => {
  let code = "ContainerNotFound";
  const { store } = await rig((_request, response) => {
    response.writeHead(404, { "x-ms-error-code": code }).end();
  });
  await expect(call(store)).rejects.toThrow(/ContainerNotFound, HTTP 404\): make the container/);
  code = "BlobNotFound";
  const codes: Record<string, string> = { delete: "none", putIfMatch: "changed" };
  expect(await answered(call(store))).toBe(codes[name] ?? "missing");
});

test("an answer that is refused before it is read holds no connection", async () => {
  const { store, connections } = await rig((_request, response) => {
    // All of it, although a range was asked for.
    response.writeHead(200, { etag: '"1"', "content-length": 64 * data.length });
    for (let part = 0; part < 64; part++) response.write(data);
  });
  const range = { offsetBytes: 1, lengthBytes: 2 };
  expect(await answered(store.get("pack", range))).toBe("unsupported");
  await vi.waitUntil(async () => (await connections()) === 0, 30_000);
});

test.each(calls.filter(([name]) => name === "get" || name.startsWith("put")))(
  "%s: a service that says nothing is given up long before a large object would be",
  async (_, call) => {
    const { store, connections } = await rig(() => {}, { readMs: 50, writeMs: 50 });
    await expect(call(store)).rejects.toThrow(/nothing came for 50 ms/);
    await vi.waitUntil(async () => (await connections()) === 0, 30_000);
  },
);

test("a large object arrives whole, in pieces", async () => {
  const sums: string[] = [];
  const { store } = await rig((request, response) => {
    const md5 = createHash("md5");
    request.on("data", (chunk: Buffer) => md5.update(chunk));
    request.on("end", () => {
      sums.push(md5.digest("base64"));
      response.writeHead(201, { etag: '"1"' }).end();
    });
  });
  const random = randomBytes(3 * data.length + 12_345);
  expect(await store.putIfAbsent("pack", random)).toBe("1");
  expect(sums).toEqual([createHash("md5").update(random).digest("base64")]);
});
