import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { UsageError } from "../errors.ts";
import { CasServer, casTarget } from "./cas-server.testing.ts";
import { StorePool } from "./store-pool.ts";

const MIB = 1024 * 1024;

let server: CasServer;
beforeEach(() => {
  server = new CasServer();
});
afterEach(async () => {
  await server.remove();
});

/** Names, sizes and contents of a folder's files: what "nothing has changed" means. */
function contentsOf(folder: string): string[] {
  return readdirSync(folder).map((name) => {
    const bytes = readFileSync(join(folder, name));
    return `${name} ${bytes.toString("base64")}`;
  });
}

async function makeStore(path: string, volumes: Record<string, number>): Promise<void> {
  const pool = new StorePool(() => {});
  const { cas } = await pool.acquire(path, true);
  for (const [name, sizeBytes] of Object.entries(volumes)) await cas.createVolume(name, sizeBytes);
  await pool.close();
}

function sizes(): [string, number][] {
  return server.running.core
    .statusNow()
    .targets.map(({ slot, storage }) => [`e1.${slot}`, storage.sectors / 2048]);
}

describe("targets of a store", () => {
  test("two targets share a store, which is opened once; a restart finds both", async () => {
    const targets = casTarget(0, "store") + casTarget(1, "./store", 'size = "64MiB"');
    await server.start(targets);
    expect(sizes()).toEqual([
      ["e1.0", 16 * 1024],
      ["e1.1", 64],
    ]);
    const { stores } = server.running.core.statusNow();
    expect(stores).toMatchObject([{ path: server.path("store"), volumes: 2 }]);
    await (await server.running.api.store({})).createSnapshot("e1.1", "kept");
    await server.stop();

    await server.start(targets);
    expect(sizes()).toEqual([
      ["e1.0", 16 * 1024],
      ["e1.1", 64],
    ]);
    expect(await (await server.running.api.store({})).snapshots()).toMatchObject([
      { volume: "e1.1", description: "kept" },
    ]);
    // Nothing had to be read again but the checkpoint that the orderly end has left.
    expect(server.running.core.statusNow().stores[0].tailBytes).toBeLessThan(4096);
  });

  test("a volume grows to the size of the configuration, and never shrinks", async () => {
    await makeStore(server.path("store"), { "e1.0": 8 * MIB, "e1.1": 8 * MIB });
    await server.start(
      casTarget(0, "store", 'size = "32MiB"') + casTarget(1, "store", 'size = "1MiB"'),
    );
    expect(sizes()).toEqual([
      ["e1.0", 32],
      ["e1.1", 8],
    ]);
  });

  test("a read-only target of a volume, and one of a snapshot, refuse writes", async () => {
    await makeStore(server.path("store"), { disk: 8 * MIB });
    await server.start(casTarget(0, "store", "", 'volume = "disk"'));
    await (await server.running.api.store({})).createSnapshot("1.0", "");
    await server.stop();
    await server.start(
      casTarget(0, "store", "read_only = true", 'volume = "disk"') +
        casTarget(1, "store", "", 'snapshot = "1"') +
        casTarget(2, "store", "", 'snapshot = "1"'),
    );
    const { targets } = server.running.core.statusNow();
    expect(targets.map(({ storage }) => storage.readOnly)).toEqual([true, true, true]);
    expect(targets.map(({ cas }) => [cas?.volume, cas?.snapshot])).toEqual([
      ["disk", null],
      [null, "1"],
      [null, "1"],
    ]);
  });

  test("snapshots by the clock begin at once, and end with the target", async () => {
    await server.start(casTarget(0, "store", "", '[target.cas.snapshots]\nevery = "1h"\nkeep = 2'));
    const store = await server.running.api.store({});
    const deadlineMs = performance.now() + 60_000;
    while ((await store.snapshots()).length === 0 && performance.now() < deadlineMs) {
      await delay(10);
    }
    expect(await store.snapshots("e1.0")).toMatchObject([{ trigger: "timer" }]);
    await server.running.api.removeTarget(1, 0);
    expect(server.running.core.statusNow().targets).toEqual([]);
  });
});

