import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { ServerStatus } from "../control/control-api.ts";
import type { SnapshotStatus, VolumeStatus } from "../control/store-api.ts";
import { AOED } from "./run-aoed.testing.ts";
import { type ServerPlace, withServerPlace } from "./serve-process.testing.ts";

const MIB = 1024 * 1024;
/** A busy machine may not answer within the second that `aoed discover` waits. */
const PATIENCE = { timeout: 60_000 };

let server: ServerPlace;

withServerPlace((given) => {
  server = given;
});

async function json<Answer>(...words: string[]): Promise<Answer> {
  return JSON.parse(await server.did(...words, "--json")) as Answer;
}

/** What a target holds, as the initiators of the segment read it. */
async function names(): Promise<string[]> {
  const found = await json<{ shelf: number; slot: number }[]>("discover", "-i", "client0");
  return found.map(({ shelf, slot }) => `e${shelf}.${slot}`);
}

test("snapshot, rollback and a clone beside its origin, with the embedded default", async () => {
  const served = await server.serve("-i", "server0", "--size", "64MiB");
  const first = await json<SnapshotStatus>("snapshot", "create", "e1.0", "-d", "first");
  expect(first).toMatchObject({ id: "1", volume: "e1.0", size: 64 * MIB, trigger: "manual" });

  expect(await server.aoed("snapshot", "rollback", "1")).toMatchObject({
    code: 2,
    stderr:
      "aoed: volume e1.0 is served as e1.0: every client must have unmounted it; add --yes to go on\n",
  });
  expect(await server.did("snapshot", "rollback", "1", "--yes")).toBe(
    "e1.0 holds snapshot 1 again\nwhat it held before is snapshot 2\n",
  );
  await server.did("snapshot", "clone", "1", "copy");
  await server.did("target", "add", "1.1", "--volume", "copy");
  await server.did("target", "add", "1.2", "--snapshot", "1");
  await expect.poll(names, PATIENCE).toEqual(["e1.0", "e1.1", "e1.2"]);
  expect(await server.did("target", "list")).toMatch(
    /^e1\.2 +64MiB +refused +snapshot 1 of e1\.0/m,
  );

  await server.did("target", "remove", "e1.1");
  await expect.poll(names, PATIENCE).toEqual(["e1.0", "e1.2"]);
  await server.did("volume", "delete", "copy", "--yes");
  expect(await server.did("volume", "resize", "1.0", "128MiB")).toBe("volume e1.0 of 128MiB\n");
  const status = await json<ServerStatus>("status");
  expect(status.targets[0].storage.sectors).toBe((128 * MIB) / 512);
  expect(status.stores).toMatchObject([{ volumes: 1, snapshots: 2 }]);
  const table = await server.did("status");
  expect(table).toMatch(/^STORE +VOLUMES +SNAPSHOTS/m);
  expect(table).toMatch(/^e1\.2 +snapshot 1 /m);

  expect(await server.stop(served, "SIGKILL")).toBeNull();
  await server.serve("-i", "server0");
  const volumes = await json<VolumeStatus[]>("volume", "list");
  expect(volumes).toMatchObject([{ name: "e1.0", sizeBytes: 128 * MIB, target: "e1.0" }]);
  expect((await json<SnapshotStatus[]>("snapshot", "list")).map(({ id }) => id)).toEqual([
    "1",
    "2",
  ]);
});

test("--store goes through the server that has it, else directly, else says who has it", async () => {
  writeFileSync(server.place.path("disk.img"), Buffer.alloc(2 * MIB, "content"));
  await server.did("import", "disk.img", "--into", "store", "--volume", "disk");
  expect(await server.did("volume", "list", "--store", "store")).toMatch(
    /^disk +2MiB +4KiB +- +1/m,
  );
  const words = ["-i", "server0", "-e", "3.0=store#disk", "--state-dir", "state"];
  const served = await server.serve(...words);
  expect(served.stdout).toMatch(/^e3\.0 +2MiB +durable +volume disk in file store/m);

  const refused = await server.aoed("volume", "list", "--store", "store");
  // The socket is not where --store looks for it by itself.
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(
    /^aoed: the store .*store is in use by process \d+ \(aoed\): .*\n$/,
  );
  const socket = ["--socket", "state/control.sock"];
  const asked = await json<VolumeStatus[]>("volume", "list", "--store", "store", ...socket);
  expect(asked).toMatchObject([{ name: "disk", target: "e3.0" }]);
  const second = await server.aoed("serve", "-i", "client0", "-e", "4.0=store", "--state-dir", "b");
  expect(second.code).toBe(2);
  expect(second.stderr).toContain("target e4.0: the store ");
  expect(existsSync(server.place.path("b"))).toBe(false);

  await server.did("export", "3.0", "out.img", ...socket);
  expect(readFileSync(server.place.path("out.img"))).toEqual(Buffer.alloc(2 * MIB, "content"));
  expect(await server.stop(served, "SIGTERM")).toBe(0);
  expect(await server.did("verify", "--store", "store")).toMatch(/all as it should be\n$/);
});

test("an import that Ctrl-C ends leaves no volume, and the next one is right", async () => {
  const image = Buffer.alloc(256 * MIB);
  for (let at = 0; at < image.length; at += 4096) image.writeUInt32LE(at + 1, at);
  writeFileSync(server.place.path("disk.img"), image);
  const words = ["import", "disk.img", "--into", "store", "--volume", "disk"];
  const child = spawn(AOED, words, { cwd: server.place.folder, stdio: "pipe" });
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += String(chunk)));
  const ended = once(child, "close");
  // The first segment is full, and the reserve is not touched: it is in the middle of its work.
  while (!existsSync(server.place.path("store/segment-00000002"))) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  child.kill("SIGINT");
  const [code] = (await ended) as [number | null];
  expect([code, stderr]).toEqual([130, expect.stringMatching(/^aoed: interrupted; [^\n]*\n$/)]);
  expect(await json<VolumeStatus[]>("volume", "list", "--store", "store")).toEqual([]);
  await server.did(...words);
  expect(await server.did("verify", "1", "--store", "store")).toMatch(/256 MiB read, all as it/);
});
