import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { UsageError } from "../errors.ts";
import { lockFile } from "./file-lock.ts";
import { NewFile } from "./new-file.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aoed-new-file-"));
  path = join(folder, "disk.img");
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

/** What this process has open; " (deleted)" follows the name of a file that was removed. */
function openFiles(): string[] {
  const descriptors = "/proc/self/fd";
  return readdirSync(descriptors).flatMap((descriptor) => {
    try {
      return [readlinkSync(join(descriptors, descriptor))];
    } catch {
      // It was that of the folder itself.
      return [];
    }
  });
}

/** The next call of the method on any open file fails so. */
async function failNext(method: "truncate" | "sync", code: string): Promise<void> {
  const other = await open("/dev/null");
  const files = Object.getPrototypeOf(other) as FileHandle;
  await other.close();
  vi.spyOn(files, method).mockRejectedValueOnce(Object.assign(new Error(code), { code }));
}

test("has its name and size when it is kept, and not before", async () => {
  const file = await NewFile.create(path, { sizeBytes: 1024, overwrite: false });
  await file.handle.write("data");
  expect(readdirSync(folder)).toEqual(["disk.img.part"]);
  await file.keep();
  await file[Symbol.asyncDispose]();
  expect(readdirSync(folder)).toEqual(["disk.img"]);
  expect(readFileSync(path)).toEqual(Buffer.concat([Buffer.from("data"), Buffer.alloc(1020)]));
  expect(openFiles().filter((name) => name.startsWith(folder))).toEqual([]);
});

test.each([true, false])("leaves what was there when it is not kept (%s)", async (overwrite) => {
  if (overwrite) writeFileSync(path, "old");
  const before = readdirSync(folder);
  const file = await NewFile.create(path, { sizeBytes: 1024, overwrite });
  await file[Symbol.asyncDispose]();
  expect(readdirSync(folder)).toEqual(before);
  if (overwrite) expect(readFileSync(path, "utf8")).toBe("old");
  expect(openFiles().filter((name) => name.startsWith(folder))).toEqual([]);
});

test("takes the place of a file with its mode, behind a link to it", async () => {
  const link = join(folder, "link");
  writeFileSync(path, "old");
  chmodSync(path, 0o640);
  symlinkSync(path, link);
  const file = await NewFile.create(link, { sizeBytes: 512, overwrite: true });
  await file.keep();
  await file[Symbol.asyncDispose]();
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(lstatSync(path)).toMatchObject({ size: 512 });
  expect(statSync(path).mode & 0o777).toBe(0o640);
});

test("never takes the place of a file in use, and keeps others from using one meanwhile", async () => {
  writeFileSync(path, "old");
  const options = { sizeBytes: 512, overwrite: true };
  const disk = await open(path, "r+");
  expect(lockFile(disk.fd, false)).toBe(true);
  const refused = NewFile.create(path, options);
  await expect(refused).rejects.toThrow(UsageError);
  await expect(refused).rejects.toThrow(`${path} is in use by this process: stop that`);
  await disk.close();
  expect(openFiles().filter((name) => name.startsWith(folder))).toEqual([]);
  expect(readdirSync(folder)).toEqual(["disk.img"]);

  const file = await NewFile.create(path, options);
  const late = await open(path, "r+");
  expect(lockFile(late.fd, false)).toBe(false);
  await late.close();
  await file[Symbol.asyncDispose]();
  expect(openFiles().filter((name) => name.startsWith(folder))).toEqual([]);
});

test("closes everything also when what was not kept cannot be removed", async () => {
  const file = await NewFile.create(path, { sizeBytes: 512, overwrite: false });
  rmSync(`${path}.part`);
  mkdirSync(`${path}.part`);
  await expect(file[Symbol.asyncDispose]()).rejects.toThrow(/directory/i);
  expect(openFiles().filter((name) => name.startsWith(folder))).toEqual([]);
});

test("never takes the place of a file unasked, not even of one that came later", async () => {
  writeFileSync(path, "old");
  const refused = NewFile.create(path, { sizeBytes: 512, overwrite: false });
  await expect(refused).rejects.toThrow(/disk\.img: cannot be created \(EEXIST\); .*--overwrite$/);
  rmSync(path);
  const file = await NewFile.create(path, { sizeBytes: 512, overwrite: false });
  writeFileSync(path, "later");
  await expect(file.keep()).rejects.toThrow(/EEXIST/);
  await file[Symbol.asyncDispose]();
  expect(readFileSync(path, "utf8")).toBe("later");
  expect(readdirSync(folder)).toEqual(["disk.img"]);
});

test("is made by one at a time; what one that was killed has left is named", async () => {
  const options = { sizeBytes: 512, overwrite: false };
  const file = await NewFile.create(path, options);
  await expect(NewFile.create(path, options)).rejects.toThrow(/disk\.img\.part is there already/);
  await file.keep();
  await file[Symbol.asyncDispose]();
  writeFileSync(`${path}.part`, "left");
  const second = NewFile.create(path, { sizeBytes: 512, overwrite: true });
  await expect(second).rejects.toThrow(UsageError);
  expect(readFileSync(`${path}.part`, "utf8")).toBe("left");
});

test("that cannot have the size is refused in one line, and nothing of it is left", async () => {
  await failNext("truncate", "EFBIG");
  const answer = NewFile.create(path, { sizeBytes: 2 ** 50, overwrite: false });
  await expect(answer).rejects.toThrow(UsageError);
  await expect(answer).rejects.toThrow(
    `${path}: cannot have 1125899906842624 octets (EFBIG); name a file where there is room for it`,
  );
  expect(openFiles().filter((name) => name.startsWith(folder))).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
});

test("is not kept when the disk does not take it", async () => {
  writeFileSync(path, "old");
  const file = await NewFile.create(path, { sizeBytes: 512, overwrite: true });
  await failNext("sync", "EIO");
  await expect(file.keep()).rejects.toThrow(`${path}: cannot be written (EIO)`);
  await file[Symbol.asyncDispose]();
  expect(readFileSync(path, "utf8")).toBe("old");
  expect(readdirSync(folder)).toEqual(["disk.img"]);
});

test.each([
  ["a pipe", () => execFileSync("mkfifo", [path])],
  ["a link to nothing", () => symlinkSync(join(folder, "nothing"), path)],
  ["a link to a device", () => symlinkSync("/dev/null", path)],
])("%s is refused, and stays", async (_what, make) => {
  make();
  const answer = NewFile.create(path, { sizeBytes: 512, overwrite: true });
  await expect(answer).rejects.toThrow(/disk\.img: (is not a file|cannot be created \(ENOENT\))/);
  expect(lstatSync(path).isFile()).toBe(false);
  expect(readdirSync(folder)).toEqual(["disk.img"]);
});

test("a device that is not there is not made a file", async () => {
  const device = "/dev/aoed-absent";
  const answer = NewFile.create(device, { sizeBytes: 512, overwrite: true });
  await expect(answer).rejects.toThrow(`${device}: does not exist; check the path`);
  expect(existsSync(`${device}.part`)).toBe(false);
});

test("a folder that is not there is named", async () => {
  const inside = join(folder, "no", "disk.img");
  await expect(NewFile.create(inside, { sizeBytes: 512, overwrite: false })).rejects.toThrow(
    `${inside}: cannot be created (ENOENT); check the path`,
  );
});
