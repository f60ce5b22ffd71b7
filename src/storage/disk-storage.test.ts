import { readdirSync, readFileSync, truncateSync } from "node:fs";
import { open } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { callLibc, LibcType } from "../system/libc.ts";
import { BlockStatus, SECTOR_BYTES } from "./block-storage.ts";
import { finish, folderOnDisk, testArena, TestDisk, TestMedia } from "./block-storage.testing.ts";
import type { DiskStorage } from "./disk-storage.ts";
import { type FileStorageOptions, openFileStorage } from "./file-storage.ts";

const SIZE_BYTES = 8 * 1024 * 1024;
const POSIX_FADV_DONTNEED = 4;

const arena = testArena();
const media = new TestMedia();
const onDisk = folderOnDisk();
let path: string;
let storage: DiskStorage;
let disk: TestDisk;

beforeEach(() => {
  path = `${media.folder(onDisk)}/disk.img`;
});

afterEach(async () => {
  await storage.close();
  media.dispose();
});

async function openDisk(options: Partial<FileStorageOptions> = {}): Promise<void> {
  storage = await openFileStorage({ path, sizeBytes: SIZE_BYTES, ...options }, arena);
  disk = new TestDisk(storage, arena);
}

/** Writes the whole file and drops it from the page cache. */
async function fillAndForget(): Promise<void> {
  const file = await open(path, "w");
  const content = Buffer.alloc(SIZE_BYTES);
  for (let sector = 0; sector < SIZE_BYTES / SECTOR_BYTES; sector++) {
    content.fill(sector & 0xff, sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
  }
  await file.writeFile(content);
  await file.sync();
  callLibc(
    "posix_fadvise",
    [LibcType.int, file.fd],
    [LibcType.long, 0],
    [LibcType.long, 0],
    [LibcType.int, POSIX_FADV_DONTNEED],
  );
  await file.close();
}

function threadCount(): number {
  return readdirSync("/proc/self/task").length;
}

describe.skipIf(onDisk === undefined)("reads", () => {
  test("complete during submit when the page cache has the data", async () => {
    await openDisk();
    await disk.readBack(0, 64);
    const before = storage.statistics.inline;
    const reads = [disk.read(0, 8), disk.read(8, 8), disk.read(16, 8), disk.read(40, 8)];
    disk.submit();
    expect(reads.map((read) => read.completions)).toEqual([1, 1, 1, 1]);
    expect(storage.statistics.inline - before).toBe(4);
    expect(storage.statistics.merged).toBe(2);
  });

  test("go to other threads when the disk must be asked", async () => {
    await fillAndForget();
    await openDisk();
    const read = disk.read(1003, 5);
    disk.submit();
    expect(read.completions).toBe(0);
    expect(storage.statistics.queued).toBe(1);
    await read.done();
    expect(disk.data(read)[0]).toBe(1003 & 0xff);
    expect(disk.data(read)[4 * SECTOR_BYTES]).toBe(1007 & 0xff);
  });

  test("of the same sectors in flight share one disk request", async () => {
    await fillAndForget();
    await openDisk({ direct: true });
    const reads = [disk.read(2000, 8), disk.read(2000, 8)];
    disk.submit();
    reads.push(disk.read(2000, 8), disk.read(2000, 16));
    await finish(disk, reads);
    expect(storage.statistics.coalesced).toBe(2);
    for (const read of reads) expect(disk.data(read)[0]).toBe(2000 & 0xff);
  });

  test("need no thread where there is io_uring, and more than fit into it are done as well", async (context) => {
    await fillAndForget();
    await openDisk({ direct: true });
    if (!storage.usesRing) context.skip("io_uring is not to be had here");
    const idle = threadCount();
    const few = Array.from({ length: 64 }, (_, index) => disk.read(index * 100, 8));
    disk.submit();
    expect(threadCount()).toBe(idle);
    await finish(disk, few);
    const many = Array.from({ length: 700 }, (_, index) => disk.read(index * 20, 8));
    await finish(disk, many);
    for (const [index, read] of many.entries()) {
      expect(disk.data(read)[0]).toBe((index * 20) & 0xff);
    }
  });

  test("without io_uring have many at the disk at once, by threads", async () => {
    await fillAndForget();
    await openDisk({ direct: true, useRing: false });
    const idle = threadCount();
    const reads = Array.from({ length: 64 }, (_, index) => disk.read(index * 100, 8));
    disk.submit();
    expect(threadCount() - idle).toBe(15);
    await finish(disk, reads);
    await storage.close();
    await expect.poll(threadCount).toBe(idle - 1);
  });
});

describe("durable writes", () => {
  test("that wait together share an fdatasync", async () => {
    await openDisk();
    const first = Array.from({ length: 10 }, (_, index) => disk.write(index * 20, 8, 1));
    disk.submit();
    const second = Array.from({ length: 40 }, (_, index) => disk.write(index * 20, 8, 2));
    disk.submit();
    await finish(disk, [...first, ...second]);
    expect(storage.statistics.syncs).toBe(2);
  });

  test("form groups of dozens when 64 are kept in flight", async () => {
    await openDisk();
    const total = 1280;
    // How many come while a disk is busy depends on the disk and on who else has the processor.
    let groups = total;
    for (let round = 0; round < 20 && total / groups <= 16; round++) {
      disk.reuseMemory();
      const before = storage.statistics.syncs;
      await keepInFlight(64, total);
      groups = storage.statistics.syncs - before;
    }
    expect(total / groups).toBeGreaterThan(16);
  });

  /** A reply is followed by the next write a moment later, as over a network. */
  async function keepInFlight(window: number, total: number): Promise<void> {
    let handed = 0;
    let completed = 0;
    await new Promise<void>((resolve) => {
      const next = (): void => {
        if (handed === total) return;
        handed++;
        const write = disk.write((handed * 37) % 8000, 8, handed & 0xff);
        write.onCompleted = () => {
          completed++;
          if (completed === total) resolve();
          else setImmediate(next);
        };
        disk.submit();
      };
      for (let index = 0; index < window; index++) next();
    });
  }

  test("cost one fdatasync each when they come one by one, and a flush costs none", async () => {
    await openDisk();
    for (let index = 0; index < 5; index++) await finish(disk, [disk.write(index, 1, 1)]);
    expect(storage.statistics.syncs).toBe(5);
    await finish(disk, [disk.flush(), disk.flush()]);
    expect(storage.statistics.syncs).toBe(5);
  });

  test("to neighbouring sectors become one disk request", async () => {
    await openDisk();
    const writes = Array.from({ length: 16 }, (_, index) => disk.write(64 + index * 2, 2, index));
    await finish(disk, writes);
    expect(storage.statistics.merged).toBe(15);
    const data = await disk.readBack(64, 32);
    expect(data[31 * SECTOR_BYTES]).toBe(15);
  });

  test("make what an earlier process left in the page cache durable at the first flush", async () => {
    await openDisk();
    await finish(disk, [disk.flush()]);
    expect(storage.statistics.syncs).toBe(1);
  });
});

describe("writeback", () => {
  test("completes writes before they are durable and says what a crash would lose", async () => {
    await openDisk({ durability: "writeback", writebackIntervalMs: 60_000 });
    await finish(disk, [disk.write(0, 8, 1), disk.write(800, 16, 2)]);
    expect(storage.statistics.syncs).toBe(0);
    expect(storage.statistics.unsyncedSectors).toBe(24);
    await finish(disk, [disk.flush()]);
    expect(storage.statistics.unsyncedSectors).toBe(0);
    expect(storage.statistics.syncs).toBe(1);
    await finish(disk, [disk.flush()]);
    expect(storage.statistics.syncs).toBe(1);
  });

  test("syncs by itself after the interval", async () => {
    await openDisk({ durability: "writeback", writebackIntervalMs: 20 });
    await finish(disk, [disk.write(0, 8, 1)]);
    await expect.poll(() => storage.statistics.unsyncedSectors).toBe(0);
    expect(storage.statistics.syncs).toBeGreaterThan(0);
  });

  test("syncs early when 64 MiB wait", async () => {
    const sizeBytes = 128 * 1024 * 1024;
    await openDisk({ durability: "writeback", writebackIntervalMs: 60_000, sizeBytes });
    for (let lba = 0; lba < sizeBytes / SECTOR_BYTES - 8192; lba += 8192) {
      disk.reuseMemory();
      await finish(disk, [disk.write(lba, 8192, 1)]);
    }
    await expect.poll(() => storage.statistics.syncs).toBeGreaterThan(0);
  });

  test.skipIf(onDisk === undefined)(
    "does not wait for the disk on the event loop, and merges parts of a page",
    async () => {
      await fillAndForget();
      await openDisk({ durability: "writeback" });
      await finish(disk, [disk.write(801, 1, 9)]);
      await finish(disk, [disk.write(802, 1, 9)]);
      expect(storage.statistics.inline).toBe(0);
      const data = await disk.readBack(800, 4);
      expect([0, 1, 2, 3].map((sector) => data[sector * SECTOR_BYTES])).toEqual([
        800 & 0xff,
        9,
        9,
        803 & 0xff,
      ]);
    },
  );

  test("is durable after close", async () => {
    await openDisk({ durability: "writeback", writebackIntervalMs: 60_000 });
    await finish(disk, [disk.write(3, 1, 0x5a)]);
    await storage.close();
    expect(storage.statistics.unsyncedSectors).toBe(0);
    expect(readFileSync(path)[3 * SECTOR_BYTES]).toBe(0x5a);
  });
});

describe("a file that changes its size while it is served", () => {
  test("is noticed when it grows", async () => {
    await openDisk();
    let calls = 0;
    storage.onResize = () => calls++;
    const before = storage.info();
    truncateSync(path, SIZE_BYTES * 2);
    await storage.checkSize();
    expect(calls).toBe(1);
    expect(storage.info()).not.toBe(before);
    expect(storage.info().sectors).toBe(before.sectors * 2);
    await finish(disk, [disk.write(before.sectors, 8, 1)]);
    expect((await disk.readBack(before.sectors, 8))[0]).toBe(1);
    await storage.checkSize();
    expect(calls).toBe(1);
  });

  test("is noticed without being asked", async () => {
    await openDisk();
    const resized = new Promise<void>((resolve) => {
      storage.onResize = resolve;
    });
    truncateSync(path, SIZE_BYTES * 2);
    await resized;
    expect(storage.info().sectors).toBe((SIZE_BYTES * 2) / SECTOR_BYTES);
  });

  test("keeps the length that was asked for", async () => {
    await openDisk({ lengthSectors: 100 });
    truncateSync(path, SIZE_BYTES * 2);
    await storage.checkSize();
    expect(storage.info().sectors).toBe(100);
  });

  const ways = onDisk === undefined ? [false] : [false, true];
  test.each(ways)("fails reads behind its new end (direct: %s)", async (direct) => {
    await openDisk({ direct });
    await finish(disk, [disk.write(2040, 16, 7)]);
    truncateSync(path, 2048 * SECTOR_BYTES);
    const reads = [disk.read(2040, 8), disk.read(2044, 8), disk.read(5000, 8)];
    const statuses = await finish(disk, reads);
    expect(statuses).toEqual([BlockStatus.ok, BlockStatus.unreadable, BlockStatus.unreadable]);
    expect(reads[1].failedLba).toBe(2048);
    expect(reads[2].failedLba).toBe(5000);
    expect(storage.statistics.faults).toBe(2);

    await storage.checkSize();
    expect(storage.info().sectors).toBe(2048);
    const late = await finish(disk, [disk.write(2047, 2, 1), disk.read(2048, 1)]);
    expect(late).toEqual([BlockStatus.writeFault, BlockStatus.unreadable]);
    expect(readFileSync(path).length).toBe(2048 * SECTOR_BYTES);
  });
});
