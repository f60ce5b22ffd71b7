import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RuntimeFault, UsageError } from "../errors.ts";
import { ImageEnd } from "./image-end.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aoed-image-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test("a new file has the size and its name when it is kept, and no name when it is not", async () => {
  const path = join(folder, "disk.img");
  const given = await ImageEnd.forWriting(path, 1024, false);
  await given.write(512, Buffer.from("data"));
  await given.close();
  expect(readdirSync(folder)).toEqual([]);
  const end = await ImageEnd.forWriting(path, 1024, false);
  expect(end).toMatchObject({ sizeBytes: 1024, isNew: true });
  await end.keep();
  await end.close();
  expect(readdirSync(folder)).toEqual(["disk.img"]);
  await expect(ImageEnd.forWriting(path, 1024, false)).rejects.toThrow(/EEXIST.*--overwrite/);
});

test("the last sector of a file is filled with zeros", async () => {
  const path = join(folder, "disk.img");
  writeFileSync(path, Buffer.alloc(700, 7));
  const end = await ImageEnd.forReading(path);
  expect(end).toMatchObject({ sizeBytes: 1024, isNew: false });
  const data = await end.read(512, 512);
  expect(data).toEqual(Buffer.concat([Buffer.alloc(188, 7), Buffer.alloc(324)]));
  await expect(end.read(1024, 512)).rejects.toThrow(/ends at 1024 now/);
  await end.close();
});

test("a path through a file is refused in one line", async () => {
  const path = join(folder, "file", "disk.img");
  writeFileSync(join(folder, "file"), "");
  const answer = ImageEnd.forWriting(path, 512, false);
  await expect(answer).rejects.toThrow(UsageError);
  await expect(answer).rejects.toThrow(`${path}: cannot be created (ENOTDIR); check the path`);
});

test("what the system refuses is a fault in one line", async () => {
  const path = join(folder, "disk.img");
  writeFileSync(path, Buffer.alloc(512));
  const end = await ImageEnd.forReading(path);
  const answer = end.write(0, Buffer.alloc(512));
  await expect(answer).rejects.toThrow(RuntimeFault);
  await expect(answer).rejects.toThrow(`${path}: cannot be written (EBADF)`);
  await end.close();
  await expect(end.sync()).rejects.toThrow(RuntimeFault);
});
