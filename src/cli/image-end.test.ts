import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
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
