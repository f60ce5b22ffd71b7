import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  batchOf,
  blobOf,
  describeBlobStore,
  RecordedNotes,
} from "../blob/blob-store.compliance.ts";
import { CrashDisk } from "../blob/crash-disk.testing.ts";
import { FileStore } from "../blob/file-store.ts";
import { hashOf } from "../blob/hash.ts";
import { NodeDisk } from "../blob/node-disk.ts";
import { MemoryBucket, MemoryObjectStore } from "../object/memory-object-store.ts";
import { decodeHead, type Head } from "./head.ts";
import { openPackedStore } from "./open-packed-store.ts";
import type { PackedStoreOptions } from "./packed-store-options.ts";
import { HEAD_KEY, LEASE_KEY, packKey } from "./pack-names.ts";
import type { PackedStore } from "./packed-store.ts";

const folders: string[] = [];

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "aoed-packed-"));
  folders.push(folder);
  return folder;
}

afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** Flips a bit in the first copy of these bytes in any file of the folder. */
async function damageIn(folder: string, data: Uint8Array): Promise<void> {
  for (const name of await readdir(folder)) {
    const bytes = await readFile(join(folder, name));
    const at = bytes.indexOf(data);
    if (at < 0) continue;
    bytes[at + 100] ^= 1;
    await writeFile(join(folder, name), bytes);
    return;
  }
  throw new Error("the blob is nowhere");
}

describeBlobStore("PackedStore", async () => {
  const folder = await makeFolder();
  const bucket = new MemoryBucket();
  return {
    open: async (reader) =>
      openPackedStore({
        objects: new MemoryObjectStore(bucket),
        disk: await NodeDisk.open(folder),
        reader,
        host: "test",
        segmentBytes: 1024 * 1024,
        // What is damaged here must not be found in the object store.
        uploadIntervalMs: 3_600_000,
      }),
    damage: (data) => damageIn(folder, data),
  };
});

/** Every reopen forgets the local folder. */
describeBlobStore("PackedStore from the object store alone", async () => {
  const bucket = new MemoryBucket();
  return {
    open: async (reader) =>
      openPackedStore({
        objects: new MemoryObjectStore(bucket),
        disk: await NodeDisk.open(await makeFolder()),
        reader,
        host: "test",
        segmentBytes: 1024 * 1024,
        diskCacheBytes: 1024 * 1024,
      }),
    damage: (data) => {
      for (const [, object] of bucket.objects) {
        const at = Buffer.from(object.data).indexOf(data);
        if (at < 0) continue;
        object.data[at + 100] ^= 1;
        return Promise.resolve();
      }
      throw new Error("the blob is nowhere");
    },
  };
});

const SEGMENT_BYTES = 64 * 1024;

function open(
  bucket: MemoryBucket,
  disk: CrashDisk,
  options: Partial<PackedStoreOptions> = {},
): Promise<PackedStore> {
  return openPackedStore({
    objects: new MemoryObjectStore(bucket),
    disk,
    reader: new RecordedNotes(),
    host: "test",
    segmentBytes: SEGMENT_BYTES,
    packBytes: 32 * 1024,
    uploadIntervalMs: 1,
    ...options,
  });
}

test("a store is found again on another machine, after many segments", async () => {
  const bucket = new MemoryBucket();
  const store = await open(bucket, new CrashDisk());
  const blobs = Array.from({ length: 400 }, (_, place) => blobOf(`blob ${place} `));
  for (const [place, blob] of blobs.entries()) await batchOf([blob], [`${place}`]).appendTo(store);
  await store.close();
  expect([...bucket.objects.keys()].some((key) => key.startsWith("index/"))).toBe(true);

  const notes = new RecordedNotes();
  const elsewhere = await open(bucket, new CrashDisk(), { reader: notes });
  expect(notes.notes).toHaveLength(400);
  for (const blob of blobs) expect(await elsewhere.get(hashOf(blob))).toEqual(blob);
  await batchOf([blobOf("new")], ["new"]).appendTo(elsewhere);
  await elsewhere.close();

  const third = await open(bucket, new CrashDisk());
  expect(await third.get(hashOf(blobOf("new")))).toEqual(blobOf("new"));
  await third.close();
});

/** Puts each blob into a store that is opened and closed for it. */
async function putOnce(bucket: MemoryBucket, disk: CrashDisk, text: string): Promise<void> {
  const store = await open(bucket, disk);
  await batchOf([blobOf(text)], [text]).appendTo(store);
  await store.close();
}

async function expectBlobs(bucket: MemoryBucket, texts: string[]): Promise<void> {
  const store = await open(bucket, new CrashDisk());
  for (const text of texts) expect(await store.get(hashOf(blobOf(text)))).toEqual(blobOf(text));
  await store.close();
}

function headOf(bucket: MemoryBucket): Head {
  return decodeHead(bucket.objects.get(HEAD_KEY)?.data ?? new Uint8Array(), "the bucket");
}

test("a store whose object lease is gone uses no epoch and no name of a pack again", async () => {
  const bucket = new MemoryBucket();
  const disk = new CrashDisk();
  await putOnce(bucket, disk, "first");
  const { epoch } = headOf(bucket);
  bucket.objects.delete(LEASE_KEY);
  await putOnce(bucket, disk, "second");
  expect(headOf(bucket).epoch).toBe(epoch + 1);
  await expectBlobs(bucket, ["first", "second"]);
});

test("a pack that another object has the name of gets another name", async () => {
  const bucket = new MemoryBucket();
  for (const counter of [1, 2]) {
    bucket.write(packKey({ epoch: 1, counter }), new Uint8Array(100), undefined);
  }
  await putOnce(bucket, new CrashDisk(), "first");
  expect(bucket.objects.get(packKey({ epoch: 1, counter: 1 }))?.data).toEqual(new Uint8Array(100));
  await expectBlobs(bucket, ["first"]);
});

test("a folder with a store of its own is refused, and nothing in it changes", async () => {
  const bucket = new MemoryBucket();
  await putOnce(bucket, new CrashDisk(), "remote");
  const disk = new CrashDisk();
  const options = { disk, reader: new RecordedNotes(), segmentBytes: SEGMENT_BYTES };
  const local = await FileStore.open(options);
  await batchOf([blobOf("local")], ["local"]).appendTo(local);
  await local.close();
  const names = await disk.list();
  for (const readOnly of [true, false]) {
    await expect(open(bucket, disk, { readOnly })).rejects.toThrow("holds another store than");
  }
  expect(await disk.list()).toEqual(names);
  const again = await FileStore.open({ ...options, reader: new RecordedNotes() });
  expect(await again.get(hashOf(blobOf("local")))).toEqual(blobOf("local"));
  await again.close();
});

test("two folders that were readers' do not take each other for the same owner", async () => {
  const bucket = new MemoryBucket();
  await putOnce(bucket, new CrashDisk(), "first");
  const disks = [new CrashDisk(), new CrashDisk()];
  for (const disk of disks) await (await open(bucket, disk, { readOnly: true })).close();
  const first = await open(bucket, disks[0]);
  const log = new Promise<string>((resolve) => {
    void open(bucket, disks[1], { log: (_, message) => resolve(message) }).then(async (second) => {
      resolve("not asked to wait");
      await second.close();
    });
  });
  expect(await log).toContain("is in use by test: waiting");
  await first.close();
});
