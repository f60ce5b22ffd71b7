import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { UsageError } from "../errors.ts";
import { DirectoryObjectStore } from "./directory-object-store.ts";
import { describeObjectStore, listed } from "./object-store.compliance.ts";

const newFolder = async (): Promise<string> => mkdtemp(join(tmpdir(), "aoed-objects-"));

describeObjectStore("DirectoryObjectStore", async () => {
  const folder = await newFolder();
  return {
    open: async () => DirectoryObjectStore.open(join(folder, "store")),
    keepsWriteIds: false,
    manyKeys: 1500,
    close: async () => rm(folder, { recursive: true }),
  };
});

async function openedFolder(): Promise<{ folder: string; store: DirectoryObjectStore }> {
  const folder = await newFolder();
  const store = await DirectoryObjectStore.open(folder);
  onTestFinished(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  return { folder, store };
}

test("objects are plain files, and files are objects", async () => {
  const { folder, store } = await openedFolder();
  await store.putIfAbsent("packs/aa/1", new Uint8Array([1, 2]));
  expect([...(await readFile(join(folder, "packs/aa/1")))]).toEqual([1, 2]);
  await writeFile(join(folder, "packs/copied"), "by hand");
  expect(await listed(store, "")).toEqual(["packs/aa/1", "packs/copied"]);
});

test("a put that fails leaves nothing behind", async () => {
  const { folder, store } = await openedFolder();
  const etag = await store.putIfAbsent("head", new Uint8Array([1]));
  await store.putIfMatch("head", new Uint8Array([2]), etag);
  await expect(store.putIfAbsent("head", new Uint8Array([3]))).rejects.toThrow("already");
  await expect(store.putIfMatch("head", new Uint8Array([3]), etag)).rejects.toThrow("version");
  await expect(store.putIfAbsent("head/below", new Uint8Array([3]))).rejects.toMatchObject({
    code: "exists",
  });
  expect(await readdir(join(folder, ".aoed-uploads"))).toEqual([]);
});

test("what a killed process was uploading is removed a day later", async () => {
  const { folder } = await openedFolder();
  const uploads = join(folder, ".aoed-uploads");
  await writeFile(join(uploads, "old"), "x");
  await writeFile(join(uploads, "new"), "x");
  await utimes(join(uploads, "old"), 1_000_000, 1_000_000);
  await (await DirectoryObjectStore.open(folder)).close();
  expect(await readdir(uploads)).toEqual(["new"]);
});

test("versions differ although clock, size and content do not", async () => {
  const { store } = await openedFolder();
  const etags = new Set<string>();
  let etag = await store.putIfAbsent("head", new Uint8Array([1]));
  for (let round = 0; round < 50; round++) {
    etags.add(etag);
    etag = await store.putIfMatch("head", new Uint8Array([1]), etag);
  }
  expect(etags.size).toBe(50);
});

test("a folder that cannot be made is a mistake of the user", async () => {
  await expect(DirectoryObjectStore.open("/dev/null/store")).rejects.toThrow(UsageError);
});
