import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { CrashDisk, seededRandom } from "../blob/crash-disk.testing.ts";
import { FileStore } from "../blob/file-store.ts";
import { BlockRequest, BlockStatus } from "../storage/block-storage.ts";
import { CasStore } from "./cas-store.ts";
import type { Volume } from "./volume.ts";

const BLOCKS = 24;
const SECTORS_A_BLOCK = 8;
const LIMIT_BYTES = 64 * 1024;
const memory = new FrameArena(64).bytes;

class Request extends BlockRequest {
  readonly #done = Promise.withResolvers<BlockStatus>();

  completed(): void {
    this.#done.resolve(this.status);
  }

  get done(): Promise<BlockStatus> {
    return this.#done.promise;
  }
}

async function openVolume(
  disk: CrashDisk,
  log: (level: string, message: string) => void = () => {},
): Promise<{ cas: CasStore; volume: Volume }> {
  const cas = await CasStore.open({
    log,
    open: (reader) => FileStore.open({ disk, reader, segmentBytes: 512 * 1024 }),
    tailLimitBytes: 300_000,
  });
  const blockBytes = SECTORS_A_BLOCK * 512;
  if (cas.volumes().length === 0) await cas.createVolume("disk", BLOCKS * blockBytes, blockBytes);
  const volume = cas.openVolume("disk", {
    memory,
    durability: "writeback",
    cacheBytes: 4096,
    groupBytes: 16_384,
    writebackLimitBytes: LIMIT_BYTES,
    // Only the limit makes anything durable.
    writebackIntervalMs: 1_000_000,
  });
  return { cas, volume };
}

/** A write of some sectors of a block: all of its words are the number of the write. */
function write(volume: Volume, number: number, random: () => number): Request {
  const request = new Request();
  const within = Math.floor(random() * SECTORS_A_BLOCK);
  const isWhole = random() < 0.3;
  request.lba = Math.floor(random() * BLOCKS) * SECTORS_A_BLOCK + (isWhole ? 0 : within);
  request.lengthSectors = isWhole ? SECTORS_A_BLOCK : Math.min(2, SECTORS_A_BLOCK - within);
  request.memoryOffset = (number % 32) * 8192;
  const words = (request.lengthSectors * 512) / 4;
  new Uint32Array(memory.buffer, request.memoryOffset, words).fill(number);
  volume.write(request);
  return request;
}

/** Which write each sector is of. */
async function contentOf(volume: Volume): Promise<number[]> {
  const content: number[] = [];
  for (let block = 0; block < BLOCKS; block++) {
    const request = new Request();
    request.lba = block * SECTORS_A_BLOCK;
    request.lengthSectors = SECTORS_A_BLOCK;
    request.memoryOffset = 40 * 8192;
    volume.read(request);
    volume.submit();
    expect(await request.done).toBe(BlockStatus.ok);
    for (let sector = 0; sector < SECTORS_A_BLOCK; sector++) {
      const [first] = new Uint32Array(memory.buffer, request.memoryOffset + sector * 512, 1);
      content.push(first);
    }
  }
  return content;
}

function after(writes: readonly Request[], count: number): number[] {
  const content = Array.from({ length: BLOCKS * SECTORS_A_BLOCK }, () => 0);
  writes.slice(0, count).forEach(({ lba, lengthSectors }, index) => {
    content.fill(index + 1, lba, lba + lengthSectors);
  });
  return content;
}

/**
 * Writes without waiting for what is acknowledged at once; at some operations of the disk the machine
 * may stop. What is found then must be what some first part of the writes makes.
 */
async function crashWhileWriting(seed: number, isFaulty: boolean): Promise<number> {
  const random = seededRandom(seed);
  const disk = new CrashDisk();
  const { cas, volume } = await openVolume(disk);
  const points: CrashDisk[] = [];
  disk.options.observe = () => {
    if (random() < 0.1) points.push(disk.reboot({ random }));
  };
  const writes: Request[] = [];
  for (let turn = 0; turn < 40; turn++) {
    const isFailing = isFaulty && turn % 10 === 9;
    if (isFailing) disk.options.fault = (_, kind) => (kind === "write" ? "ENOSPC" : undefined);
    for (let count = Math.floor(random() * 16); count > 0; count--) {
      writes.push(write(volume, writes.length + 1, random));
    }
    volume.submit();
    const unsyncedBytes = volume.statistics.unsyncedSectors * 512;
    expect(unsyncedBytes).toBeLessThanOrEqual(LIMIT_BYTES + SECTORS_A_BLOCK * 512);
    // A group that failed is tried again after a second, and its writes are refused until then.
    if (isFailing) await Promise.all(writes.map(({ done }) => done));
    delete disk.options.fault;
    await nextTurn();
    if (isFailing) break;
  }
  const statuses = await Promise.all(writes.map(({ done }) => done));
  if (!isFaulty) expect(new Set(statuses)).toEqual(new Set([BlockStatus.ok]));
  for (const point of points) {
    const again = await openVolume(point);
    const found = await contentOf(again.volume);
    expect(found).toEqual(after(writes, Math.max(...found)));
    await again.cas.close();
  }
  if (!isFaulty) expect(await contentOf(volume)).toEqual(after(writes, writes.length));
  if (!isFaulty) await cas.close();
  return points.length;
}

