import { expect, test } from "vitest";
import { StoreFault } from "../blob/blob-store.ts";
import { CrashDisk, seededRandom } from "../blob/crash-disk.testing.ts";
import { HASH_BYTES, hashOf } from "../blob/hash.ts";
import { UsageError } from "../errors.ts";
import { BlockStatus } from "../storage/block-storage.ts";
import { finish, TestDisk, testArena } from "../storage/block-storage.testing.ts";
import type { CasStore } from "./cas-store.ts";
import { openCas } from "./crash-workload.testing.ts";
import { GarbageCollector } from "./garbage-collector.ts";
import { Snapshots } from "./snapshots.ts";
import type { Volume } from "./volume.ts";

const arena = testArena();
const BLOCK_BYTES = 512;
const BLOCKS = 40_000;
const NODE_MAGIC = "aoed merkle node";

function attach(cas: CasStore): TestDisk {
  const options = { memory: arena.bytes, cacheBytes: 4096, groupBytes: 8192 };
  return new TestDisk(cas.openVolume("disk", options), arena);
}

/** A disk with two hundred different blocks, some of them changed since a snapshot. */
async function makeStore(): Promise<CrashDisk> {
  const disk = new CrashDisk();
  const cas = await openCas(disk);
  await cas.createVolume("disk", BLOCKS * BLOCK_BYTES, BLOCK_BYTES);
  const testDisk = attach(cas);
  for (let round = 0; round < 2; round++) {
    for (let block = round * 120; block < 200; block++) {
      testDisk.reuseMemory();
      await finish(testDisk, [testDisk.write(placeOf(block), 1, valueOf(block, round))]);
    }
    if (round === 0) await new Snapshots(cas).create("disk");
  }
  await cas.close();
  return disk;
}

function placeOf(block: number): number {
  return (block * 211) % BLOCKS;
}

function valueOf(block: number, round: number): number {
  return round === 1 && block >= 120 ? 255 - block : block + 1;
}

/** How many of the blocks cannot be read; throws when one holds what was never written to it. */
async function countUnreadable(volume: Volume, round: number): Promise<number> {
  const disk = new TestDisk(volume, arena);
  const reads = Array.from({ length: 200 }, (_, block) => disk.read(placeOf(block), 1));
  const statuses = await finish(disk, reads);
  let unreadable = 0;
  statuses.forEach((status, block) => {
    if (status === BlockStatus.unreadable) unreadable++;
    else expect(new Set(disk.data(reads[block]))).toEqual(new Set([valueOf(block, round)]));
  });
  return unreadable;
}

test("a flipped bit anywhere is a refusal or a fault, and never other data", async () => {
  const pristine = await makeStore();
  const random = seededRandom(4);
  const files = [...pristine.files()].filter(([, size]) => size > 0);
  const outcomes = { refused: 0, faults: 0, harmless: 0 };
  for (let flip = 0; flip < 500; flip++) {
    const disk = pristine.reboot({ random });
    const [name, size] = files[Math.floor(random() * files.length)];
    disk.flipBit(name, Math.floor(random() * size), Math.floor(random() * 8));
    let cas: CasStore;
    try {
      cas = await openCas(disk);
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError);
      expect(String(error)).toMatch(/is damaged|newer version/);
      outcomes.refused++;
      continue;
    }
    const options = { memory: arena.bytes, cacheBytes: 65536 };
    const unreadable = await countUnreadable(cas.openVolume("disk", options), 1);
    const [record] = new Snapshots(cas).list();
    // A snapshot whose root descriptor cannot be read is not opened at all.
    const faults = await cas
      .openSnapshot(record, options)
      .then((volume) => countUnreadable(volume, 0))
      .catch((error: unknown) => {
        expect(error).toBeInstanceOf(StoreFault);
        return 1;
      });
    if (unreadable + faults > 0) outcomes.faults++;
    else outcomes.harmless++;
  }
  // Most of what the files hold is blocks; what is not used, or is there twice, does no harm.
  expect(outcomes.faults).toBeGreaterThan(40);
  expect(outcomes.harmless).toBeGreaterThan(40);
  expect(outcomes.refused).toBeLessThan(8);
}, 120_000);

/** Lets an operation fail for want of space. */
async function tolerate(action: () => Promise<unknown>): Promise<void> {
  await action().catch((error: unknown) => {
    if (!(error instanceof StoreFault)) throw error;
  });
}

