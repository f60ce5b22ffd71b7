import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { UsageError } from "../errors.ts";
import { finish, folderOnDisk, testArena, TestDisk, TestMedia } from "./block-storage.testing.ts";
import { BlockStatus } from "./block-storage.ts";
import { type FileStorageOptions, openFileStorage } from "./file-storage.ts";

const MEBIBYTE = 1024 * 1024;
const arena = testArena();
const media = new TestMedia();
let folder: string;
let path: string;

beforeEach(() => {
  folder = media.folder(folderOnDisk());
  path = join(folder, "disk.img");
});

afterEach(() => media.dispose());

/** The line with which opening is refused; opening must not change the folder. */
async function refusal(options: Partial<FileStorageOptions>): Promise<string> {
  const before = readdirSync(folder);
  const size = existsSync(path) ? statSync(path).size : 0;
  let refused: unknown;
  try {
    const storage = await openFileStorage({ path, ...options }, arena);
    await storage.close();
  } catch (error) {
    refused = error;
  }
  expect(refused).toBeInstanceOf(UsageError);
  expect(readdirSync(folder)).toEqual(before);
  if (existsSync(path)) expect(statSync(path).size).toBe(size);
  const { message } = refused as UsageError;
  expect(message).not.toContain("\n");
  return message.replaceAll(folder, "/folder");
}

describe("a file that is not there", () => {
  test("is created sparse when its size is given", async () => {
    const storage = await openFileStorage({ path, sizeBytes: 2 ** 40 }, arena);
    expect(storage.info().sectors).toBe(2 ** 31);
    const disk = new TestDisk(storage, arena);
    await finish(disk, [disk.write(2 ** 31 - 8, 8, 3)]);
    expect((await disk.readBack(2 ** 31 - 1, 1))[0]).toBe(3);
    await storage.close();
    expect(statSync(path).size).toBe(2 ** 40);
    expect(statSync(path).blocks * 512).toBeLessThan(MEBIBYTE);
  });

  test("is refused without a size", async () => {
    expect(await refusal({})).toBe(
      "/folder/disk.img does not exist: create it with 'truncate -s 10G /folder/disk.img', or say its size",
    );
  });

  test("is refused when it would be read only", async () => {
    expect(await refusal({ sizeBytes: MEBIBYTE, readOnly: true })).toContain("read_only forbids");
  });

  test("is not created when the options do not fit its size", async () => {
    expect(await refusal({ sizeBytes: MEBIBYTE + 1 })).toContain("no multiple of 512");
    expect(await refusal({ sizeBytes: MEBIBYTE, offsetSectors: 2048 })).toContain("beyond its end");
  });

  test("is not left behind when the file system cannot hold it", async () => {
    expect(await refusal({ sizeBytes: 2 ** 52 })).toMatch(/cannot be created with .* EFBIG/);
  });

  test("is refused in a folder that is not there", async () => {
    expect(await refusal({ path: join(folder, "none", "disk.img"), sizeBytes: 512 })).toContain(
      "/folder/none/disk.img",
    );
  });
});

