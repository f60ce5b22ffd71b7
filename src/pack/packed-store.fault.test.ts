import { expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { batchOf, blobOf, RecordedNotes } from "../blob/blob-store.compliance.ts";
import { CrashDisk, type CrashDiskOptions } from "../blob/crash-disk.testing.ts";
import { FileStore } from "../blob/file-store.ts";
import { hashOf } from "../blob/hash.ts";
import { CasStore } from "../cas/cas-store.ts";
import { FaultObjectStore } from "../object/fault-object-store.ts";
import { MemoryBucket, MemoryObjectStore } from "../object/memory-object-store.ts";
import { ObjectFault } from "../object/object-store.ts";
import { BlockRequest, BlockStatus, type Durability } from "../storage/block-storage.ts";
import { copyBucket } from "./crash-check.testing.ts";
import { settle, TestClock } from "./clock.testing.ts";
import { decodePackHeader } from "./pack-format.ts";
import { openSmallStore, SEGMENT_BYTES, type SmallStoreOptions } from "./packed-store.testing.ts";

const SECTOR_BYTES = 512;

class Request extends BlockRequest {
  readonly #done = Promise.withResolvers<BlockStatus>();
  isDone = false;

  completed(): void {
    this.isDone = true;
    this.#done.resolve(this.status);
  }

  get done(): Promise<BlockStatus> {
    return this.#done.promise;
  }
}

const arena = new FrameArena(64);

/** A volume of 16 MiB on a packed store. */
async function openDisk(options: SmallStoreOptions, durability: Durability = "durable") {
  const cas = await CasStore.open({
    open: (reader) => openSmallStore({ ...options, reader }),
    log: () => {},
  });
  if (cas.catalog.volumeNamed("disk") === undefined) {
    await cas.createVolume("disk", 16 * 1024 * 1024);
  }
  const volume = cas.openVolume("disk", { memory: arena.bytes, durability, cacheBytes: 1 });
  const request = (kind: "read" | "write", block: number, fill = 0): Request => {
    const made = new Request();
    made.lba = block * 8;
    made.lengthSectors = 8;
    made.memoryOffset = (block % 64) * 8 * SECTOR_BYTES;
    if (kind === "write") {
      arena.bytes.fill(fill, made.memoryOffset, made.memoryOffset + 8 * SECTOR_BYTES);
    }
    volume[kind](made);
    volume.submit();
    return made;
  };
  return { cas, volume, request };
}

test("a paused writer that wakes after another took over changes and acknowledges nothing", async () => {
  const bucket = new MemoryBucket();
  // Two clocks: that of the paused machine stands still for its timers, and jumps when it wakes.
  const clock = new TestClock();
  const messages: string[] = [];
  const log = (_: string, message: string): void => void messages.push(message);
  for (const durability of ["durable", "writeback", "remote"] as const) {
    const paused = await openDisk(
      { objects: new MemoryObjectStore(bucket), clock, log, takeOver: true },
      durability,
    );
    const before = paused.request("write", 1, 0x11);
    await clock.advance(2000, 100);
    expect(await before.done).toBe(BlockStatus.ok);

    // SIGSTOP: nothing of it runs, while another waits for the lease and takes it.
    const otherClock = new TestClock();
    const taking = openDisk({ objects: new MemoryObjectStore(bucket), clock: otherClock });
    await otherClock.advance(100_000, 500);
    const taker = await taking;
    const write = taker.request("write", 1, 0x22);
    await otherClock.advance(10_000, 500);
    expect(await write.done).toBe(BlockStatus.ok);
    const stored = copyBucket(bucket).objects;

    // SIGCONT: a request that waited in its socket is handled before any timer.
    clock.jump(100_000);
    const late = paused.request("write", 1, 0x33);
    expect(late.isDone).toBe(false);
    expect(await late.done).toBe(BlockStatus.unavailable);
    expect(await paused.request("read", 1).done).toBe(BlockStatus.unavailable);
    await clock.advance(20_000, 500);
    expect(new Map(bucket.objects)).toEqual(stored);
    expect(messages.at(-1)).toMatch(/must stop writing: test has taken it over/);
    expect(paused.cas.store.remote?.fenced).toMatch(/must stop writing/);

    expect(await taker.request("read", 1).done).toBe(BlockStatus.ok);
    expect(arena.bytes[8 * SECTOR_BYTES]).toBe(0x22);
    await paused.cas.close().catch(() => undefined);
    const closing = taker.cas.close();
    await otherClock.advance(10_000, 500);
    await closing;
  }
});

test("a forced takeover fences the owner at its next head or renewal", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const owner = await openDisk({ objects: new MemoryObjectStore(bucket), clock });
  await owner.request("write", 1, 0x11).done;
  await clock.advance(3000, 100);
  const taker = await openDisk({ objects: new MemoryObjectStore(bucket), clock, takeOver: true });
  const late = owner.request("write", 2, 0x22);
  await clock.advance(3000, 100);
  expect(owner.cas.store.remote?.fenced).toMatch(/must stop writing/);
  expect(await owner.request("write", 3, 0x33).done).toBe(BlockStatus.unavailable);
  await late.done;
  expect(await taker.request("read", 2).done).toBe(BlockStatus.ok);
  expect(arena.bytes[2 * 8 * SECTOR_BYTES]).toBe(0);
});