/** One block after the other, a snapshot, a collection; the disk refuses some operations. */
async function runOnFullDisk(failing: number): Promise<{ faults: number; done: boolean }> {
  let faults = 0;
  let isFailing = true;
  const disk = new CrashDisk({
    fault: (operation, kind) => {
      const fails = isFailing && kind === "write" && operation >= failing && faults < 5;
      if (fails) faults++;
      return fails ? "ENOSPC" : undefined;
    },
  });
  const cas = await openCas(disk).catch(() => undefined);
  if (cas === undefined) return { faults, done: false };
  await tolerate(() => cas.createVolume("disk", BLOCKS * BLOCK_BYTES, BLOCK_BYTES));
  if (cas.volumes().length === 0) return { faults, done: false };
  const testDisk = attach(cas);
  const model = new Map<number, number>();
  const snapshots = new Snapshots(cas);
  for (let step = 0; step < 60; step++) {
    testDisk.reuseMemory();
    const block = placeOf(step % 40);
    const [status] = await finish(testDisk, [testDisk.write(block, 1, step + 1)]);
    if (status === BlockStatus.ok) model.set(block, step + 1);
    else expect(status).toBe(BlockStatus.noSpace);
    if (step % 13 === 12) await tolerate(() => snapshots.create("disk"));
    if (step % 29 === 28) await tolerate(() => new GarbageCollector(cas).collect());
  }
  isFailing = false;
  testDisk.reuseMemory();
  const writes = [testDisk.write(placeOf(1), 1, 200), testDisk.flush()];
  expect(await finish(testDisk, writes)).toEqual([BlockStatus.ok, BlockStatus.ok]);
  model.set(placeOf(1), 200);
  await expectModel(testDisk, model);
  disk.crashNow();
  const after = await openCas(disk.reboot({ random: seededRandom(failing) }));
  await expectModel(attach(after), model);
  return { faults, done: true };
}

async function expectModel(disk: TestDisk, model: Map<number, number>): Promise<void> {
  disk.reuseMemory();
  for (const [block, value] of model) {
    const data = await disk.readBack(block, 1);
    expect(new Set(data), `block ${block}`).toEqual(new Set([value]));
  }
}

test("a full disk at every write harms nothing acknowledged, and space is used again", async () => {
  let reached = 0;
  for (let failing = 1; failing < 400; failing += 2) {
    const { faults, done } = await runOnFullDisk(failing);
    if (done && faults > 0) reached++;
  }
  expect(reached).toBeGreaterThan(30);
}, 120_000);

test("a tree that cannot be built holds up no other one, and keeps its changes", async () => {
  const disk = new CrashDisk();
  let cas = await openCas(disk);
  const disks = new Map<string, TestDisk>();
  const write = async (name: string, block: number, value: number): Promise<void> => {
    const testDisk = disks.get(name) as TestDisk;
    testDisk.reuseMemory();
    expect(await finish(testDisk, [testDisk.write(block, 1, value)])).toEqual([BlockStatus.ok]);
  };
  for (const name of ["broken", "whole"]) {
    await cas.createVolume(name, 1000 * BLOCK_BYTES, BLOCK_BYTES);
    disks.set(name, new TestDisk(cas.openVolume(name, { memory: arena.bytes }), arena));
    await write(name, 0, name.length);
  }
  await cas.checkpoint();
  damageTop(disk, cas.state("broken").base.top);
  const before = cas.state("whole").base.top;
  await write("broken", 8, 3);
  for (let block = 1; block < 60; block++) await write("whole", block, block);
  const tailBytes = cas.store.tailBytes;
  for (let time = 0; time < 2; time++) {
    await expect(cas.checkpoint()).rejects.toThrow(/volume 'broken': .*damaged/);
    expect(cas.state("whole").isClean).toBe(true);
  }
  expect(cas.state("whole").base.top).not.toEqual(before);
  expect(cas.store.tailBytes).toBeLessThan(tailBytes / 2);
  // As after a crash: the changes of the broken one are in the image.
  cas = await openCas(disk.reboot({ random: () => 0 }));
  const broken = new TestDisk(cas.openVolume("broken", { memory: arena.bytes }), arena);
  expect((await broken.readBack(8, 1))[0]).toBe(3);
  const read = broken.read(0, 1);
  expect(await finish(broken, [read])).toEqual([BlockStatus.unreadable]);
});

/** Flips a bit of a node, which is stored as it is hashed. */
function damageTop(disk: CrashDisk, top: Uint8Array): void {
  for (const name of disk.files().keys()) {
    const content = Buffer.from(disk.contents(name));
    for (let at = content.indexOf(NODE_MAGIC); at >= 0; at = content.indexOf(NODE_MAGIC, at + 1)) {
      const children = content[at + 18] ?? 0;
      const node = content.subarray(at, at + 40 + children * HASH_BYTES);
      if (Buffer.compare(hashOf(node), top) !== 0) continue;
      disk.flipBit(name, at + 41, 0);
      return;
    }
  }
  throw new Error("the node is not to be found");
}