describe("a file that is there", () => {
  test("keeps its size and its data", async () => {
    writeFileSync(path, Buffer.alloc(MEBIBYTE, 7));
    const storage = await openFileStorage({ path, sizeBytes: MEBIBYTE / 2 }, arena);
    expect(storage.info()).toMatchObject({
      description: `file ${path}`,
      sectors: 2048,
      physicalBlockBytes: 4096,
      readOnly: false,
      durability: "durable",
    });
    expect((await new TestDisk(storage, arena).readBack(2047, 1))[511]).toBe(7);
    await storage.close();
  });

  test("may be a symbolic link", async () => {
    writeFileSync(join(folder, "real"), Buffer.alloc(4096));
    symlinkSync("real", path);
    const storage = await openFileStorage({ path }, arena);
    expect(storage.info().sectors).toBe(8);
    await storage.close();
  });

  test("is refused when it is smaller than asked for", async () => {
    writeFileSync(path, Buffer.alloc(4096));
    expect(await refusal({ sizeBytes: 8192 })).toBe(
      "/folder/disk.img has 4096 bytes, fewer than the size 8192 that is asked for: " +
        "extend it with 'truncate -s 8192 /folder/disk.img', or correct the size",
    );
  });

  test("is refused when it is empty or no whole number of sectors", async () => {
    writeFileSync(path, "");
    expect(await refusal({})).toBe(
      "/folder/disk.img is empty: give it a size with 'truncate -s 10G /folder/disk.img'",
    );
    writeFileSync(path, Buffer.alloc(1000));
    expect(await refusal({})).toBe(
      "/folder/disk.img has 1000 bytes, which is no multiple of 512: " +
        "extend it with 'truncate -s 1024 /folder/disk.img'",
    );
  });

  test("is refused when offset or length reach beyond its end", async () => {
    writeFileSync(path, Buffer.alloc(4096));
    expect(await refusal({ offsetSectors: 8 })).toBe(
      "/folder/disk.img has 4096 bytes, so offset 4096 is beyond its end: lower the offset",
    );
    expect(await refusal({ offsetSectors: 2, lengthSectors: 7 })).toContain("reach beyond its end");
    expect(await refusal({ lengthSectors: 0 })).toContain("length must be at least 512");
  });

  test("is refused when it is something else", async () => {
    mkdirSync(path);
    expect(await refusal({})).toBe("/folder/disk.img is a directory: name a file in it");
    expect(await refusal({ path: "/dev/null" })).toBe(
      "/dev/null is not a regular file: correct the path",
    );
    const loop = "/dev/loop0";
    if (existsSync(loop)) expect(await refusal({ path: loop })).toContain('backend = "device"');
  });

  test("is refused when a part of the path is a file", async () => {
    writeFileSync(path, "");
    expect(await refusal({ path: join(path, "x") })).toContain("not a directory");
  });

  test.skipIf(process.getuid?.() === 0)("is refused when it may not be written", async () => {
    writeFileSync(path, Buffer.alloc(4096));
    chmodSync(path, 0o400);
    expect(await refusal({})).toContain("may not read and write it");
  });

  test("is refused for durability that files do not have", async () => {
    writeFileSync(path, Buffer.alloc(4096));
    expect(await refusal({ durability: "remote" })).toContain("needs an object store");
  });
});

describe("a locked file", () => {
  let holder: ChildProcess;

  afterEach(() => endHolder());

  test("is refused with the name of who holds it", async () => {
    writeFileSync(path, Buffer.alloc(4096));
    await holdLock("--exclusive");
    expect(await refusal({})).toBe(
      `/folder/disk.img is in use by process ${holder.pid} (sleep): stop that, or serve another ` +
        "file (read_only = true shares it with other readers)",
    );
    expect(await refusal({ readOnly: true })).toContain(`process ${holder.pid}`);
    await endHolder();
    const storage = await openFileStorage({ path }, arena);
    expect(await refusal({})).toContain("in use by this process");
    await storage.close();
  });

  test("is shared by readers", async () => {
    writeFileSync(path, Buffer.alloc(4096, 4));
    await holdLock("--shared");
    const storages = await Promise.all([
      openFileStorage({ path, readOnly: true }, arena),
      openFileStorage({ path, readOnly: true }, arena),
    ]);
    expect(await refusal({})).toContain("in use by");
    for (const storage of storages) {
      expect(storage.info()).toMatchObject({ readOnly: true, canTrim: false });
      const disk = new TestDisk(storage, arena);
      expect((await disk.readBack(0, 1))[0]).toBe(4);
      expect(await finish(disk, [disk.flush()])).toEqual([BlockStatus.ok]);
      await storage.close();
    }
  });

  async function holdLock(mode: string): Promise<void> {
    holder = spawn("flock", [mode, "--no-fork", path, "sh", "-c", "echo held; exec sleep 600"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => {
      holder.stdout!.once("data", resolve);
    });
    // The shell says so before it has become what the refusal names.
    const name = (): string => readFileSync(`/proc/${holder.pid}/comm`, "utf8").trim();
    await vi.waitUntil(() => name() === "sleep", 60_000);
  }

  async function endHolder(): Promise<void> {
    if (holder.exitCode !== null || holder.signalCode !== null) return;
    const ended = new Promise((resolve) => {
      holder.once("exit", resolve);
    });
    holder.kill();
    await ended;
  }
});

test("an empty file can be served after it was given a size", async () => {
  writeFileSync(path, "");
  truncateSync(path, MEBIBYTE);
  const storage = await openFileStorage({ path }, arena);
  expect(storage.info().sectors).toBe(2048);
  await storage.close();
});
