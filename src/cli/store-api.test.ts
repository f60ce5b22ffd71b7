import { appendFileSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { JobControl, Progress, StoreApi } from "../control/store-api.ts";
import { Cancelled } from "../control/store-api.ts";
import { UsageError } from "../errors.ts";
import { CasServer, casTarget } from "../server/cas-server.testing.ts";
import { LocalStore } from "../server/local-store.ts";
import { StorePool } from "../server/store-pool.ts";
import { RemoteStore } from "./remote-store.ts";

const MIB = 1024 * 1024;

/** Both ways to a store must behave alike: in this process, and over a server's real socket. */
const ways = [
  {
    way: "directly",
    open: async (server: CasServer): Promise<{ store: StoreApi; close: () => Promise<void> }> => {
      const pool = new StorePool(() => {});
      const store = new LocalStore(await pool.acquire(server.path("store"), true), { pool });
      await store.createVolume({ name: "e1.0", sizeBytes: 8 * MIB });
      return { store, close: async () => pool.close() };
    },
  },
  {
    way: "through a server",
    open: async (server: CasServer): Promise<{ store: StoreApi; close: () => Promise<void> }> => {
      await server.start(casTarget(0, "store", 'size = "8MiB"'));
      return { store: new RemoteStore(server.socket, undefined), close: async () => server.stop() };
    },
  },
];

function watched(): JobControl & { readonly seen: Progress[] } {
  const seen: Progress[] = [];
  const { signal } = new AbortController();
  return { signal, seen, onProgress: (progress) => seen.push(progress) };
}

/** An image with something in it that no other block has. */
function writeImage(path: string, lengthBytes: number): Buffer {
  const image = Buffer.alloc(lengthBytes);
  for (let at = 0; at < lengthBytes / 2; at += 4096) image.writeUInt32LE(at + 1, at);
  writeFileSync(path, image);
  return image;
}

describe.each(ways)("a store, $way", ({ open }) => {
  let server: CasServer;
  let store: StoreApi;
  let close: () => Promise<void>;
  beforeEach(async () => {
    server = new CasServer();
    ({ store, close } = await open(server));
  });
  afterEach(async () => {
    await close();
    await server.remove();
  });

  test("volumes: made, listed, enlarged, deleted", async () => {
    const made = await store.createVolume({ name: "data", sizeBytes: MIB, blockBytes: 8192 });
    expect(made).toMatchObject({ name: "data", sizeBytes: MIB, blockBytes: 8192, target: null });
    expect(await store.resizeVolume("data", 2 * MIB)).toMatchObject({ sizeBytes: 2 * MIB });
    await expect(store.resizeVolume("data", MIB)).rejects.toThrow(/cannot shrink/);
    await expect(store.createVolume({ name: "data", sizeBytes: MIB })).rejects.toThrow(/already/);
    await expect(store.createVolume({ name: "a b", sizeBytes: MIB })).rejects.toThrow(
      /not the name/,
    );
    await expect(store.createVolume({ name: "x", sizeBytes: 100 })).rejects.toThrow(
      /multiple of 512/,
    );
    await expect(store.resizeVolume("none", MIB)).rejects.toThrow(/there is no volume 'none'/);
    expect((await store.volumes()).map(({ name }) => name)).toEqual(["e1.0", "data"]);
    await store.deleteVolume("data");
    await expect(store.deleteVolume("data")).rejects.toBeInstanceOf(UsageError);
    expect(await store.status()).toMatchObject({ volumes: 1, snapshots: 0 });
  });

  test("snapshots: taken, found, rolled back, cloned, compared, deleted", async () => {
    const first = await store.createSnapshot("1.0", "é, \u001b and more");
    expect(first).toMatchObject({ id: "1", volume: "e1.0", description: "é, \u001b and more" });
    expect(await store.snapshot(first.root_hash.slice(0, 10))).toEqual(first);
    await expect(store.snapshot("7")).rejects.toThrow(/there is no snapshot '7'/);
    await store.resizeVolume("e1.0", 16 * MIB);
    const { restored, safety } = await store.rollback("1", "e1.0");
    expect([restored.id, safety.size]).toEqual(["1", 16 * MIB]);
    expect(await store.clone("1", "copy")).toMatchObject({ origin: "1", sizeBytes: 8 * MIB });
    expect(await store.diff("1")).toEqual([]);
    expect(await store.diff("1", safety.id)).toEqual([]);
    expect((await store.snapshots("e1.0")).map(({ id }) => id)).toEqual(["1", safety.id]);
    expect(await store.deleteSnapshot(safety.id)).toEqual(safety);
    await expect(store.snapshots("none")).rejects.toThrow(/there is no volume 'none'/);
    expect((await store.snapshots()).map(({ id }) => id)).toEqual(["1"]);
  });

  test("an image comes in, is compared, measured and verified, and goes out again", async () => {
    const image = writeImage(server.path("disk.img"), 4 * MIB);
    const control = watched();
    const request = { path: server.path("disk.img"), volume: "disk" };
    const report = await store.run("import", request, control);
    expect(report).toMatchObject({ sizeBytes: 4 * MIB, snapshot: { volume: "disk", id: "1" } });
    expect(report.storedBytes).toBeGreaterThan(2 * MIB);
    expect(control.seen[0]).toMatchObject({ phase: "import", total: 4 * MIB, unit: "bytes" });
    await expect(store.run("import", request, watched())).rejects.toThrow(
      /a volume 'disk' already/,
    );

    expect(await store.run("verify", { snapshot: "1" }, watched())).toMatchObject({
      bytes: 2 * MIB,
      damaged: [],
    });
    const space = await store.run("space", {}, watched());
    expect(space.uses.map(({ volume, snapshot }) => [volume, snapshot])).toEqual([
      ["disk", "1"],
      ["e1.0", null],
      ["disk", null],
    ]);
    const out = { path: server.path("out.img"), snapshot: "1" };
    expect(await store.run("export", out, watched())).toMatchObject({ bytes: 2 * MIB });
    expect(readFileSync(server.path("out.img")).equals(image)).toBe(true);
    await expect(store.run("export", out, watched())).rejects.toThrow(/EEXIST/);
    const again = { path: server.path("out.img"), volume: "disk", overwrite: true };
    await store.run("export", again, watched());
    expect(readFileSync(server.path("out.img")).equals(image)).toBe(true);
  });

  test("a snapshot moves to another store and back, and only once", async () => {
    writeImage(server.path("disk.img"), MIB);
    await store.run("import", { path: server.path("disk.img"), volume: "disk" }, watched());
    const to = server.path("backup");
    const sent = await store.run("send", { snapshot: "1", to }, watched());
    expect(sent.moved).toBeGreaterThan(128);
    const second = await store.run("send", { snapshot: "1", to, volume: "other" }, watched());
    expect(second).toMatchObject({ moved: 0, snapshot: { id: "2", volume: "other" } });
    const back = await store.run("receive", { snapshot: "2", from: to }, watched());
    expect(back).toMatchObject({ moved: 0, snapshot: { trigger: "receive" } });
    expect(back.snapshot.root_hash).toBe(sent.snapshot.root_hash);
    const absent = server.path("absent");
    await expect(store.run("receive", { snapshot: "1", from: absent }, watched())).rejects.toThrow(
      /there is no store in/,
    );
    await expect(store.run("send", { snapshot: "9", to: absent }, watched())).rejects.toThrow(
      /no snapshot '9'/,
    );
    expect(readdirSync(server.folder)).not.toContain("absent");
  });

  test("what is deleted is collected; what is damaged is found", async () => {
    writeImage(server.path("disk.img"), MIB);
    await store.run("import", { path: server.path("disk.img"), volume: "disk" }, watched());
    const before = await store.run("gc", {}, watched());
    await store.deleteVolume("disk");
    await store.deleteSnapshot("1");
    const after = await store.run("gc", {}, watched());
    expect(before.liveBlobs - after.liveBlobs).toBeGreaterThan(127);

    await store.run("import", { path: server.path("disk.img"), volume: "disk" }, watched());
    expect(await store.run("scrub", {}, watched())).toMatchObject({
      isComplete: true,
      damaged: [],
    });
    flipBit(server.path("store"), Buffer.from([0x01, 0x20, 0, 0]));
    const scrubbed = await store.run("scrub", {}, watched());
    expect(scrubbed.damaged).toHaveLength(1);
    expect(scrubbed.affected.map(({ volume, ranges }) => [volume, ranges])).toEqual([
      ["disk", [{ lba: 16, lengthSectors: 8 }]],
      ["disk", [{ lba: 16, lengthSectors: 8 }]],
    ]);
    expect(await store.run("verify", { snapshot: "2" }, watched())).toMatchObject({
      damaged: [{ lba: 16, lengthSectors: 8 }],
    });
  });

  test("a job that is cancelled ends, and leaves no half volume", async () => {
    writeImage(server.path("disk.img"), 64 * MIB);
    const ending = new AbortController();
    const control = { signal: ending.signal, onProgress: () => ending.abort() };
    const request = { path: server.path("disk.img"), volume: "disk" };
    await expect(store.run("import", request, control)).rejects.toBeInstanceOf(Cancelled);
    const deadlineMs = performance.now() + 60_000;
    let names: string[];
    do {
      names = (await store.volumes()).map(({ name }) => name);
    } while (names.includes("disk") && performance.now() < deadlineMs);
    expect(names).toEqual(["e1.0"]);
  });

  test("an export that is cancelled leaves the old file, and nothing beside it", async () => {
    writeImage(server.path("disk.img"), 64 * MIB);
    await store.run("import", { path: server.path("disk.img"), volume: "disk" }, watched());
    const path = server.path("out.img");
    writeFileSync(path, "the old backup");
    const ending = new AbortController();
    const control = { signal: ending.signal, onProgress: () => ending.abort() };
    const request = { path, volume: "disk", overwrite: true };
    await expect(store.run("export", request, control)).rejects.toBeInstanceOf(Cancelled);
    // A server hears of it when the connection is closed, which nobody waits for.
    const isLeft = (): boolean => readdirSync(server.folder).includes("out.img.part");
    await vi.waitFor(() => expect(isLeft()).toBe(false), { timeout: 30_000 });
    expect(readFileSync(path, "utf8")).toBe("the old backup");
  });
});

/** Flips a bit behind these octets, wherever they begin a block of the store. */
function flipBit(folder: string, octets: Buffer): void {
  for (const name of readdirSync(folder).filter((file) => file.startsWith("segment-"))) {
    const content = readFileSync(join(folder, name));
    for (let at = content.indexOf(octets); at >= 0; at = content.indexOf(octets, at + 1)) {
      if (content.subarray(at + 4, at + 4096).some((octet) => octet !== 0)) continue;
      content[at + 100] ^= 1;
    }
    writeFileSync(join(folder, name), content);
  }
}

describe("the socket itself", () => {
  let server: CasServer;
  beforeEach(async () => {
    server = new CasServer();
    await server.start(casTarget(0, "store", 'size = "8MiB"'));
  });
  afterEach(async () => {
    await server.remove();
  });

  async function ask(method: string, path: string, body?: string) {
    return new Promise<{ status: number | undefined; type: string | undefined; text: string }>(
      (resolve, reject) => {
        const asked = httpRequest({ socketPath: server.socket, method, path }, (response) => {
          let text = "";
          response.on("data", (chunk) => (text += String(chunk)));
          response.on("end", () => {
            const type = response.headers["content-type"];
            resolve({ status: response.statusCode, type, text });
          });
        });
        asked.on("error", reject);
        asked.end(body);
      },
    );
  }

  test("a job answers in lines, and one that cannot begin like any other mistake", async () => {
    appendFileSync(server.path("disk.img"), Buffer.alloc(MIB, 7));
    const body = JSON.stringify({ path: server.path("disk.img"), volume: "disk" });
    const done = await ask("POST", "/v1/jobs/import", body);
    expect([done.status, done.type]).toEqual([200, "application/x-ndjson"]);
    const lines = done.text.trimEnd().split("\n");
    expect(JSON.parse(lines[0])).toMatchObject({ progress: { phase: "import" } });
    expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ result: { sizeBytes: MIB } });

    const refused = await ask("POST", "/v1/jobs/import", body);
    expect([refused.status, refused.type]).toEqual([400, "application/json"]);
    expect(JSON.parse(refused.text)).toEqual({
      error: "there is a volume 'disk' already: choose another name",
    });
  });

  test.each([
    ["POST", "/v1/jobs/nothing", "{}", 404, "no such operation"],
    ["POST", "/v1/jobs/verify", "{}", 400, "snapshot is missing"],
    ["POST", "/v1/jobs/verify", '{"snapshot":1}', 400, "snapshot must be text"],
    ["POST", "/v1/jobs/scrub", '{"bytesPerSecond":-1}', 400, "must be a whole number"],
    ["POST", "/v1/volumes", '{"name":"x"}', 400, "sizeBytes is missing"],
    ["POST", "/v1/volumes", '{"name":"x","sizeBytes":"1GiB"}', 400, "must be a whole number"],
    ["POST", "/v1/volumes/e1.0/resize?store=/nowhere", '{"sizeBytes":1}', 400, "no store /nowhere"],
    ["POST", "/v1/targets", '{"shelf":4095,"slot":0,"volume":"x"}', 400, "shelf 4095"],
    ["POST", "/v1/targets", '{"shelf":1,"slot":1}', 400, "name what to serve"],
    ["POST", "/v1/targets", '{"shelf":1,"slot":1,"volume":"x","durability":"no"}', 400, "one of"],
    ["DELETE", "/v1/targets/1.9", undefined, 400, "e1.9: this server has no such target"],
    ["GET", "/v1/snapshots/%ff", undefined, 404, "no such operation"],
    ["GET", "/v1/snapshots/", undefined, 404, "no such operation"],
    ["PUT", "/v1/volumes", "{}", 404, "no such operation"],
  ])("%s %s %s", async (method, path, body, status, reason) => {
    const answer = await ask(method, path, body);
    expect(answer.status).toBe(status);
    expect((JSON.parse(answer.text) as { error: string }).error).toContain(reason);
  });

  test("targets are added and removed", async () => {
    await ask("POST", "/v1/volumes", '{"name":"more","sizeBytes":1048576}');
    const added = await ask("POST", "/v1/targets", '{"shelf":2,"slot":3,"volume":"more"}');
    expect(JSON.parse(added.text)).toMatchObject({ shelf: 2, slot: 3, cas: { volume: "more" } });
    const listed = JSON.parse((await ask("GET", "/v1/targets")).text) as unknown[];
    expect(listed).toHaveLength(2);
    const removed = await ask("DELETE", "/v1/targets/e2.3");
    expect(JSON.parse(removed.text)).toEqual({ removed: "e2.3" });
    expect(statSync(server.socket).mode & 0o777).toBe(0o600);
  });
});
