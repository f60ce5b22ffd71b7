import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { BlockOperation, BlockStatus } from "./block-storage.ts";
import {
  finish,
  folderOnDisk,
  mayAttachDevices,
  testArena,
  TestDisk,
  TestMedia,
} from "./block-storage.testing.ts";
import { DelayStorage } from "./delay-storage.ts";
import { openDeviceStorage } from "./device-storage.ts";
import { FaultStorage } from "./fault-storage.ts";
import { openFileStorage } from "./file-storage.ts";
import { openMemoryStorage } from "./memory-storage.ts";

const MEBIBYTE = 1024 * 1024;
const arena = testArena();
const media = new TestMedia();

afterEach(() => media.dispose());

describe.each(["durable", "writeback"] as const)("a full file system, %s", (durability) => {
  test.skipIf(!mayAttachDevices)(
    "is reported per write, and no other request suffers",
    async () => {
      const path = media.image(8 * MEBIBYTE, media.smallFileSystem(MEBIBYTE));
      const lines: string[] = [];
      const onFault = (message: string): void => void lines.push(message);
      const storage = await openFileStorage({ path, durability, onFault }, arena);
      const disk = new TestDisk(storage, arena);
      await finish(disk, [disk.write(0, 64, 1)]);

      const writes = Array.from({ length: 64 }, (_, index) => disk.write(index * 64, 64, 2));
      const waiting = disk.read(63 * 64, 64);
      const statuses = await finish(disk, [...writes, waiting, disk.flush()]);
      expect(new Set(statuses.slice(0, 64))).toEqual(
        new Set([BlockStatus.ok, BlockStatus.noSpace]),
      );
      expect(statuses[0]).toBe(BlockStatus.ok);
      expect(statuses.slice(64)).toEqual([BlockStatus.ok, BlockStatus.ok]);
      for (let index = 0; index < 64; index++) {
        if (statuses[index] !== BlockStatus.ok) continue;
        const data = await disk.readBack(index * 64, 64);
        expect(data.every((octet) => octet === 2)).toBe(true);
      }
      expect(storage.statistics.faults).toBe(
        statuses.filter((status) => status === BlockStatus.noSpace).length,
      );
      expect(lines[0]).toMatch(/^file .*disk.img: writing 64 sectors at \d+ failed with ENOSPC$/);
      expect(lines.length).toBe(1);

      // Space that is freed can be written again.
      expect(await finish(disk, [disk.trim(0, 32 * 64)])).toEqual([BlockStatus.ok]);
      expect(await finish(disk, [disk.write(40 * 64, 64, 3)])).toEqual([BlockStatus.ok]);
      await storage.close();
    },
  );
});

/** The file behind the device cannot grow, so fdatasync fails although the write went well. */
function failingDevice(): string {
  const folder = media.smallFileSystem(MEBIBYTE);
  const path = media.loopDevice(media.image(64 * MEBIBYTE, folder));
  const fill = `head -c ${2 * MEBIBYTE} /dev/zero > '${folder}/rest' || true`;
  execFileSync("sh", ["-c", fill], { stdio: "ignore" });
  return path;
}

