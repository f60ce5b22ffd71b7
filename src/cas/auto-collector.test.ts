import { beforeEach, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { CrashDisk } from "../blob/crash-disk.testing.ts";
import { FileStore } from "../blob/file-store.ts";
import { BlockStatus } from "../storage/block-storage.ts";
import { finish, TestDisk } from "../storage/block-storage.testing.ts";
import { AutoCollector } from "./auto-collector.ts";
import { CasStore } from "./cas-store.ts";
import { GarbageCollector } from "./garbage-collector.ts";

const LIVE_BLOCKS = 400;

const arena = new FrameArena(64);
let crashDisk: CrashDisk;
let errors: string[];
let cas: CasStore;
let disk: TestDisk;
let contents = 0;

beforeEach(async () => {
  crashDisk = new CrashDisk();
  errors = [];
  cas = await CasStore.open({
    open: (reader) => FileStore.open({ disk: crashDisk, reader, segmentBytes: 256 * 1024 }),
    log: (_level, message) => errors.push(message),
  });
  await cas.createVolume("disk", 4000 * 4096);
  disk = new TestDisk(cas.openVolume("disk", { memory: arena.bytes, cacheBytes: 65536 }), arena);
});

/** Writes content that there was not before over a block that may hold some already. */
async function overwrite(): Promise<BlockStatus> {
  disk.reuseMemory();
  const write = disk.write((contents % LIVE_BLOCKS) * 8, 8, 0);
  disk.data(write).set(Buffer.from(`content ${contents++}`));
  const [status] = await finish(disk, [write]);
  return status;
}

/** Writes until there is no space. */
async function fillDisk(): Promise<void> {
  crashDisk.options.capacityBytes = crashDisk.totalBytes() + 400_000;
  let status: BlockStatus = BlockStatus.ok;
  for (let count = 0; status === BlockStatus.ok && count < 1000; count++) {
    status = await overwrite();
  }
  expect(status).toBe(BlockStatus.noSpace);
}

test("a full disk makes a collection due, and writes go on after it", async () => {
  for (let count = 0; count < 3 * LIVE_BLOCKS; count++) await overwrite();
  await new GarbageCollector(cas).collect();
  const collector = new AutoCollector(cas, { checkEveryMs: 5 });
  expect(collector.isDue()).toBe(false);
  await fillDisk();
  expect(collector.isDue()).toBe(true);
  collector.start();
  await expect.poll(() => collector.isDue(), { timeout: 60_000 }).toBe(false);
  await collector.stop();
  expect(errors).toEqual([]);
  expect(await overwrite()).toBe(BlockStatus.ok);
  await cas.close();
});

test("a deleted volume makes a collection due", async () => {
  await cas.createVolume("gone", 4096);
  const collector = new AutoCollector(cas);
  await cas.deleteVolume("gone");
  expect(collector.isDue()).toBe(true);
  await cas.close();
});

test("a collection that failed is due until one succeeds", async () => {
  for (let count = 0; count < 20; count++) await overwrite();
  await cas.createVolume("gone", 4096);
  const failures: (string | null)[] = [];
  const collector = new AutoCollector(cas, {
    checkEveryMs: 5,
    onEnd: (_bytesFreed, failure) => failures.push(failure),
  });
  await cas.deleteVolume("gone");
  const isFaulty = { value: true };
  crashDisk.options.fault = () => (isFaulty.value ? "EIO" : undefined);
  collector.start();
  await expect.poll(() => errors.length, { timeout: 60_000 }).toBeGreaterThan(1);
  expect(errors[0]).toMatch(/nothing was collected/);
  isFaulty.value = false;
  await expect.poll(() => failures.at(-1), { timeout: 60_000 }).toBe(null);
  await expect.poll(() => collector.isDue(), { timeout: 60_000 }).toBe(false);
  await collector.stop();
  await cas.close();
});

test("collections of no use come more and more seldom, until something is deleted", async () => {
  await cas.createVolume("gone", 4096);
  await cas.createVolume("gone, too", 4096);
  const endedMs: number[] = [];
  const collector = new AutoCollector(cas, {
    checkEveryMs: 2,
    onEnd: () => endedMs.push(performance.now()),
  });
  await cas.deleteVolume("gone");
  crashDisk.options.fault = () => "EIO";
  collector.start();
  await expect.poll(() => endedMs.length, { timeout: 60_000, interval: 1 }).toBeGreaterThan(7);
  const pauses = endedMs.slice(1).map((atMs, index) => atMs - endedMs[index]);
  pauses.forEach((pause, index) => expect(pause).toBeGreaterThan(1.9 * 2 ** index));
  delete crashDisk.options.fault;
  expect(collector.isDue()).toBe(false);
  await cas.deleteVolume("gone, too");
  expect(collector.isDue()).toBe(true);
  await collector.stop();
  await cas.close();
});
