import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { StoreApi } from "../control/store-api.ts";
import { UsageError } from "../errors.ts";
import { CasServer } from "./cas-server.testing.ts";
import { LocalStore } from "./local-store.ts";
import { StorePool } from "./store-pool.ts";

let writer: CasServer;
let readers: CasServer[];
beforeEach(() => {
  writer = new CasServer();
  readers = [new CasServer(), new CasServer()];
});
afterEach(async () => {
  await Promise.all([writer, ...readers].map(async (server) => server.remove()));
});

/** A target in the folder of the writer that plays the object store. */
function target(keys: string, casKeys = ""): string {
  const table = `[target.cas.directory]\npath = "${join(writer.folder, "bucket")}"\n`;
  const cas = `[target.cas]\nblob_store = "directory"\npath = "front"\n${casKeys}\n${table}`;
  return `[[target]]\nshelf = 1\nslot = 0\nbackend = "cas"\n${keys}\n${cas}`;
}

const control = { signal: new AbortController().signal, onProgress: () => {} };

async function storeOf(server: CasServer): Promise<StoreApi> {
  return server.running.api.store({});
}

test("one machine writes, others read a snapshot, and the machine moves", async () => {
  await writer.start(target('size = "1GiB"\ndurability = "remote"'));
  const store = await storeOf(writer);
  const image = join(writer.folder, "image");
  writeFileSync(image, Buffer.alloc(2 * 2 ** 20, "content "));
  await store.run("import", { path: image, volume: "golden" }, control);
  const snapshot = await store.createSnapshot("golden", "for everybody");
  const { remote } = await store.status();
  expect(remote).toMatchObject({ epoch: 1, dirtyBytes: 0, trouble: null, fenced: null });
  expect(remote?.puts).toBeGreaterThan(2);

  for (const reader of readers) {
    await reader.start(target("", `snapshot = "${snapshot.root_hash.slice(0, 12)}"`));
    const [served] = reader.running.core.statusNow().targets;
    expect(served.storage).toMatchObject({ readOnly: true, sectors: 4096 });
    const verified = await (
      await storeOf(reader)
    ).run("verify", { snapshot: snapshot.id }, control);
    expect(verified).toMatchObject({ damaged: [] });
    // It cannot change what it reads.
    await expect((await storeOf(reader)).createSnapshot("golden", "mine")).rejects.toThrow(
      "for reading only",
    );
  }
  // The writer is none the worse for it.
  await store.createSnapshot("e1.0", "meanwhile");
  for (const reader of readers) await reader.stop();
  await writer.stop();

  rmSync(join(writer.folder, "front"), { recursive: true });
  await writer.start(target('size = "1GiB"'));
  const moved = await (await storeOf(writer)).snapshots();
  expect(moved.slice(-2)).toMatchObject([
    { description: "for everybody", root_hash: snapshot.root_hash },
    { description: "meanwhile" },
  ]);
  expect((await (await storeOf(writer)).status()).remote?.epoch).toBe(2);
});

test("a command opens the object store by the folder before it", async () => {
  await writer.start(target('size = "1GiB"'));
  await (await storeOf(writer)).createSnapshot("e1.0", "kept");
  await writer.stop();
  const pool = new StorePool(() => {});
  const local = new LocalStore(await pool.acquire(join(writer.folder, "front"), false), { pool });
  expect(await local.snapshots()).toMatchObject([{ description: "kept" }]);
  expect(local.statusNow().remote?.description).toMatch(/^directory /);
  await pool.close();
});

test("a snapshot of a store that is not there makes nothing", async () => {
  const start = writer.start(target("", 'snapshot = "1"'));
  await expect(start).rejects.toThrow(UsageError);
  await expect(start).rejects.toThrow("target e1.0: there is no store in directory ");
  expect(existsSync(join(writer.folder, "bucket", "head"))).toBe(false);
});