describe.skipIf(!mayAttachDevices)(
  "a device that cannot keep what it was given (needs root)",
  () => {
    test("faults every write of the group under durable, and goes on", async () => {
      const lines: string[] = [];
      const options = { path: failingDevice(), onFault: (line: string) => lines.push(line) };
      const storage = await openDeviceStorage(options, arena);
      const disk = new TestDisk(storage, arena);
      const writes = [disk.write(0, 8, 1), disk.write(80000, 8, 1)];
      const statuses = await finish(disk, writes);
      expect(statuses).not.toContain(BlockStatus.ok);
      expect(storage.statistics.faults).toBe(2);
      expect(lines[0]).toMatch(/fdatasync failed with E(IO|NOSPC)/);
      expect(await finish(disk, [disk.read(4000, 8)])).toEqual([BlockStatus.ok]);
      await storage.close();
    });

    test("accepts no write any more under writeback once acknowledged data is lost", async () => {
      const lines: string[] = [];
      const storage = await openDeviceStorage(
        {
          path: failingDevice(),
          durability: "writeback",
          writebackIntervalMs: 60_000,
          onFault: (line) => lines.push(line),
        },
        arena,
      );
      const disk = new TestDisk(storage, arena);
      expect(await finish(disk, [disk.write(0, 8, 1)])).toEqual([BlockStatus.ok]);
      const flush = disk.flush();
      disk.submit();
      const meanwhile = disk.write(8, 8, 1);
      const laterFlush = disk.flush();
      await finish(disk, [flush, meanwhile, laterFlush]);
      expect(flush.status).not.toBe(BlockStatus.ok);
      expect(laterFlush.status).not.toBe(BlockStatus.ok);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain("acknowledged are lost");

      const after = [disk.write(0, 8, 2), disk.flush(), disk.trim(0, 8), disk.read(800, 8)];
      expect(await finish(disk, after)).toEqual([
        BlockStatus.writeFault,
        BlockStatus.writeFault,
        BlockStatus.writeFault,
        BlockStatus.ok,
      ]);
      expect(storage.statistics.unsyncedSectors).toBeGreaterThanOrEqual(8);
      await expect(storage.close()).rejects.toThrow(/could not be made durable/);
      expect(lines).toHaveLength(1);
    });
  },
);

describe("fault storage", () => {
  test("fails what it was told to, and nothing else", async () => {
    const storage = new FaultStorage(openMemoryStorage({ sizeBytes: MEBIBYTE }, arena));
    const disk = new TestDisk(storage, arena);
    storage.faults.push(
      {
        operation: BlockOperation.read,
        firstLba: 10,
        lastLba: 11,
        status: BlockStatus.unreadable,
      },
      {
        operation: BlockOperation.write,
        firstLba: 20,
        lastLba: 20,
        status: BlockStatus.noSpace,
      },
    );
    const requests = [
      disk.read(8, 2),
      disk.read(8, 8),
      disk.read(11, 4),
      disk.read(12, 1),
      disk.write(10, 2, 1),
      disk.write(13, 8, 1),
      disk.flush(),
    ];
    const { ok, unreadable, noSpace } = BlockStatus;
    expect(await finish(disk, requests)).toEqual([ok, unreadable, unreadable, ok, ok, noSpace, ok]);
    expect(requests[1].failedLba).toBe(10);
    expect(requests[2].failedLba).toBe(11);
    expect(storage.statistics.faults).toBe(3);
    storage.faults.length = 0;
    expect((await disk.readBack(20, 1))[0]).toBe(0);
    await storage.close();
  });
});

test("delay storage gives requests back late, and all of them before it is closed", async () => {
  const storage = new DelayStorage(openMemoryStorage({ sizeBytes: MEBIBYTE }, arena), () => 30);
  const disk = new TestDisk(storage, arena);
  const requests = [disk.write(0, 8, 1), disk.read(0, 8)];
  disk.submit();
  expect(requests.map((request) => request.completions)).toEqual([0, 0]);
  await storage.close();
  expect(requests.map((request) => request.completions)).toEqual([1, 1]);
  expect(disk.data(requests[1])[0]).toBe(1);
});

test("a file is complete on disk after close, whatever the decorators", async () => {
  const path = media.image(MEBIBYTE);
  const storage = new FaultStorage(await openFileStorage({ path }, arena));
  const disk = new TestDisk(storage, arena);
  const write = disk.write(7, 1, 9);
  await storage.close();
  expect(write.status).toBe(BlockStatus.ok);
  expect(readFileSync(path)[7 * 512]).toBe(9);
});

test("a kernel that forbids io_uring is served by threads", (context) => {
  const program = join(import.meta.dirname, "forbidden-ring.testing.ts");
  const path = `${media.folder(folderOnDisk())}/disk.img`;
  const strace = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=io_uring_setup:error=EPERM"];
  const command = [...strace, process.execPath, program, path];
  const { error, status, stdout, stderr } = spawnSync("strace", command, { encoding: "utf8" });
  if (error !== undefined) context.skip(`strace cannot be run: ${error.message}`);
  if (stderr.includes("PTRACE")) context.skip("strace may not trace here");
  expect({ status, stdout, stderr }).toEqual({
    status: 0,
    stdout: "ring false\nread 7\n",
    stderr: "",
  });
});
