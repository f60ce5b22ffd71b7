import { expect, test } from "vitest";
import { batchOf, blobOf, RecordedNotes } from "./blob-store.compliance.ts";
import { CrashDisk, type CrashDiskOptions, seededRandom } from "./crash-disk.testing.ts";
import { FileStore } from "./file-store.ts";

function openStore(
  disk: CrashDisk,
  segmentBytes: number,
  reader = new RecordedNotes(),
): Promise<FileStore> {
  return FileStore.open({ disk, reader, segmentBytes });
}

/** The notes that are found after a crash that keeps every write, or of unsynced ones none. */
async function notesAfterCrash(
  disk: CrashDisk,
  segmentBytes: number,
  keepsAll: boolean,
): Promise<string[]> {
  const choice = keepsAll
    ? { random: seededRandom(1), lastWriteSectors: Infinity }
    : { random: () => 0.4 };
  const notes = new RecordedNotes();
  await openStore(disk.reboot(choice), segmentBytes, notes);
  return notes.notes;
}

test("a whole frame whose sync failed gives way to the segment that took its number", async () => {
  for (const isClosed of [true, false]) {
    for (const framesAfter of [1, 4]) {
      const options: CrashDiskOptions = {};
      const disk = new CrashDisk(options);
      const store = await openStore(disk, 32768);
      const acknowledged: string[] = [];
      while (store.statistics.appendedBytes < 23_500) {
        const note = `before ${acknowledged.length}`;
        await batchOf([blobOf(note, 1900)], [note]).appendTo(store);
        acknowledged.push(note);
      }
      options.fault = (_operation, kind) => (kind === "sync" ? "EIO" : undefined);
      const failed = batchOf([blobOf("failed", 300)], ["failed"]).appendTo(store);
      await expect(failed).rejects.toThrow(/EIO/);
      options.fault = undefined;
      for (let frame = 0; frame < framesAfter; frame++) {
        const note = `after ${frame}`;
        await batchOf([blobOf(note, 6000)], [note]).appendTo(store);
        acknowledged.push(note);
      }
      if (isClosed) await store.close();
      else disk.crashNow();
      expect(await notesAfterCrash(disk, 32768, true)).toEqual(acknowledged);
    }
  }
});