test.each(["durable", "writeback"] as const)(
  "%s: the store is away for a minute, nothing fails, writes wait at the limit, then all is sent",
  async (durability) => {
    const bucket = new MemoryBucket();
    const clock = new TestClock();
    const objects = new FaultObjectStore(new MemoryObjectStore(bucket));
    const disk = await openDisk({ objects, clock, maxDirtyBytes: 256 * 1024 }, durability);
    for (let block = 0; block < 16; block++) await disk.request("write", block, 1 + block).done;
    await disk.volume.drain();
    await clock.advance(5000, 100);
    expect(disk.cas.store.remote?.dirtyBytes).toBe(0);

    objects.decide = () => "unavailable";
    const writes: Request[] = [];
    for (let second = 0; second < 60; second++) {
      for (let count = 0; count < 4; count++) {
        writes.push(disk.request("write", 64 + writes.length, 0x80 + (writes.length % 64)));
        await settle(2);
      }
      // What is here is read as ever.
      expect(await disk.request("read", second % 16).done).toBe(BlockStatus.ok);
      await clock.advance(1000, 250);
    }
    const done = writes.filter(({ isDone }) => isDone).length;
    expect(done).toBeGreaterThan(30);
    // Those in memory have their own limit.
    if (durability === "durable") expect(done).toBeLessThan(writes.length);
    expect(disk.cas.store.remote?.dirtyBytes).toBeGreaterThan(200 * 1024);
    expect(disk.cas.store.remote?.lagMs).toBeGreaterThan(50_000);
    expect(disk.cas.store.remote?.trouble).toMatch(/unavailable/);

    objects.decide = () => undefined;
    await clock.advance(20_000, 250);
    for (const write of writes) expect(await write.done).toBe(BlockStatus.ok);
    await disk.volume.drain();
    await clock.advance(5000, 100);
    expect(disk.cas.store.remote).toMatchObject({ dirtyBytes: 0, lagMs: 0, trouble: null });

    const elsewhere = await openDisk({
      objects: new MemoryObjectStore(copyBucket(bucket)),
      clock,
      takeOver: true,
    });
    for (let block = 0; block < writes.length; block++) {
      expect(await elsewhere.request("read", 64 + block).done).toBe(BlockStatus.ok);
      const at = ((64 + block) % 64) * 8 * SECTOR_BYTES;
      expect(arena.bytes[at]).toBe(0x80 + (block % 64));
    }
  },
);

test("wrong bytes are asked for again, and never handed out", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const first = await openSmallStore({ objects: new MemoryObjectStore(bucket), clock });
  const blobs = Array.from({ length: 100 }, (_, place) => blobOf(`blob ${place} `));
  for (const blob of blobs) await batchOf([blob], ["note"]).appendTo(first);
  const closing = first.close();
  await clock.advance(10_000, 100);
  await closing;

  const objects = new FaultObjectStore(new MemoryObjectStore(bucket));
  const store = await openSmallStore({ objects, clock, diskCacheBytes: 1 });
  let flips = 0;
  objects.decide = ({ operation }) =>
    operation === "get" && flips++ % 2 === 0 ? "flipped" : undefined;
  for (const blob of blobs) expect(await store.get(hashOf(blob))).toEqual(blob);
  objects.decide = ({ operation }) => (operation === "get" ? "flipped" : undefined);
  let failures = 0;
  for (const blob of blobs) {
    const found = await store.get(hashOf(blob)).catch(() => undefined);
    if (found === undefined) failures++;
    else expect(found).toEqual(blob);
  }
  expect(failures).toBeGreaterThan(0);
  objects.decide = () => undefined;
  for (const blob of blobs) expect(await store.get(hashOf(blob))).toEqual(blob);
});

