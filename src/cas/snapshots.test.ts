import { expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { CrashDisk } from "../blob/crash-disk.testing.ts";
import { FileStore } from "../blob/file-store.ts";
import { BlockStatus } from "../storage/block-storage.ts";
import { finish, TestDisk, type TestRequest } from "../storage/block-storage.testing.ts";
import { AutoCollector } from "./auto-collector.ts";
import { CasStore } from "./cas-store.ts";
import { GarbageCollector } from "./garbage-collector.ts";
import { SnapshotTimer } from "./snapshot-timer.ts";
import { Snapshots } from "./snapshots.ts";
import { SpaceAccounting } from "./space.ts";
import type { Volume } from "./volume.ts";

const MIB = 1024 * 1024;

class Fixture {
  readonly disk: CrashDisk;
  readonly arena = new FrameArena(512);
  cas!: CasStore;
  snapshots!: Snapshots;

  constructor(disk = new CrashDisk()) {
    this.disk = disk;
  }

  async open(): Promise<this> {
    this.cas = await CasStore.open({
      open: (reader) => FileStore.open({ disk: this.disk, reader, segmentBytes: MIB }),
    });
    this.snapshots = new Snapshots(this.cas);
    return this;
  }

  attach(name: string): TestDisk {
    return new TestDisk(this.cas.openVolume(name, { memory: this.arena.bytes }), this.arena);
  }

  /** The values that fill these blocks of a volume or snapshot. */
  async values(disk: TestDisk, blocks: number[]): Promise<number[]> {
    disk.reuseMemory();
    const values: number[] = [];
    for (const block of blocks) values.push((await disk.readBack(block * 8, 8))[4000]);
    return values;
  }

  async snapshotValues(id: string, blocks: number[]): Promise<number[]> {
    const record = this.snapshots.get(id);
    const volume = await this.cas.openSnapshot(record, { memory: this.arena.bytes });
    const values = await this.values(new TestDisk(volume, this.arena), blocks);
    expect(volume.info()).toMatchObject({ readOnly: true, canTrim: false });
    await volume.close();
    return values;
  }
}

async function fill(disk: TestDisk, blocks: number[], value: number): Promise<void> {
  disk.reuseMemory();
  const statuses = await finish(
    disk,
    blocks.map((block) => disk.write(block * 8, 8, value)),
  );
  expect(new Set(statuses)).toEqual(new Set([BlockStatus.ok]));
}

/** Writes content that no other block has. */
async function fillUnique(
  disk: TestDisk,
  first: number,
  count: number,
  salt: number,
): Promise<void> {
  for (let block = first; block < first + count; block++) {
    disk.reuseMemory();
    const write = disk.write(block * 8, 8, 0);
    disk.data(write).set(Buffer.from(`${salt}/${block}`));
    await finish(disk, [write]);
  }
}

test("a snapshot keeps what was there, a rollback brings it back and keeps the rest", async () => {
  const fixture = await new Fixture().open();
  const { cas, snapshots } = fixture;
  await cas.createVolume("disk", 64 * MIB);
  const disk = fixture.attach("disk");
  await fill(disk, [0, 1, 200, 16000], 1);
  const first = await snapshots.create("disk", { description: "before" });
  await fill(disk, [1, 200], 2);
  await finish(disk, [disk.trim(16000 * 8, 8)]);
  const second = await snapshots.create("disk");
  await fill(disk, [0], 3);
  expect(await fixture.snapshotValues(first.id, [0, 1, 200, 16000, 5])).toEqual([1, 1, 1, 1, 0]);
  const { safety } = await snapshots.rollback("disk", first.id);
  expect(await fixture.values(disk, [0, 1, 200, 16000, 5])).toEqual([1, 1, 1, 1, 0]);
  expect(await fixture.snapshotValues(safety.id, [0, 1, 200, 16000])).toEqual([3, 2, 2, 0]);
  expect(snapshots.list("disk").map(({ id }) => id)).toEqual([first.id, second.id, safety.id]);
  expect(safety).toMatchObject({ trigger: "rollback", parent: second.id });
  // What is taken next descends from what was rolled back to; the same content has the same root.
  const third = await snapshots.create("disk");
  expect(third).toMatchObject({ parent: first.id, root_hash: first.root_hash });
  expect(first).toMatchObject({
    description: "before",
    volume: "disk",
    size: 64 * MIB,
    parent: null,
  });
  await cas.close();

  await fixture.open();
  expect(fixture.snapshots.list()).toEqual([first, second, safety, third]);
  expect(await fixture.snapshotValues(second.id, [0, 1, 200, 16000])).toEqual([1, 2, 2, 0]);
  await fixture.cas.close();
});

test("writes that arrive during a snapshot or a rollback wait or go on, and are not lost", async () => {
  const fixture = await new Fixture().open();
  await fixture.cas.createVolume("disk", 64 * MIB);
  const disk = fixture.attach("disk");
  await fillUnique(disk, 0, 300, 1);
  const base = await fixture.snapshots.create("disk");
  await fill(disk, [7], 9);
  const taking = fixture.snapshots.create("disk");
  const during = [disk.write(8 * 8, 8, 1), disk.write(3, 1, 2)];
  expect(await finish(disk, during)).toEqual([0, 0]);
  await taking;
  const rolling = fixture.snapshots.rollback("disk", base.id);
  const after = [disk.write(100 * 8, 8, 5), disk.write(101 * 8 + 1, 1, 6)];
  expect(await finish(disk, after)).toEqual([0, 0]);
  await rolling;
  const block = await disk.readBack(101 * 8, 8);
  // Either it was written before the rollback and is gone, or to what the rollback brought.
  expect([0, 6]).toContain(block[512]);
  expect(Buffer.from(block.subarray(0, 5)).toString()).toBe("1/101");
  await fixture.cas.close();
});

test("a clone is a volume of its own, and costs nothing", async () => {
  const fixture = await new Fixture().open();
  const { cas, snapshots } = fixture;
  await cas.createVolume("disk", 64 * MIB);
  const disk = fixture.attach("disk");
  await fillUnique(disk, 0, 100, 1);
  const { id } = await snapshots.create("disk");
  const { blobBytes } = cas.store.statistics;
  await snapshots.clone(id, "copy");
  expect(cas.store.statistics.blobBytes).toBe(blobBytes);
  const copy = fixture.attach("copy");
  await fill(copy, [3], 4);
  await fill(disk, [5], 6);
  expect(await fixture.values(copy, [3, 5])).toEqual([4, 0]);
  expect(await fixture.values(disk, [3, 5])).toEqual([0, 6]);
  await expect(snapshots.clone(id, "copy")).rejects.toThrow(/already/);
  expect(cas.volumes()[1]).toMatchObject({ name: "copy", origin: id, isOpen: true });
  await cas.close();
});

test("a snapshot is named by its id or the beginning of its root hash", async () => {
  const { cas, snapshots } = await new Fixture().open();
  await cas.createVolume("disk", MIB);
  const record = await snapshots.create("disk");
  expect(snapshots.get("1")).toEqual(record);
  expect(snapshots.get(record.root_hash.slice(0, 12))).toEqual(record);
  expect(() => snapshots.get(record.root_hash.slice(0, 4))).toThrow(/no snapshot/);
  expect(() => snapshots.get("2")).toThrow(/no snapshot '2'/);
  await expect(snapshots.create("other")).rejects.toThrow(/no volume 'other'.*it has 'disk'/);
  await cas.close();
});

test("a diff lists the sectors that changed, joined, and to the end of the disk", async () => {
  const fixture = await new Fixture().open();
  await fixture.cas.createVolume("disk", 16 * MIB + 512);
  const disk = fixture.attach("disk");
  await fill(disk, [1, 2, 3], 1);
  const first = await fixture.snapshots.create("disk");
  await fill(disk, [2, 3, 4, 2000], 2);
  await finish(disk, [disk.write(16 * 2048, 1, 3)]);
  const second = await fixture.snapshots.create("disk");
  const expected = [
    { lba: 16, lengthSectors: 24 },
    { lba: 16000, lengthSectors: 8 },
    { lba: 32768, lengthSectors: 1 },
  ];
  expect(await fixture.snapshots.diff(first.id, second.id)).toEqual(expected);
  expect(await fixture.snapshots.diff(second.id, first.id)).toEqual(expected);
  await fill(disk, [9], 2);
  expect(await fixture.snapshots.diff(second.id)).toEqual([{ lba: 72, lengthSectors: 8 }]);
  await fixture.cas.close();
});

test("says what each snapshot holds alone, and a collection gives exactly that back", async () => {
  const fixture = await new Fixture().open();
  const { cas, snapshots } = fixture;
  await cas.createVolume("disk", 64 * MIB);
  const disk = fixture.attach("disk");
  await fillUnique(disk, 0, 1500, 1);
  const first = await snapshots.create("disk");
  await fillUnique(disk, 0, 700, 2);
  const second = await snapshots.create("disk");
  await fillUnique(disk, 0, 600, 3);
  const accounting = await new SpaceAccounting(cas).measure();
  const of = (id: string | null): number =>
    accounting.uses.find(({ snapshot }) => snapshot === id)?.uniqueBytes ?? -1;
  expect(of(first.id)).toBe(700 * 4096);
  expect(of(second.id)).toBe(600 * 4096);
  expect(of(null)).toBe(600 * 4096);
  expect(accounting.garbageBytes).toBeLessThan(64 * 1024);
  const freed = accounting.uses.find(({ snapshot }) => snapshot === first.id)?.freedIfDeletedBytes;
  const before = accounting.garbageBytes;
  await snapshots.delete(first.id);
  expect((await new SpaceAccounting(cas).measure()).garbageBytes - before).toBe(freed);

  const blobsBefore = cas.store.statistics.blobs;
  const phases = new Set<string>();
  const report = await new GarbageCollector(cas).collect({
    liveThreshold: 1,
    onProgress: ({ phase }) => phases.add(phase),
  });
  expect([...phases]).toEqual(["mark", "sweep"]);
  expect(report.segmentsFreed).toBeGreaterThan(2);
  expect(blobsBefore - cas.store.statistics.blobs).toBeGreaterThan(650);
  expect((await disk.readBack(0, 8)).subarray(0, 3)).toEqual(new Uint8Array(Buffer.from("3/0")));
  expect((await disk.readBack(650 * 8, 8)).subarray(0, 5)).toEqual(
    new Uint8Array(Buffer.from("2/650")),
  );
  expect((await disk.readBack(1000 * 8, 8)).subarray(0, 6)).toEqual(
    new Uint8Array(Buffer.from("1/1000")),
  );
  await cas.close();
});

test("garbage is collected by itself when enough was written or a snapshot is gone", async () => {
  const fixture = await new Fixture().open();
  const { cas, snapshots } = fixture;
  await cas.createVolume("disk", 64 * MIB);
  const disk = fixture.attach("disk");
  const collector = new AutoCollector(cas, { checkEveryMs: 5, minBytes: 3 * MIB, minShare: 0.25 });
  expect(collector.isDue()).toBe(false);
  await fillUnique(disk, 0, 1200, 1);
  expect(collector.isDue()).toBe(true);
  await snapshots.create("disk");
  await finish(disk, [disk.trim(0, 64 * 2048)]);
  collector.start();
  await expect.poll(() => collector.isDue()).toBe(false);
  const { blobs } = cas.store.statistics;
  expect(blobs).toBeGreaterThan(1200);
  await snapshots.delete("1");
  await expect.poll(() => cas.store.statistics.blobs, { timeout: 60_000 }).toBeLessThan(blobs / 2);
  await collector.stop();
  await cas.close();
});

test("a rollback undoes every write that was acknowledged before it", async () => {
  const fixture = await new Fixture().open();
  const { cas, snapshots } = fixture;
  await cas.createVolume("disk", MIB);
  const memory = fixture.arena.bytes;
  const volume = cas.openVolume("disk", { memory, durability: "writeback" });
  const disk = new TestDisk(volume, fixture.arena);
  await fill(disk, [0, 10], 1);
  const { id } = await snapshots.create("disk");
  // The first write is on its way to the disk, the second one waits in a group behind it.
  const first = [disk.write(0, 8, 2), disk.flush()];
  disk.submit();
  const second = disk.write(80, 8, 2);
  disk.submit();
  expect([first[0]?.completions, first[1]?.completions, second.completions]).toEqual([1, 0, 1]);
  const { safety } = await snapshots.rollback("disk", id);
  await volume.drain();
  expect(await fixture.values(disk, [0, 10])).toEqual([1, 1]);
  expect(await fixture.snapshotValues(safety.id, [0, 10])).toEqual([2, 2]);
  await cas.close();
});

test("writes beyond the end of what a rollback brings back fail, and nothing else does", async () => {
  const fixture = await new Fixture().open();
  const { cas, snapshots } = fixture;
  const sizeBytes = 999 * 4096 + 1024;
  await cas.createVolume("disk", sizeBytes);
  const disk = fixture.attach("disk");
  await fill(disk, [0, 1], 1);
  const { id } = await snapshots.create("disk");
  await cas.resizeVolume("disk", 40_000 * 4096);
  await fill(disk, [39_000], 3);
  // Handed over while the rollback holds writes back.
  const { writer } = disk.storage as Volume;
  const hold = writer.hold.bind(writer);
  let requests: TestRequest[] = [];
  writer.hold = async () => {
    await hold();
    disk.reuseMemory();
    requests = [
      disk.write(8, 8, 4),
      disk.write(39_000 * 8, 8, 4),
      disk.write(999 * 8, 8, 4),
      disk.trim(900 * 8, 5000 * 8),
      disk.trim(30_000 * 8, 80),
      disk.trim(0, 8),
      disk.write(998 * 8, 8, 4),
    ];
    disk.submit();
  };
  await snapshots.rollback("disk", id);
  const { ok, writeFault: fault } = BlockStatus;
  expect(await finish(disk, requests)).toEqual([ok, fault, fault, fault, fault, ok, ok]);
  const record = await snapshots.create("disk");
  expect(record.size).toBe(sizeBytes);
  expect(await fixture.snapshotValues(record.id, [0, 1, 997, 998])).toEqual([0, 4, 0, 4]);
  await cas.resizeVolume("disk", 40_000 * 4096);
  expect(await fixture.values(disk, [1, 998, 999, 39_000])).toEqual([4, 4, 0, 0]);
  await cas.close();
  await fixture.open();
  await fixture.cas.checkpoint();
  expect(await fixture.values(fixture.attach("disk"), [1, 999, 39_000])).toEqual([4, 0, 0]);
  await fixture.cas.close();
});

test("a clone survives the collection that its snapshot did not", async () => {
  const fixture = await new Fixture().open();
  const { cas, snapshots } = fixture;
  await cas.createVolume("disk", 64 * MIB);
  const disk = fixture.attach("disk");
  await fillUnique(disk, 0, 600, 1);
  const { id } = await snapshots.create("disk");
  await finish(disk, [disk.trim(0, 64 * 2048)]);
  const collecting = new GarbageCollector(cas).collect({ liveThreshold: 1 });
  await snapshots.clone(id, "copy");
  await snapshots.delete(id);
  await collecting;
  await new GarbageCollector(cas).collect({ liveThreshold: 1 });
  const copy = fixture.attach("copy");
  const found = await copy.readBack(599 * 8, 8);
  expect(Buffer.from(found.subarray(0, 5)).toString()).toBe("1/599");
  await cas.close();
});

test("a collection deletes nothing when something cannot be read", async () => {
  const fixture = await new Fixture().open();
  await fixture.cas.createVolume("disk", 64 * MIB);
  const disk = fixture.attach("disk");
  await fillUnique(disk, 0, 500, 1);
  await fixture.snapshots.create("disk");
  await fillUnique(disk, 0, 500, 2);
  await fixture.cas.close();
  for (const name of fixture.disk.files().keys()) {
    const bytes = Buffer.from(fixture.disk.contents(name));
    const at = bytes.indexOf("aoed merkle node");
    if (at >= 0) fixture.disk.flipBit(name, at + 60, 1);
  }
  await fixture.open();
  const { blobs } = fixture.cas.store.statistics;
  await expect(new GarbageCollector(fixture.cas).collect()).rejects.toMatchObject({
    kind: "damaged",
  });
  expect(fixture.cas.store.statistics.blobs).toBeGreaterThanOrEqual(blobs);
  await fixture.cas.close();
});

test("the timer takes snapshots, keeps so many of its own, and waits for its time", async () => {
  const fixture = await new Fixture().open();
  const { cas, snapshots } = fixture;
  await cas.createVolume("disk", MIB);
  const manual = await snapshots.create("disk");
  const errors: string[] = [];
  const log = (_level: string, message: string): void => void errors.push(message);
  const timer = new SnapshotTimer(snapshots, { volume: "disk", everyMs: 20, keep: 3, log });
  timer.start();
  await expect
    .poll(() => Number(snapshots.list().at(-1)?.id), { timeout: 60_000 })
    .toBeGreaterThan(6);
  await timer.stop();
  const kept = snapshots.list();
  expect(kept).toHaveLength(4);
  expect(kept[0]).toEqual(manual);
  expect(kept.slice(1).every(({ trigger }) => trigger === "timer")).toBe(true);
  const patient = new SnapshotTimer(snapshots, {
    volume: "disk",
    everyMs: 3_600_000,
    keep: 3,
    log,
  });
  patient.start();
  const failing = new SnapshotTimer(snapshots, {
    volume: "gone",
    everyMs: 3_600_000,
    keep: 1,
    log,
  });
  failing.start();
  await expect.poll(() => errors.length).toBe(1);
  expect(errors[0]).toMatch(/volume gone: no snapshot was taken/);
  expect(snapshots.list()).toEqual(kept);
  await patient.stop();
  await failing.stop();
  await cas.close();
});
