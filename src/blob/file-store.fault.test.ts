import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { batchOf, blobOf, RecordedNotes } from "./blob-store.compliance.ts";
import { MARK_KEPT } from "./blob-store.ts";
import { CrashDisk, type CrashDiskOptions, seededRandom } from "./crash-disk.testing.ts";
import { FileStore } from "./file-store.ts";
import { FooterEntries } from "./footer-entries.ts";
import { hashOf } from "./hash.ts";
import { type FrameHeader, FrameKind, sealFrame } from "./segment-format.ts";

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

function holds(disk: CrashDisk, name: string, data: Uint8Array): boolean {
  return name.startsWith("segment") && Buffer.from(disk.contents(name)).includes(data);
}

/** Time for what goes on in the background; the disk in memory needs no more. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await nextTurn();
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
      delete options.fault;
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

test("writes that are lost in the background make the next barrier fail", async () => {
  const options: CrashDiskOptions = {};
  const disk = new CrashDisk(options);
  const store = await openStore(disk, 1024 * 1024);
  await batchOf([blobOf("first")], ["first"]).appendTo(store);
  await settle();
  let losses = 0;
  options.losesWrites = (name) => name.startsWith("segment") && ++losses === 1;
  for (let frame = 0; frame < 40; frame++) {
    const batch = batchOf([blobOf(`blob ${frame}`, 1000)], [`note ${frame}`]);
    batch.durable = false;
    await batch.appendTo(store);
  }
  await settle();
  expect(losses, "a sync in the background").toBe(1);
  await expect(store.barrier()).rejects.toThrow(/EIO|lost/);
  await expect(batchOf([], ["later"]).appendTo(store)).rejects.toThrow(/lost acknowledged writes/);
});

test("the header of a segment that is used again survives a first sync that fails", async () => {
  const options: CrashDiskOptions = {};
  const disk = new CrashDisk(options);
  const store = await openStore(disk, 32768);
  const written: string[] = [];
  for (; written.length < 40; written.push(`note ${written.length}`)) {
    const note = `note ${written.length}`;
    await batchOf([blobOf(note, 3000)], [note]).appendTo(store);
  }
  for (let twice = 0; twice < 2; twice++) await store.checkpoint(() => new Uint8Array(1));
  store.beginMarking(true);
  const report = await store.sweep({ liveThreshold: 0.5, pace: async () => {} });
  store.endMarking();
  expect(report.segmentsFreed).toBeGreaterThan(0);
  let losses = 0;
  options.losesWrites = (name, unsynced) => {
    const hasHeader = name.startsWith("segment") && unsynced.some(({ position }) => position === 0);
    return hasHeader && ++losses === 1;
  };
  const acknowledged: string[] = [];
  for (let frame = 0; frame < 20; frame++) {
    const note = `again ${frame}`;
    const append = (): Promise<void> => batchOf([blobOf(note, 3000)], [note]).appendTo(store);
    await append().catch(append);
    acknowledged.push(note);
    expect(await notesAfterCrash(disk, 32768, false)).toEqual(acknowledged);
  }
  expect(losses).toBeGreaterThan(1);
});

test("a blob whose frame failed is not taken for stored by a batch that came behind", async () => {
  const options: CrashDiskOptions = {};
  const disk = new CrashDisk(options);
  const store = await openStore(disk, 1024 * 1024);
  await batchOf([blobOf("first")], ["first"]).appendTo(store);
  await settle();
  const data = blobOf("never stored");
  let second: Promise<unknown> | undefined;
  options.fault = (_operation, kind) => {
    if (kind !== "sync") return undefined;
    second ??= batchOf([data], ["second"]).appendTo(store).catch(String);
    return "EIO";
  };
  await expect(batchOf([data], ["one"]).appendTo(store)).rejects.toThrow(/EIO/);
  expect(await second).toMatch(/EIO/);
  delete options.fault;
  expect(await store.exists(hashOf(data))).toBe(false);
  await batchOf([data], ["third"]).appendTo(store);
  expect(await store.get(hashOf(data))).toEqual(data);
});

test("a segment stays while it holds blobs that cannot be listed", async () => {
  const options: CrashDiskOptions = {};
  const disk = new CrashDisk(options);
  const store = await openStore(disk, 32768);
  const blobs = Array.from({ length: 30 }, (_, number) => blobOf(`blob ${number} `, 3000));
  // As on a full disk: the segments stay without footers.
  const writeFooter = vi.spyOn(FooterEntries.prototype, "writeFooter");
  writeFooter.mockRejectedValue(Object.assign(new Error("full"), { code: "ENOSPC" }));
  for (const data of blobs) await batchOf([data], ["note"]).appendTo(store);
  writeFooter.mockRestore();
  for (let twice = 0; twice < 2; twice++) await store.checkpoint(() => new Uint8Array(1));
  const name = [...disk.files().keys()].find((file) => holds(disk, file, blobs[1]));
  if (name === undefined) throw new Error("the blob is nowhere");
  const secondFrame = Buffer.from(disk.contents(name)).indexOf("aoedfram", 4097);
  disk.flipBit(name, secondFrame + 30, 0);
  const inSegment = blobs.filter((data) => holds(disk, name, data));
  const wanted = inSegment.slice(0, 3);
  store.beginMarking(true);
  for (const data of blobs) {
    if (!inSegment.includes(data) || wanted.includes(data)) {
      store.exchangeMark(hashOf(data), 0, MARK_KEPT);
    }
  }
  const sweep = store.sweep({ liveThreshold: 0.6, pace: async () => {} });
  await expect(sweep).rejects.toThrow(/1 blobs in segment-[0-9]+ are not in any frame/);
  store.endMarking();
  for (let number = 0; number < 8; number++) {
    await batchOf([blobOf(`later ${number}`, 3000)], ["note"]).appendTo(store);
  }
  for (const data of wanted) expect(await store.get(hashOf(data))).toEqual(data);
});

test("a checkpoint goes to the reserve when the disk or the quota is full", async () => {
  for (const code of ["ENOSPC", "EDQUOT"]) {
    const options: CrashDiskOptions = {};
    const disk = new CrashDisk(options);
    const store = await openStore(disk, 32768);
    await batchOf([blobOf("first")], ["first"]).appendTo(store);
    await settle();
    const active = [...disk.files().keys()].find((name) => holds(disk, name, blobOf("first")));
    options.fault = (_operation, kind, name) =>
      kind === "create" || (kind === "write" && name === active) ? code : undefined;
    await expect(batchOf([blobOf("more")], ["more"]).appendTo(store)).rejects.toThrow(code);
    await store.checkpoint(() => new Uint8Array(Buffer.from("image")));
    await store.close();
    const notes = new RecordedNotes();
    await openStore(disk.reboot({ random: () => 0.4 }), 32768, notes);
    expect(notes).toMatchObject({ imageText: "image", notes: [] });
  }
});

/** A blob that is full of headers of frames, as good as they can be made without the store id. */
function forgedFrames(): Uint8Array {
  const blob = new Uint8Array(4096);
  const frame = new Uint8Array(512);
  const header: FrameHeader = {
    segmentNumber: 1,
    sequence: 2 ** 40,
    syncedSequence: 2 ** 39,
    epoch: 1,
    previousChecksum: 0,
    frameBytes: 512,
    blobCount: 0,
    notesBytes: 0,
    kind: FrameKind.data,
    isLast: false,
    headerChecksum: 0,
  };
  sealFrame(frame, header, 0);
  for (let at = 0; at < blob.length; at += 64) blob.set(frame.subarray(0, 64), at);
  return blob;
}