test("readers of a snapshot keep its packs, whatever the writer deletes", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const objects = (): MemoryObjectStore => new MemoryObjectStore(bucket);
  const writer = await openSmallStore({ objects: objects(), clock });
  const blobs = Array.from({ length: 60 }, (_, place) => blobOf(`old ${place} `));
  for (const blob of blobs) await batchOf([blob], ["note"]).appendTo(writer);
  await clock.advance(5000, 100);
  const readers = await Promise.all(
    [1, 2, 3].map(() => openSmallStore({ objects: objects(), clock, readOnly: true })),
  );
  for (const reader of readers) {
    await expect(batchOf([blobOf("x")], []).appendTo(reader)).rejects.toThrow("for reading only");
  }
  // Everything old goes: two checkpoints, so that no notes keep the segments.
  for (let pass = 0; pass < 3; pass++) {
    await writer.checkpoint(() => new Uint8Array(8));
    for (let count = 0; count < 20; count++) {
      await batchOf([blobOf(`new ${pass} ${count} `)], ["note"]).appendTo(writer);
    }
  }
  await clock.advance(5000, 100);
  const before = bucket.objects.size;
  writer.beginMarking(true);
  await writer.sweep({ liveThreshold: 1, pace: () => Promise.resolve() });
  writer.endMarking();
  await batchOf([], ["after"]).appendTo(writer);
  await clock.advance(60_000, 500);
  for (const reader of readers) {
    for (const blob of blobs) expect(await reader.get(hashOf(blob))).toEqual(blob);
  }
  for (const reader of readers) await reader.close();
  await batchOf([], ["later"]).appendTo(writer);
  await clock.advance(60_000, 500);
  expect(bucket.objects.size).toBeLessThan(before);
});

test("a folder with writes that nobody else has is never given up silently", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const disk = new CrashDisk();
  const objects = new FaultObjectStore(new MemoryObjectStore(bucket));
  const here = await openSmallStore({ objects, clock, disk });
  await batchOf([blobOf("sent")], ["note"]).appendTo(here);
  await clock.advance(5000, 100);
  objects.decide = () => new Promise<never>(() => {});
  await batchOf([blobOf("not sent")], ["note"]).appendTo(here);
  disk.crashNow();
  const left = disk.reboot({ random: () => 0.5 });

  const there = await openSmallStore({
    objects: new MemoryObjectStore(bucket),
    clock,
    takeOver: true,
  });
  await batchOf([blobOf("elsewhere")], ["note"]).appendTo(there);
  const closing = there.close();
  await clock.advance(5000, 100);
  await closing;
  const again = openSmallStore({ objects: new MemoryObjectStore(bucket), clock, disk: left });
  await expect(again).rejects.toThrow(/test has written to .* since .* move .* away/);
});

test("a local store becomes one in an object store, with all that it had", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const disk = new CrashDisk();
  const local = await FileStore.open({
    disk,
    reader: new RecordedNotes(),
    segmentBytes: SEGMENT_BYTES,
  });
  const blobs = Array.from({ length: 100 }, (_, place) => blobOf(`blob ${place} `));
  for (const [place, blob] of blobs.entries()) {
    await batchOf([blob], [`note ${place}`]).appendTo(local);
    if (place % 30 === 29) await local.checkpoint(() => new Uint8Array(Buffer.from(`to ${place}`)));
  }
  await local.close();
  const options = { objects: new MemoryObjectStore(bucket), clock, disk };
  const front = await openSmallStore(options);
  const closing = front.close();
  await clock.advance(10_000, 100);
  await closing;
  const notes = new RecordedNotes();
  const elsewhere = await openSmallStore({
    objects: new MemoryObjectStore(bucket),
    clock,
    reader: notes,
  });
  expect(notes.imageText).toBe("to 89");
  expect(notes.notes).toHaveLength(10);
  for (const blob of blobs) expect(await elsewhere.get(hashOf(blob))).toEqual(blob);
});

/** Holds up the packs that are put together from all parts of a segment. */
class MergeHolder extends MemoryObjectStore {
  readonly gate = Promise.withResolvers<void>();
  merges = 0;

  override async putIfAbsent(key: string, data: Uint8Array): Promise<string> {
    const header = decodePackHeader(data);
    if (header?.start === 0 && header.end > SEGMENT_BYTES / 2) {
      this.merges++;
      await this.gate.promise;
      throw new ObjectFault("unavailable", "the answer is lost");
    }
    return super.putIfAbsent(key, data);
  }
}

test("merging ends when another has taken over meanwhile", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const objects = new MergeHolder(bucket);
  const disk = await openDisk({ objects, clock, uploadIntervalMs: 1, packBytes: 1 });
  for (let block = 0; objects.merges === 0 && block < 64; block++) {
    await disk.request("write", block, 1 + block).done;
    await clock.advance(100, 50);
  }
  expect(objects.merges).toBe(1);
  await openSmallStore({ objects: new MemoryObjectStore(bucket), clock, takeOver: true });
  await clock.advance(30_000, 500);
  expect(disk.cas.store.remote?.fenced).toMatch(/must stop writing/);
  objects.gate.resolve();
  // A merge that began again and again would let nothing else happen.
  await clock.advance(30_000, 500);
  expect(objects.merges).toBe(1);
});

