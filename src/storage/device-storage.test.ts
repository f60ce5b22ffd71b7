import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { UsageError } from "../errors.ts";
import { BlockStatus } from "./block-storage.ts";
import {
  finish,
  mayAttachDevices,
  testArena,
  TestDisk,
  TestMedia,
} from "./block-storage.testing.ts";
import { openDeviceStorage } from "./device-storage.ts";
import type { DiskOptions } from "./disk-options.ts";

const MEBIBYTE = 1024 * 1024;
const arena = testArena();
const media = new TestMedia();

afterEach(() => media.dispose());

async function refusal(options: DiskOptions): Promise<string> {
  let refused: unknown;
  try {
    const storage = await openDeviceStorage(options, arena);
    await storage.close();
  } catch (error) {
    refused = error;
  }
  expect(refused).toBeInstanceOf(UsageError);
  const { message } = refused as UsageError;
  expect(message).not.toContain("\n");
  return message;
}

describe("what is no block device is refused", () => {
  test("a file", async () => {
    const path = media.image(MEBIBYTE);
    expect(await refusal({ path })).toBe(`${path} is not a block device: use backend = "file"`);
  });

  test("a character device, and nothing at all", async () => {
    expect(await refusal({ path: "/dev/null" })).toContain("correct the path");
    expect(await refusal({ path: "/dev/aoed-none" })).toContain("does not exist");
  });
});

describe.skipIf(!mayAttachDevices)("a loop device (needs root)", () => {
  test("has the size and the blocks that the kernel says", async () => {
    const path = media.loopDevice(media.image(MEBIBYTE), "--sector-size", "4096");
    const storage = await openDeviceStorage({ path }, arena);
    expect(storage.info()).toMatchObject({
      description: `device ${path}`,
      sectors: 2048,
      physicalBlockBytes: 4096,
    });
    await storage.close();
  });

  test("is refused while it is mounted, and cannot be mounted while it is served", async () => {
    const image = media.image(4 * MEBIBYTE);
    execFileSync("mkfs.ext4", ["-q", image]);
    const path = media.loopDevice(image);
    const place = join(media.folder(), "a place");
    mkdirSync(place);
    execFileSync("mount", [path, place]);
    try {
      const expected = `${path} is mounted on ${place}: release it first, or serve another device`;
      expect(await refusal({ path })).toBe(expected);
      expect(await refusal({ path, readOnly: true })).toBe(expected);
    } finally {
      execFileSync("umount", [place]);
    }
    // Whoever copied the mounts of this system for a namespace meanwhile has it mounted a bit longer.
    const storage = await vi.waitFor(() => openDeviceStorage({ path }, arena), 60_000);
    expect(() => execFileSync("mount", [path, place], { stdio: "ignore" })).toThrow();
    await storage.close();
  });

  test("is refused while it is served already", async () => {
    const path = media.loopDevice(media.image(MEBIBYTE));
    const storage = await openDeviceStorage({ path }, arena);
    expect(await refusal({ path })).toContain("release it first");
    await storage.close();
    await (await openDeviceStorage({ path }, arena)).close();
  });

  test("is refused when it is read only, unless that is wanted", async () => {
    const image = media.image(MEBIBYTE);
    writeFileSync(image, Buffer.alloc(MEBIBYTE, 6));
    const path = media.loopDevice(image, "--read-only");
    expect(await refusal({ path })).toContain("read_only = true");
    const storage = await openDeviceStorage({ path, readOnly: true }, arena);
    expect(storage.info()).toMatchObject({ readOnly: true, canTrim: false });
    expect((await new TestDisk(storage, arena).readBack(0, 1))[0]).toBe(6);
    await storage.close();
  });

  test("is refused when offset, length or direct do not fit", async () => {
    const path = media.loopDevice(media.image(MEBIBYTE), "--sector-size", "4096");
    expect(await refusal({ path, offsetSectors: 2048 })).toContain("beyond its end");
    expect(await refusal({ path, direct: true, offsetSectors: 1 })).toBe(
      `${path}: direct needs blocks of 4096 bytes, but the disk's offset is at 512: align it, ` +
        "or set direct = false",
    );
    expect(await refusal({ path, direct: true, lengthSectors: 9 })).toContain("end is at 4608");
  });

  test("gives trimmed space back", async ({ skip }) => {
    const image = media.image(4 * MEBIBYTE);
    const path = media.loopDevice(image);
    const storage = await openDeviceStorage({ path }, arena);
    const disk = new TestDisk(storage, arena);
    if (!storage.info().canTrim) {
      await storage.close();
      skip("the file system of the image punches no holes");
    }
    await finish(disk, [disk.write(0, 8192, 1), disk.flush()]);
    const used = (): number => Number(execFileSync("stat", ["-c", "%b", image]));
    const before = used();
    await finish(disk, [disk.trim(0, 8192)]);
    expect(used()).toBeLessThan(before / 2);
    await storage.close();
  });

  test("is followed when it grows", async () => {
    const image = media.image(MEBIBYTE);
    const path = media.loopDevice(image);
    const storage = await openDeviceStorage({ path }, arena);
    execFileSync("truncate", ["-s", String(2 * MEBIBYTE), image]);
    execFileSync("losetup", ["--set-capacity", path]);
    let calls = 0;
    storage.onResize = () => calls++;
    await storage.checkSize();
    expect(calls).toBe(1);
    expect(storage.info().sectors).toBe(4096);
    const disk = new TestDisk(storage, arena);
    expect(await finish(disk, [disk.write(4088, 8, 1)])).toEqual([BlockStatus.ok]);
    await storage.close();
  });
});
