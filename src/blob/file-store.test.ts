import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { batchOf, blobOf, describeBlobStore, RecordedNotes } from "./blob-store.compliance.ts";
import { CrashDisk } from "./crash-disk.testing.ts";
import { FileStore } from "./file-store.ts";
import { hashOf } from "./hash.ts";
import { NodeDisk } from "./node-disk.ts";

const folders: string[] = [];

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "aoed-file-store-"));
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

describeBlobStore("FileStore", async () => {
  const folder = await makeFolder();
  return {
    open: async (reader) =>
      FileStore.open({ disk: await NodeDisk.open(folder), reader, segmentBytes: 1024 * 1024 }),
    damage: (data) => damageIn(folder, data),
  };
});

test("a new store takes kilobytes", async () => {
  const folder = await makeFolder();
  const store = await FileStore.open({
    disk: await NodeDisk.open(folder),
    reader: new RecordedNotes(),
  });
  await batchOf([blobOf("first")], ["note"]).appendTo(store);
  expect(store.statistics.diskBytes).toBeLessThan(512 * 1024);
  await store.close();
});

test("refuses a store of a newer version and one whose superblock is gone", async () => {
  const disk = new CrashDisk();
  const open = (): Promise<FileStore> =>
    FileStore.open({ disk, reader: new RecordedNotes(), segmentBytes: 65536 });
  await (await open()).close();
  const store = await open();
  await store.put(hashOf(blobOf("x")), blobOf("x"));
  await store.close();
  for (const copy of [0, 4096]) disk.flipBit("superblock", copy + 16, 1);
  await expect(open()).rejects.toThrow(/superblock cannot be read/);
});

test("one damaged copy of the superblock does no harm", async () => {
  for (const copy of [0, 4096]) {
    const disk = new CrashDisk();
    const open = (notes: RecordedNotes): Promise<FileStore> =>
      FileStore.open({ disk, reader: notes, segmentBytes: 65536 });
    let store = await open(new RecordedNotes());
    await batchOf([blobOf("x")], ["kept"]).appendTo(store);
    await store.checkpoint(() => new Uint8Array(Buffer.from("image")));
    await batchOf([], ["after"]).appendTo(store);
    await store.close();
    disk.flipBit("superblock", copy + 70, 3);
    const notes = new RecordedNotes();
    store = await open(notes);
    // From the checkpoint, or from the beginning: the notes say the same.
    if (notes.imageText === undefined) expect(notes.notes).toEqual(["kept", "after"]);
    else expect(notes).toMatchObject({ imageText: "image", notes: ["after"] });
    await store.close();
  }
});