test("a blob that looks like frames proves nothing about the log", async () => {
  for (let seed = 1; seed <= 100; seed++) {
    const options: CrashDiskOptions = {};
    const disk = new CrashDisk(options);
    const store = await openStore(disk, 65536);
    await batchOf([blobOf("first")], ["first"]).appendTo(store);
    await settle();
    options.observe = (kind) => {
      if (kind === "write") disk.crashNow();
    };
    void batchOf([forgedFrames()], ["forged"]).appendTo(store);
    await disk.whenCrashed;
    const notes = new RecordedNotes();
    await openStore(disk.reboot({ random: seededRandom(seed) }), 65536, notes);
    expect(notes.notes[0], `seed ${seed}`).toBe("first");
  }
});

test("files stay open until a footer is written, also when closing fails", async () => {
  const options: CrashDiskOptions = {};
  const disk = new CrashDisk(options);
  const closed: string[] = [];
  const create = disk.create.bind(disk);
  disk.create = async (name) => {
    const file = await create(name);
    file.close = async () => void closed.push(name);
    return file;
  };
  const store = await openStore(disk, 32768);
  const footer = Promise.withResolvers<void>();
  const writeFooter = vi.spyOn(FooterEntries.prototype, "writeFooter");
  writeFooter.mockReturnValue(footer.promise);
  try {
    for (let frame = 0; writeFooter.mock.calls.length === 0; frame++) {
      const batch = batchOf([blobOf(`blob ${frame}`, 3000)], ["note"]);
      batch.durable = false;
      await batch.appendTo(store);
    }
    options.fault = (_operation, kind) => (kind === "sync" ? "EIO" : undefined);
    const closing = expect(store.close()).rejects.toThrow(/EIO/);
    await settle();
    expect(closed).toEqual([]);
    footer.resolve();
    await closing;
    expect(closed).toContain("segment-00000000");
  } finally {
    writeFooter.mockRestore();
  }
});