describe("a start that is refused changes nothing", () => {
  test("a locked store", async () => {
    await makeStore(server.path("store"), { "e1.0": 8 * MIB });
    const holder = new StorePool(() => {});
    await holder.acquire(server.path("store"), false);
    const before = contentsOf(server.path("store"));
    const image = '[[target]]\nshelf = 2\nslot = 0\nbackend = "file"\npath = "f"\nsize = 512\n';
    await expect(server.start(casTarget(0, "new") + image + casTarget(1, "store"))).rejects.toThrow(
      /^target e1\.1: the store .*store is in use by .*: stop it, or/,
    );
    expect(contentsOf(server.path("store"))).toEqual(before);
    expect(readdirSync(server.folder)).toEqual(["store"]);
    await holder.close();
  });

  test.each([
    [
      "a snapshot that is not there",
      casTarget(1, "store", "", 'snapshot = "9"'),
      /no snapshot '9'/,
    ],
    ["another block size", casTarget(1, "store", "", 'volume = "disk"\nblock_size = 512'), /4096/],
    [
      "a read-only volume that is not there",
      casTarget(1, "store", "read_only = true"),
      /there is no volume e1\.1 in .*store/,
    ],
  ])("%s", async (_name, second, message) => {
    await makeStore(server.path("store"), { disk: 8 * MIB });
    const first = casTarget(0, "store") + casTarget(3, "other");
    const refused = server.start(first + second);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toThrow(UsageError);
    expect(existsSync(server.path("other"))).toBe(false);
    const pool = new StorePool(() => {});
    const { cas } = await pool.acquire(server.path("store"), false);
    expect(cas.volumes().map(({ name }) => name)).toEqual(["disk"]);
    await pool.close();
  });
});

describe("targets while the server runs", () => {
  test("a clone is served beside its origin, and removed again", async () => {
    await server.start(casTarget(0, "store"));
    const { api } = server.running;
    const store = await api.store({});
    await store.createSnapshot("e1.0", "");
    await store.clone("1", "copy");
    await api.addTarget({ shelf: 1, slot: 1, volume: "copy" });
    await api.addTarget({ shelf: 1, slot: 2, snapshot: "1" });
    expect(await store.volumes()).toMatchObject([
      { name: "e1.0", target: "e1.0" },
      { name: "copy", target: "e1.1", origin: "1" },
    ]);
    await expect(store.deleteVolume("copy")).rejects.toThrow(/is served as e1\.1/);
    await expect(api.addTarget({ shelf: 1, slot: 1, volume: "copy" })).rejects.toThrow(/already/);
    await expect(api.addTarget({ shelf: 1, slot: 3, volume: "copy" })).rejects.toThrow(/in use/);
    await expect(api.addTarget({ shelf: 1, slot: 3, volume: "none" })).rejects.toThrow(
      /no volume none/,
    );
    await expect(
      api.addTarget({ shelf: 1, slot: 3, volume: "x", store: server.path("absent") }),
    ).rejects.toThrow(/there is no store in/);
    expect(existsSync(server.path("absent"))).toBe(false);

    await api.removeTarget(1, 1);
    await expect(api.removeTarget(1, 1)).rejects.toThrow(/e1\.1: this server has no such target/);
    await store.deleteVolume("copy");
    expect((await api.status()).targets.map(({ slot }) => slot)).toEqual([0, 2]);
    await api.addTarget({ shelf: 1, slot: 1, snapshot: "1" });
  });

  test("a name that several stores have must be said with its store", async () => {
    await server.start(
      casTarget(0, "one", "", 'volume = "disk"') + casTarget(1, "two", "", 'volume = "disk"'),
    );
    const { api } = server.running;
    await expect(api.store({ volume: "disk" })).rejects.toThrow(
      /name one of the stores with --store/,
    );
    await expect(api.store({ path: server.path("three") })).rejects.toThrow(
      /no store .*three open/,
    );
    expect(await (await api.store({ volume: "e1.1" })).status()).toMatchObject({
      path: server.path("two"),
    });
    expect(await (await api.store({ path: server.path("one") })).volumes()).toMatchObject([
      { target: "e1.0" },
    ]);
  });

  test("rolling back moves the size as well, and a job is cut short by the end", async () => {
    writeFileSync(server.path("disk.img"), Buffer.alloc(64 * MIB, "aoed"));
    await server.start(casTarget(0, "store", 'size = "8MiB"'));
    const { api } = server.running;
    const store = await api.store({});
    await store.createSnapshot("e1.0", "small");
    await store.resizeVolume("1.0", 16 * MIB);
    expect(sizes()).toEqual([["e1.0", 16]]);
    const { safety } = await store.rollback("1", "e1.0");
    expect(safety).toMatchObject({ size: 16 * MIB, trigger: "rollback" });
    expect(sizes()).toEqual([["e1.0", 8]]);

    const request = { path: server.path("disk.img"), volume: "imported" };
    const control = { signal: new AbortController().signal, onProgress: () => {} };
    const outcome = store.run("import", request, control).then(
      () => "done",
      (error: unknown) => String(error),
    );
    await server.stop();
    expect(await outcome).toMatch(/^Cancelled/);
    await server.start(casTarget(0, "store"));
    const volumes = await (await server.running.api.store({})).volumes();
    expect(volumes.map(({ name }) => name)).toEqual(["e1.0"]);
    expect(statSync(server.socket).isSocket()).toBe(true);
  });
});