async function endsWithin(
  clock: TestClock,
  durationMs: number,
  work: Promise<void>,
): Promise<boolean> {
  const ended = { is: false };
  const end = (): void => {
    ended.is = true;
  };
  work.then(end, end);
  for (let ms = 0; !ended.is && ms < durationMs; ms += 500) await clock.advance(500);
  return ended.is;
}

test.each(["durable", "remote"] as const)(
  "%s: a stop while the store is away ends, and what waits is refused",
  async (durability) => {
    const bucket = new MemoryBucket();
    const clock = new TestClock();
    const objects = new FaultObjectStore(new MemoryObjectStore(bucket));
    const disk = await openDisk({ objects, clock, maxDirtyBytes: 64 * 1024 }, durability);
    const before = disk.request("write", 0, 1);
    await clock.advance(3000, 100);
    expect(await before.done).toBe(BlockStatus.ok);

    objects.decide = () => "unavailable";
    const writes: Request[] = [];
    for (let count = 0; count < 32; count++) {
      writes.push(disk.request("write", 1 + count, 2 + count));
      await settle(2);
    }
    // Longer than the lease: it is not certain any more.
    if (durability === "remote") await clock.advance(100_000, 1000);
    expect(writes.at(-1)?.isDone).toBe(false);
    disk.cas.beginClosing();
    await clock.advance(29_000, 500);
    expect(writes.at(-1)?.isDone).toBe(false);
    await clock.advance(2000, 500);
    expect(await writes.at(-1)?.done).toBe(BlockStatus.unavailable);
    expect(await endsWithin(clock, 50_000, disk.cas.close())).toBe(true);
  },
);

test("a packed store with appends that wait closes within its time", async () => {
  const clock = new TestClock();
  const objects = new FaultObjectStore(new MemoryObjectStore(new MemoryBucket()));
  const store = await openSmallStore({ objects, clock, maxDirtyBytes: 1, closeTimeoutMs: 10_000 });
  objects.decide = () => "unavailable";
  await batchOf([blobOf("fits")], ["note"]).appendTo(store);
  const waiting = batchOf([blobOf("waits")], ["note"]).appendTo(store);
  const refused = expect(waiting).rejects.toThrow("is away, and the store stops");
  const closing = store.close();
  expect(await endsWithin(clock, 20_000, closing)).toBe(true);
  await refused;
  await closing;
});

test("a frame that was given up does not count as the one that took its number", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const faults: CrashDiskOptions = {};
  const disk = new CrashDisk(faults);
  const objects = new FaultObjectStore(new MemoryObjectStore(bucket), () => undefined);
  const store = await openSmallStore({ objects, clock, disk });
  objects.decide = () => new Promise<never>(() => {});
  const notes: string[] = [];
  const append = async (note: string, lengthBytes: number): Promise<void> => {
    await batchOf([blobOf(note, lengthBytes)], [note]).appendTo(store);
    notes.push(note);
  };
  while (store.statistics.appendedBytes < 50_000) await append(`before ${notes.length}`, 1900);
  faults.fault = (_operation, kind) => (kind === "sync" ? "EIO" : undefined);
  await expect(append("failed", 300)).rejects.toThrow("EIO");
  delete faults.fault;
  // Too long for the segment: the next one begins with it.
  await append("after", 16_000);
  disk.crashNow();
  const left = disk.reboot({ random: () => 0, lastWriteSectors: Infinity });
  // Without its footer the segment seems to end with the frame that was given up.
  const segment = await left.open("segment-00000001");
  await segment.writeDurably(new Uint8Array(SECTOR_BYTES), SEGMENT_BYTES - SECTOR_BYTES);

  const headStored = Promise.withResolvers<undefined>();
  let packs = 0;
  const watched = new FaultObjectStore(new MemoryObjectStore(bucket), ({ operation, key }) => {
    if (operation === "get" || operation === "list") return undefined;
    if (key === "head") headStored.resolve(undefined);
    return key.startsWith("packs/") && ++packs === 2 ? headStored.promise : undefined;
  });
  const again = await openSmallStore({ objects: watched, clock, disk: left });
  await clock.advance(20_000, 250);
  const closing = again.close();
  await clock.advance(20_000, 250);
  await closing;
  const found = new RecordedNotes();
  await openSmallStore({ objects: new MemoryObjectStore(bucket), clock, reader: found });
  expect(packs).toBeGreaterThan(1);
  expect(found.notes).toEqual(notes);
});
