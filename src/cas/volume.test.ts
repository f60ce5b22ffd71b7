import { expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { type BlobStore, StoreFault } from "../blob/blob-store.ts";
import { CrashDisk } from "../blob/crash-disk.testing.ts";
import { FileStore } from "../blob/file-store.ts";
import { MemoryMedium, MemoryStore } from "../blob/memory-store.ts";
import { BlockStatus } from "../storage/block-storage.ts";
import { blockStorageCompliance } from "../storage/block-storage.compliance.ts";
import { finish, testArena, TestDisk } from "../storage/block-storage.testing.ts";
import { CasStore } from "./cas-store.ts";
import type { Volume, VolumeOptions } from "./volume.ts";

const MIB = 1024 * 1024;

function openInMemory(medium = new MemoryMedium(), limits = {}): Promise<CasStore> {
  return CasStore.open({ open: (reader) => MemoryStore.open(reader, medium), ...limits });
}

function openOnDisk(disk: CrashDisk, limits = {}): Promise<CasStore> {
  return CasStore.open({
    open: (reader) => FileStore.open({ disk, reader, segmentBytes: 4 * MIB }),
    ...limits,
  });
}

const variants: Record<string, Partial<VolumeOptions> & { blockBytes?: number }> = {
  "a durable volume": {},
  "a writeback volume": { durability: "writeback" },
  "a writeback volume with a small limit": { durability: "writeback", writebackLimitBytes: 8192 },
  "a volume with blocks of 512 bytes": { blockBytes: 512 },
  "a volume with blocks of 64 KiB": { blockBytes: 65536 },
  "a volume with next to no cache": { cacheBytes: 1 },
};

for (const [name, { blockBytes = 4096, ...options }] of Object.entries(variants)) {
  for (const medium of ["memory", "disk"]) {
    blockStorageCompliance(`${name} in ${medium}`, async () => {
      const limits = { tailLimitBytes: 300_000, dirtyLimitBlocks: 50 };
      const store = await (medium === "memory"
        ? openInMemory(new MemoryMedium(), limits)
        : openOnDisk(new CrashDisk(), limits));
      await store.createVolume("disk", 16 * MIB, blockBytes);
      const arena = testArena();
      const volume = store.openVolume("disk", { memory: arena.bytes, ...options });
      return { disk: new TestDisk(volume, arena), dispose: () => store.close() };
    });
  }
}

async function withVolume(
  store: CasStore,
  name: string,
  use: (disk: TestDisk, volume: Volume) => Promise<void>,
  options: Partial<VolumeOptions> = {},
): Promise<void> {
  const arena = new FrameArena(1024);
  const volume = store.openVolume(name, { memory: arena.bytes, ...options });
  await use(new TestDisk(volume, arena), volume);
  await volume.close();
}

test("keeps what was written when the store is opened again", async () => {
  const disk = new CrashDisk();
  let store = await openOnDisk(disk);
  await store.createVolume("disk", 2 ** 44);
  await withVolume(store, "disk", async (testDisk) => {
    const writes = [testDisk.write(0, 8, 1), testDisk.write(2 ** 35 - 5, 5, 2)];
    expect(await finish(testDisk, [...writes, testDisk.trim(2, 3)])).toEqual([0, 0, 0]);
  });
  await store.close();
  store = await openOnDisk(disk);
  expect(store.volumes()).toMatchObject([{ name: "disk", sizeBytes: 2 ** 44, dirtyBlocks: 0 }]);
  await withVolume(store, "disk", async (testDisk) => {
    const first = await testDisk.readBack(0, 9);
    const sectors = Array.from({ length: 9 }, (_, sector) => first[sector * 512]);
    expect(sectors).toEqual([1, 1, 0, 0, 0, 1, 1, 1, 0]);
    const last = await testDisk.readBack(2 ** 35 - 8, 8);
    expect(last[2 * 512]).toBe(0);
    expect(last[3 * 512]).toBe(2);
  });
  await store.close();
});

test("a new volume of 16 TiB takes kilobytes, and so does one of zeros", async () => {
  const disk = new CrashDisk();
  const store = await openOnDisk(disk);
  await store.createVolume("thin", 2 ** 44);
  await withVolume(store, "thin", async (testDisk) => {
    const requests = [testDisk.trim(0, 2 ** 35), testDisk.write(77, 1000, 0), testDisk.flush()];
    await finish(testDisk, requests);
  });
  await store.close();
  const bytes = [...disk.files().values()].reduce((sum, size) => sum + size, 0);
  expect(bytes).toBeLessThan(700_000);
});

test("stores a block once that is written in many places", async () => {
  const store = await openInMemory();
  await store.createVolume("disk", 16 * MIB);
  await withVolume(store, "disk", async (testDisk) => {
    await finish(testDisk, [testDisk.write(0, 1000, 7), testDisk.write(5000, 1000, 7)]);
    expect(store.store.statistics.blobs).toBe(1);
  });
  await store.close();
});

test("grows while it is used, through more levels of the tree", async () => {
  const medium = new MemoryMedium();
  let store = await openInMemory(medium);
  await store.createVolume("disk", 100 * 4096);
  await withVolume(store, "disk", async (testDisk, volume) => {
    await finish(testDisk, [testDisk.write(0, 8, 1)]);
    await store.checkpoint();
    let resizes = 0;
    volume.onResize = () => resizes++;
    for (const sizeBytes of [200 * 4096, 2 ** 32, 2 ** 40]) {
      await store.resizeVolume("disk", sizeBytes);
      const last = sizeBytes / 512 - 8;
      expect(volume.info().sectors).toBe(sizeBytes / 512);
      expect(new Set(await testDisk.readBack(last, 8))).toEqual(new Set([0]));
      await finish(testDisk, [testDisk.write(last, 8, 3)]);
      expect((await testDisk.readBack(0, 1))[0]).toBe(1);
      expect((await testDisk.readBack(last, 1))[0]).toBe(3);
    }
    expect(resizes).toBe(3);
    await expect(store.resizeVolume("disk", 4096)).rejects.toThrow(/cannot shrink/);
  });
  await store.close();
  store = await openInMemory(medium);
  await withVolume(store, "disk", async (testDisk) => {
    expect((await testDisk.readBack(0, 1))[0]).toBe(1);
    expect((await testDisk.readBack(2 ** 31 - 8, 1))[0]).toBe(3);
  });
  await store.close();
});

test.each([
  ["a region", 40_000],
  ["all of a volume of one region", 16_384],
  ["whole subtrees", 128 ** 3 + 40_000],
])("leaves that were cached are zero after a trim of %s and a checkpoint", async (_, blocks) => {
  const store = await openInMemory();
  await store.createVolume("disk", blocks * 4096);
  const trimmed = blocks > 128 ** 3 ? 128 ** 3 : 16_384;
  await withVolume(store, "disk", async (testDisk) => {
    const last = (blocks - 1) * 8;
    await finish(testDisk, [testDisk.write(80, 8, 7), testDisk.write(last, 8, 9)]);
    await store.checkpoint();
    expect((await testDisk.readBack(80, 1))[0]).toBe(7);
    expect((await testDisk.readBack(last, 1))[0]).toBe(9);
    await finish(testDisk, [testDisk.trim(0, trimmed * 8)]);
    await store.checkpoint();
    expect((await testDisk.readBack(80, 1))[0]).toBe(0);
    expect((await testDisk.readBack(last, 1))[0]).toBe(trimmed === blocks ? 0 : 9);
    // A write of a part must not bring the rest of the old block back.
    await finish(testDisk, [testDisk.write(80, 1, 5)]);
    await store.checkpoint();
    const sectors = await testDisk.readBack(80, 8);
    expect([sectors[0], sectors[512], sectors[4095]]).toEqual([5, 0, 0]);
  });
  await store.close();
});

test("several wait for the reads under way, each for its own", async () => {
  const store = await openOnDisk(new CrashDisk());
  await store.createVolume("disk", 16 * MIB);
  await withVolume(store, "disk", async (testDisk) => {
    await finish(testDisk, [testDisk.write(0, 8, 1)]);
  });
  await store.checkpoint();
  await withVolume(store, "disk", async (testDisk, volume) => {
    const first = testDisk.read(0, 8);
    testDisk.submit();
    expect(first.completions).toBe(0);
    const done = [first.completions, first.completions];
    const drains = [0, 1].map(async (drain) => {
      await volume.reader.drain();
      done[drain] = first.completions;
    });
    const second = testDisk.read(0, 1);
    testDisk.submit();
    const closing = volume.close();
    await Promise.all([...drains, closing]);
    expect(done).toEqual([1, 1]);
    expect(second.completions).toBe(1);
    await volume.reader.drain();
  });
  await store.close();
});

test("reads a damaged block as a fault that names it, and its neighbours as they are", async () => {
  const disk = new CrashDisk();
  let store = await openOnDisk(disk);
  await store.createVolume("disk", 16 * MIB);
  await withVolume(store, "disk", async (testDisk) => {
    for (let block = 0; block < 20; block++) {
      await finish(testDisk, [testDisk.write(block * 8, 8, block + 1)]);
    }
  });
  await store.close();
  const segment = Buffer.from(disk.contents("segment-00000000"));
  disk.flipBit("segment-00000000", segment.indexOf(Buffer.alloc(4096, 6)) + 99, 2);
  const messages: string[] = [];
  store = await CasStore.open({
    open: (reader) => FileStore.open({ disk, reader, segmentBytes: 4 * MIB }),
    log: (_level, message) => messages.push(message),
  });
  await withVolume(store, "disk", async (testDisk) => {
    const reads = Array.from({ length: 20 }, (_, block) => testDisk.read(block * 8, 8));
    const statuses = await finish(testDisk, reads);
    const expected = reads.map((_, block) => (block === 5 ? BlockStatus.unreadable : 0));
    expect(statuses).toEqual(expected);
    expect(reads[5].failedLba).toBe(40);
    const across = testDisk.read(30, 30);
    expect(await finish(testDisk, [across])).toEqual([BlockStatus.unreadable]);
    // A write of a part needs the rest, which cannot be read; a write of the whole heals it.
    expect(await finish(testDisk, [testDisk.write(41, 1, 9)])).toEqual([BlockStatus.writeFault]);
    expect(await finish(testDisk, [testDisk.write(40, 8, 6)])).toEqual([BlockStatus.ok]);
    expect((await testDisk.readBack(40, 8))[99]).toBe(6);
  });
  expect(messages[0]).toMatch(/volume disk in file store .*LBA 40 to 47 .*blob [0-9a-f]{64}/);
  await store.close();
});

test("says when the disk is full, keeps what was acknowledged, and goes on when it is not", async () => {
  const disk = new CrashDisk({ capacityBytes: 3 * MIB });
  const store = await CasStore.open({
    open: (reader) => FileStore.open({ disk, reader, segmentBytes: 512 * 1024 }),
  });
  await store.createVolume("disk", 64 * MIB);
  await withVolume(store, "disk", async (testDisk) => {
    const written: number[] = [];
    let status: BlockStatus = BlockStatus.ok;
    for (let block = 0; status === BlockStatus.ok; block++) {
      testDisk.reuseMemory();
      const write = testDisk.write(block * 8, 8, 0);
      testDisk.data(write).set(Buffer.from(`block ${block}`));
      [status] = (await finish(testDisk, [write])) as [BlockStatus];
      if (status === BlockStatus.ok) written.push(block);
    }
    expect(status).toBe(BlockStatus.noSpace);
    expect(written.length).toBeGreaterThan(200);
    for (const block of written) {
      testDisk.reuseMemory();
      const data = Buffer.from(await testDisk.readBack(block * 8, 8));
      expect(data.toString("latin1", 0, 12)).toBe(`block ${block}`.padEnd(12, "\0"));
    }
    // What frees space still has room.
    await store.checkpoint();
    expect(await finish(testDisk, [testDisk.write(0, 8, 255)])).toEqual([BlockStatus.noSpace]);
    disk.options.capacityBytes = 16 * MIB;
    expect(await finish(testDisk, [testDisk.write(0, 8, 255)])).toEqual([BlockStatus.ok]);
  });
  await store.close();
});

test("a remote volume closes when its store gives up, and says what is where", async () => {
  const away = new StoreFault("unavailable", "the object store does not answer");
  for (const refused of ["confirm", "append"]) {
    const store = await openInMemory();
    await store.createVolume("disk", MIB);
    const arena = testArena();
    const volume = store.openVolume("disk", { memory: arena.bytes, durability: "remote" });
    const inMemory: BlobStore = store.store;
    Object.assign(inMemory, { remote: { dirtyBytes: 8192 } });
    if (refused === "confirm") inMemory.confirm = () => Promise.reject(away);
    else inMemory.append = (batch) => queueMicrotask(() => batch.failed(away));
    const testDisk = new TestDisk(volume, arena);
    const write = testDisk.write(0, 8, 1);
    await expect(volume.close()).rejects.toThrow(
      /^volume disk .* is not available; 8192 bytes of the store are on this machine alone$/,
    );
    expect([write.completions, write.status]).toEqual([1, BlockStatus.unavailable]);
    await inMemory.close();
  }
});

test("reads ahead of a sequential reader", async () => {
  const disk = new CrashDisk();
  let store = await openOnDisk(disk);
  await store.createVolume("disk", 64 * MIB);
  await withVolume(store, "disk", async (testDisk) => {
    for (let block = 0; block < 2000; block++) {
      testDisk.reuseMemory();
      const write = testDisk.write(block * 8, 8, 1);
      testDisk.data(write).set(Buffer.from(`${block}`));
      await finish(testDisk, [write]);
    }
  });
  await store.close();
  store = await openOnDisk(disk);
  await withVolume(store, "disk", async (testDisk, volume) => {
    for (let block = 0; block < 2000; block++) {
      testDisk.reuseMemory();
      await testDisk.readBack(block * 8, 8);
    }
    expect(volume.statistics.inline).toBeGreaterThan(1500);
  });
  expect(store.store.statistics.diskReads).toBeLessThan(200);
  await store.close();
});
