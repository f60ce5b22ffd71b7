import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { UsageError } from "../errors.ts";
import { ImageEnd } from "./image-end.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aoed-image-"));
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

test("a file that cannot have the size is refused in one line, and nothing of it is left", async () => {
  const path = join(folder, "disk.img");
  const other = await open(join(folder, "other"), "w");
  const files = Object.getPrototypeOf(other) as FileHandle;
  const failure = Object.assign(new Error("file too large"), { code: "EFBIG" });
  vi.spyOn(files, "truncate").mockRejectedValueOnce(failure);
  const answer = ImageEnd.forWriting(path, 2 ** 50, false);
  await expect(answer).rejects.toThrow(UsageError);
  await expect(answer).rejects.toThrow(
    `${path}: cannot have 1125899906842624 octets (EFBIG); name a file where there is room for it`,
  );
  expect(openFiles().filter((name) => name.startsWith(path))).toEqual([]);
  expect(existsSync(path)).toBe(false);
  await other.close();
});

test("what is there and is no file is refused, and stays", async () => {
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  await expect(ImageEnd.forWriting(path, 512, true)).rejects.toThrow(
    /pipe: cannot have 512 octets/,
  );
  expect(existsSync(path)).toBe(true);
});

test("a new file has the size, and a second one of that name needs to be told", async () => {
  const path = join(folder, "disk.img");
  const end = await ImageEnd.forWriting(path, 1024, false);
  await end.close();
  expect(end).toMatchObject({ sizeBytes: 1024, isNew: true });
  writeFileSync(path, "data");
  await expect(ImageEnd.forWriting(path, 1024, false)).rejects.toThrow(/EEXIST.*--overwrite/);
  expect(readdirSync(folder)).toEqual(["disk.img"]);
});
