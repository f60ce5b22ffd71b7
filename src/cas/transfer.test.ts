import { truncateSync } from "node:fs";
import {
  mkdtemp,
  open as openFile,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { CrashDisk, seededRandom } from "../blob/crash-disk.testing.ts";
import { FileStore } from "../blob/file-store.ts";
import { openFileStore } from "../blob/open-file-store.ts";
import { CasStore } from "./cas-store.ts";
import { exportImage } from "./export.ts";
import { GarbageCollector } from "./garbage-collector.ts";
import { importImage } from "./import.ts";
import { scrub } from "./scrub.ts";
import { Snapshots } from "./snapshots.ts";
import { readContent } from "./tree-content.ts";
import { receiveSnapshot, sendSnapshot, snapshotSource } from "./transfer.ts";
import { verifySnapshot } from "./verify.ts";

const MIB = 1024 * 1024;
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aoed-transfer-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

function openOn(disk: CrashDisk, messages: string[] = []): Promise<CasStore> {
  return CasStore.open({
    open: (reader) => FileStore.open({ disk, reader, segmentBytes: MIB }),
    log: (_level, message) => messages.push(message),
  });
}

/** An image with holes, zeros, repeated and random blocks, and an end within a block. */
function makeImage(seed: number): Buffer {
  const random = seededRandom(seed);
  const image = Buffer.alloc(12 * MIB + 512 * 3);
  for (let block = 0; block < 3072; block++) {
    const kind = random();
    if (kind < 0.5) continue;
    const text = kind < 0.6 ? "repeated" : `${seed} ${block} ${random()}`;
    image.fill(text, block * 4096, block * 4096 + 4096);
  }
  image.fill("the end", 12 * MIB);
  return image;
}

/** `read` and `write` of a file. */
type Transfer = (
  this: unknown,
  data: Uint8Array,
  from: number,
  length: number,
  position: number,
) => Promise<unknown>;

async function imageFile(image: Buffer): Promise<string> {
  const path = join(folder, `image-${Math.random()}`);
  await writeFile(path, image);
  return path;
}

async function importOn(disk: CrashDisk, image: Buffer, volume: string): Promise<string> {
  const cas = await openOn(disk);
  const { snapshot } = await importImage(cas, await imageFile(image), { volume });
  await cas.close();
  return snapshot.id;
}

describe("an image", () => {
  test.each([512, 4096, 65536])(
    "comes out as it went in, with blocks of %i bytes",
    async (blockBytes) => {
      const image = makeImage(1);
      const cas = await openOn(new CrashDisk());
      let read = 0;
      const report = await importImage(cas, await imageFile(image), {
        volume: "disk",
        blockBytes,
        onProgress: ({ readBytes }) => (read = readBytes),
      });
      expect(read).toBe(image.length);
      // In large blocks hardly anything is all zero, or there twice.
      const share = blockBytes > 4096 ? 1.05 : 0.6;
      expect(report.storedBytes).toBeLessThan(image.length * share);
      for (const source of [{ snapshot: report.snapshot.id }, { volume: "disk" }]) {
        const path = join(folder, `export-${Math.random()}`);
        const { sizeBytes } = await exportImage(cas, path, source);
        expect(sizeBytes).toBe(image.length);
        expect(image.equals(await readFile(path))).toBe(true);
      }
      await cas.close();
    },
  );

  test("of a terabyte of holes takes as long as what is between them", async () => {
    const cas = await openOn(new CrashDisk());
    const sizeBytes = 2 ** 40;
    const path = join(folder, "holes");
    const file = await openFile(path, "w");
    await file.truncate(sizeBytes);
    await file.write(Buffer.alloc(8192, "middle"), 0, 8192, sizeBytes / 2 + 12_288);
    await file.write(Buffer.alloc(512, "end"), 0, 512, sizeBytes - 512);
    await file.close();
    let pieces = 0;
    const { snapshot } = await importImage(cas, path, {
      volume: "disk",
      onProgress: () => pieces++,
    });
    expect(pieces).toBeLessThan(10);
    const root = await cas.loadRoot(snapshot.root_hash);
    expect(root.sizeBytes).toBe(sizeBytes);
    const found: [number, string][] = [];
    await readContent(cas.store, root, {
      block: (block, data) => {
        found.push([block, Buffer.from(data).toString("latin1").replaceAll("\0", "").slice(0, 6)]);
      },
      unreadable: () => expect.fail("damaged"),
    });
    expect(found).toEqual([
      [sizeBytes / 2 / 4096 + 3, "middle"],
      [sizeBytes / 2 / 4096 + 4, "lemidd"],
      [sizeBytes / 4096 - 1, "endend"],
    ]);
    await cas.close();
  });

  test("is exported with holes, and never over a file that is there", async () => {
    const cas = await openOn(new CrashDisk());
    const image = Buffer.alloc(40 * MIB);
    image.fill("data", 20 * MIB, 20 * MIB + 4096);
    await importImage(cas, await imageFile(image), { volume: "disk" });
    const path = join(folder, "sparse");
    await exportImage(cas, path, { volume: "disk" });
    const { blocks, size } = await stat(path);
    expect(size).toBe(image.length);
    expect(blocks * 512).toBeLessThan(MIB);
    await expect(exportImage(cas, path, { volume: "disk" })).rejects.toThrow(/EEXIST.*--overwrite/);
    await exportImage(cas, path, { volume: "disk", overwrite: true });
    await cas.close();
  });

  test.each([true, false])(
    "of which a block is damaged is not exported, and what was there stays (%s)",
    async (isThere) => {
      const disk = new CrashDisk();
      const image = makeImage(9);
      const id = await importOn(disk, image, "disk");
      const begin = image.indexOf("9 ");
      const block = image.subarray(begin, begin + 4096);
      for (const name of disk.files().keys()) {
        const at = Buffer.from(disk.contents(name)).indexOf(block);
        if (at >= 0) disk.flipBit(name, at, 0);
      }
      const cas = await openOn(disk);
      const inside = await mkdtemp(join(folder, "damaged-"));
      const path = join(inside, "disk.img");
      if (isThere) await writeFile(path, "the old backup");
      const exporting = exportImage(cas, path, { snapshot: id, overwrite: isThere });
      await expect(exporting).rejects.toMatchObject({ kind: "damaged" });
      expect(await readdir(inside)).toEqual(isThere ? ["disk.img"] : []);
      if (isThere) expect(await readFile(path, "utf8")).toBe("the old backup");
      await cas.close();
    },
  );

  test("goes in and comes out whole when the system takes and gives less than it is asked", async () => {
    const cas = await openOn(new CrashDisk());
    const image = makeImage(5).subarray(0, 2 * MIB + 700);
    const source = await imageFile(image);
    const handle = await openFile(source);
    const methods = Object.getPrototypeOf(handle) as Record<"read" | "write", Transfer>;
    await handle.close();
    let shortened = 0;
    for (const name of ["read", "write"] as const) {
      const whole = methods[name];
      vi.spyOn(methods, name).mockImplementation(function (this: unknown, data, from, length, at) {
        if (length <= 1000) return whole.call(this, data, from, length, at);
        shortened++;
        return whole.call(this, data, from, Math.ceil(length * 0.7), at);
      });
    }
    const path = join(folder, "in parts");
    try {
      await importImage(cas, source, { volume: "disk" });
      expect(shortened).toBeGreaterThan(2);
      shortened = 0;
      await exportImage(cas, path, { volume: "disk" });
      expect(shortened).toBeGreaterThan(2);
    } finally {
      vi.restoreAllMocks();
    }
    const found = await readFile(path);
    expect(image.equals(found.subarray(0, image.length))).toBe(true);
    await cas.close();
  });

  test("that gets shorter while it is read is refused, and leaves no volume", async () => {
    const cas = await openOn(new CrashDisk());
    const source = await imageFile(makeImage(6));
    const importing = importImage(cas, source, {
      volume: "disk",
      onProgress: () => truncateSync(source, MIB + 4096),
    });
    await expect(importing).rejects.toThrow(/ends at 1052672/);
    expect(cas.volumes()).toEqual([]);
    await cas.close();
  });

  test("that is the same again takes only the tree that is there, too", async () => {
    const cas = await openOn(new CrashDisk());
    const path = await imageFile(makeImage(2));
    const first = await importImage(cas, path, { volume: "first" });
    const second = await importImage(cas, path, { volume: "second" });
    expect(second.snapshot.root_hash).toBe(first.snapshot.root_hash);
    expect(second.storedBytes).toBe(0);
    await expect(importImage(cas, path, { volume: "first" })).rejects.toThrow(/already/);
    await expect(importImage(cas, "/nowhere", { volume: "x" })).rejects.toThrow(/ENOENT/);
    await expect(importImage(cas, folder, { volume: "x" })).rejects.toThrow(/neither a file nor/);
    await cas.close();
  });
});

describe("damage", () => {
  test("every flipped bit of a block is found by verify and by scrub, with its sectors", async () => {
    const disk = new CrashDisk();
    const image = makeImage(3);
    const id = await importOn(disk, image, "disk");
    const random = seededRandom(3);
    const damaged = new Set<number>();
    for (const [name, size] of disk.files()) {
      if (!name.startsWith("segment") || size < MIB) continue;
      const bytes = Buffer.from(disk.contents(name));
      for (let count = 0; count < 10; count++) {
        // A block that is in the image once, somewhere in this segment.
        const block = Math.floor(random() * 3072);
        const data = image.subarray(block * 4096, block * 4096 + 4096);
        const at = bytes.indexOf(data);
        const isUnique = !data.subarray(0, 8).equals(Buffer.from("repeated")) && data[0] !== 0;
        if (at < 0 || !isUnique || damaged.has(block)) continue;
        disk.flipBit(name, at + Math.floor(random() * 4096), Math.floor(random() * 8));
        damaged.add(block);
      }
    }
    expect(damaged.size).toBeGreaterThan(3);
    const messages: string[] = [];
    const cas = await openOn(disk, messages);
    const report = await verifySnapshot(cas, id);
    const found = report.damaged.flatMap(({ lba, lengthSectors }) =>
      Array.from({ length: lengthSectors / 8 }, (_, index) => lba / 8 + index),
    );
    expect(found).toEqual([...damaged].toSorted((left, right) => left - right));
    expect(report.blobs).toHaveLength(damaged.size);
    const scrubbed = await scrub(cas);
    expect(scrubbed).toMatchObject({ isComplete: true });
    expect(scrubbed.damaged).toHaveLength(damaged.size);
    const [affected] = scrubbed.affected;
    expect(affected).toMatchObject({ snapshot: id, volume: "disk", ranges: report.damaged });
    expect(messages.some((text) => /snapshot 1 of disk: LBA \d+ to \d+ cannot/.test(text))).toBe(
      true,
    );
    await cas.close();
  });

  test("a damaged node is reported as the range below it", async () => {
    const disk = new CrashDisk();
    const id = await importOn(disk, makeImage(4), "disk");
    for (const name of disk.files().keys()) {
      const bytes = Buffer.from(disk.contents(name));
      const at = bytes.indexOf(Buffer.from("aoed merkle node\u0001\u0001"));
      if (at < 0) continue;
      disk.flipBit(name, at + 50, 0);
      break;
    }
    const cas = await openOn(disk);
    const { damaged } = await verifySnapshot(cas, id);
    expect(damaged).toHaveLength(1);
    expect(damaged[0]?.lengthSectors).toBe(128 * 8);
    await cas.close();
  });

  test("a scrub that is stopped goes on where it was, also after a restart", async () => {
    const disk = new CrashDisk();
    await importOn(disk, makeImage(5), "disk");
    let cas = await openOn(disk);
    const { blobs } = cas.store.statistics;
    const controller = new AbortController();
    const first = await scrub(cas, {
      signal: controller.signal,
      onProgress: (progress) => {
        if (progress.blobs > blobs / 2) controller.abort();
      },
    });
    expect(first.isComplete).toBe(false);
    await cas.close();
    cas = await openOn(disk);
    const second = await scrub(cas);
    expect(second.isComplete).toBe(true);
    expect(first.blobs + second.blobs).toBeGreaterThanOrEqual(blobs);
    expect(second.blobs).toBeLessThan(blobs * 0.6);
    expect(cas.catalog.scrub.completed).not.toBeNull();
    await cas.close();
  });
});

describe("a snapshot sent to another store", () => {
  test("has the same root there; the next one moves only what is new", async () => {
    const from = await openOn(new CrashDisk());
    const to = await openOn(new CrashDisk());
    const image = makeImage(6);
    const first = await importImage(from, await imageFile(image), { volume: "disk" });
    const sent = await sendSnapshot(from, first.snapshot.id, to);
    expect(sent.snapshot.root_hash).toBe(first.snapshot.root_hash);
    expect(sent.snapshot).toMatchObject({ volume: "disk", trigger: "receive" });
    image.fill("changed", 5 * MIB, 5 * MIB + 8192);
    const second = await importImage(from, await imageFile(image), { volume: "changed" });
    const more = await sendSnapshot(from, second.snapshot.id, to, { volume: "renamed" });
    // Two blocks that are equal, their leaf, the nodes above it, and the root descriptor.
    expect(more.moved).toBeLessThanOrEqual(1 + 3 + 1);
    expect(more.snapshot).toMatchObject({
      volume: "renamed",
      root_hash: second.snapshot.root_hash,
    });
    const path = join(folder, "received");
    await exportImage(to, path, { snapshot: more.snapshot.id });
    expect(image.equals(await readFile(path))).toBe(true);
    expect((await sendSnapshot(from, first.snapshot.id, to)).moved).toBe(0);
    await from.close();
    await to.close();
  });

  test("goes on after an interruption with what has arrived, and trusts no blob unseen", async () => {
    const from = await openOn(new CrashDisk());
    const disk = new CrashDisk();
    let to = await openOn(disk);
    const { snapshot } = await importImage(from, await imageFile(makeImage(7)), { volume: "disk" });
    const source = await snapshotSource(from, snapshot.id);
    let calls = 0;
    const failing = {
      ...source,
      fetch: (hashes: readonly Uint8Array[]) => {
        if (++calls > 15) throw new Error("the connection is gone");
        return source.fetch(hashes);
      },
    };
    await expect(receiveSnapshot(to, failing)).rejects.toThrow(/connection is gone/);
    expect(new Snapshots(to).list()).toEqual([]);
    await to.close();
    to = await openOn(disk);
    const lying = {
      ...source,
      fetch: async (hashes: readonly Uint8Array[]) => {
        const blobs = await source.fetch(hashes);
        blobs[0][9] ^= 1;
        return blobs;
      },
    };
    await expect(receiveSnapshot(to, lying)).rejects.toMatchObject({ kind: "damaged" });
    const report = await receiveSnapshot(to, source);
    expect(report.present).toBeGreaterThan(100);
    expect(report.snapshot.root_hash).toBe(snapshot.root_hash);
    expect((await verifySnapshot(to, report.snapshot.id)).damaged).toEqual([]);
    source.close();
    await from.close();
    await to.close();
  });

  test("is complete even if parts of it had been there and were collected in part", async () => {
    const from = await openOn(new CrashDisk());
    const to = await openOn(new CrashDisk());
    const { snapshot } = await importImage(from, await imageFile(makeImage(8)), { volume: "disk" });
    const { id } = (await sendSnapshot(from, snapshot.id, to)).snapshot;
    await new Snapshots(to).delete(id);
    await new GarbageCollector(to).collect({ liveThreshold: 0.5 });
    const again = await sendSnapshot(from, snapshot.id, to);
    expect((await verifySnapshot(to, again.snapshot.id)).damaged).toEqual([]);
    await from.close();
    await to.close();
  });
});

test("a store has one owner; the refusal names it", async () => {
  const path = join(folder, "store");
  const open = (): Promise<CasStore> =>
    CasStore.open({ open: (reader) => openFileStore(path, reader) });
  const cas = await open();
  await expect(open()).rejects.toThrow(/store .* is in use by this process/);
  await cas.close();
  const again = await open();
  await again.close();
});