test("what survives a crash is a first part of what was acknowledged", async () => {
  let points = 0;
  for (let seed = 1; seed <= 6; seed++) points += await crashWhileWriting(seed, false);
  expect(points).toBeGreaterThan(20);
});

test("also when the disk is full in between", async () => {
  for (let seed = 101; seed <= 104; seed++) await crashWhileWriting(seed, true);
});

async function valueOf(volume: Volume): Promise<number> {
  return (await contentOf(volume))[0];
}

function writeFirst(volume: Volume, value: number): Request {
  const request = new Request();
  request.lengthSectors = SECTORS_A_BLOCK;
  new Uint32Array(memory.buffer, 0, SECTORS_A_BLOCK * 128).fill(value);
  volume.write(request);
  volume.submit();
  return request;
}

/** With a volume that has acknowledged a write for which its disk has no room, in time that stands still. */
async function onFullDisk(
  body: (full: { disk: CrashDisk } & Awaited<ReturnType<typeof openVolume>>) => Promise<void>,
): Promise<void> {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const disk = new CrashDisk();
    const opened = await openVolume(disk);
    disk.options.fault = (_, kind) => (kind === "write" ? "ENOSPC" : undefined);
    expect(await writeFirst(opened.volume, 1).done).toBe(BlockStatus.ok);
    await body({ disk, ...opened });
  } finally {
    vi.useRealTimers();
  }
}

test("a volume that was closed writes nothing when there is room again", async () => {
  await onFullDisk(async ({ disk, cas, volume }) => {
    await expect(volume.close()).rejects.toThrow(
      /^volume disk in .* not stored: no space is left; 4096 bytes that were acknowledged are lost$/,
    );
    delete disk.options.fault;
    const again = cas.openVolume("disk", { memory });
    const newer = writeFirst(again, 2);
    expect(await newer.done).toBe(BlockStatus.ok);
    vi.advanceTimersByTime(10_000);
    await again.drain();
    expect(await valueOf(again)).toBe(2);
    await cas.close();
    const reopened = await openVolume(disk);
    expect(await valueOf(reopened.volume)).toBe(2);
    await reopened.cas.close();
  });
});

test("while what was acknowledged is tried again, nothing more is acknowledged for a full disk", async () => {
  await onFullDisk(async ({ disk, cas, volume }) => {
    await expect(volume.drain()).rejects.toThrow(/no space is left/);
    for (let round = 2; round <= 6; round++) {
      vi.advanceTimersByTime(1000);
      const during = writeFirst(volume, round);
      await expect(volume.writer.hold()).rejects.toMatchObject({ kind: "noSpace" });
      expect(await during.done).toBe(BlockStatus.noSpace);
      expect(volume.statistics.unsyncedSectors).toBe(SECTORS_A_BLOCK);
    }
    delete disk.options.fault;
    vi.advanceTimersByTime(1000);
    const waiting = writeFirst(volume, 7);
    expect(volume.statistics.unsyncedSectors).toBe(SECTORS_A_BLOCK);
    expect(await waiting.done).toBe(BlockStatus.ok);
    expect(volume.statistics.unsyncedSectors).toBe(0);
    const acknowledged = writeFirst(volume, 8);
    expect(volume.statistics.unsyncedSectors).toBe(SECTORS_A_BLOCK);
    expect(await acknowledged.done).toBe(BlockStatus.ok);
    await volume.drain();
    expect(await valueOf(volume)).toBe(8);
    await cas.close();
  });
});

test("a write that arrives while the volume is closed is refused, not lost", async () => {
  const disk = new CrashDisk();
  const { cas, volume } = await openVolume(disk);
  const before = writeFirst(volume, 1);
  const closing = volume.close();
  const during = writeFirst(volume, 2);
  expect([await before.done, await during.done]).toEqual([BlockStatus.ok, BlockStatus.unavailable]);
  await closing;
  await cas.close();
  const reopened = await openVolume(disk);
  expect(await valueOf(reopened.volume)).toBe(1);
  await reopened.cas.close();
});

test("after the disk has lost acknowledged writes, no further one is acknowledged", async () => {
  const disk = new CrashDisk();
  const logged: string[] = [];
  const { cas, volume } = await openVolume(disk, (level, message) => {
    logged.push(`${level}: ${message}`);
  });
  // The first is in the log, not durable, when the sync of the second loses both.
  expect(await writeFirst(volume, 1).done).toBe(BlockStatus.ok);
  while (volume.writer.groups.length > 0) await nextTurn();
  disk.options.losesWrites = (name) => name.startsWith("segment");
  expect(await writeFirst(volume, 2).done).toBe(BlockStatus.ok);
  await expect(volume.drain()).rejects.toThrow(/not stored/);
  const statuses = await Promise.all([3, 4, 5].map((value) => writeFirst(volume, value).done));
  expect(statuses).toEqual([3, 4, 5].map(() => BlockStatus.unavailable));
  expect(logged.join("\n")).toMatch(/error: .*writes could not be stored/);
  await expect(volume.close()).rejects.toThrow(/not stored/);
  await cas.close().catch(() => {});
});
