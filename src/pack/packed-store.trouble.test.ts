import { expect, test } from "vitest";
import { batchOf, blobOf, RecordedNotes } from "../blob/blob-store.compliance.ts";
import { CrashDisk } from "../blob/crash-disk.testing.ts";
import { FaultObjectStore } from "../object/fault-object-store.ts";
import { MemoryBucket, MemoryObjectStore } from "../object/memory-object-store.ts";
import { settle, TestClock } from "./clock.testing.ts";
import { decodeDocument, encodeDocument } from "./document.ts";
import { decodeHead, encodeHead } from "./head.ts";
import type { LeaseRecord } from "./lease.ts";
import { HEAD_KEY, LEASE_KEY, packKey } from "./pack-names.ts";
import type { PackedStore } from "./packed-store.ts";
import { openSmallStore } from "./packed-store.testing.ts";

/** What seldom goes wrong: answers that should not be, and stops and starts at a bad moment. */

const LONG_MS = 3_600_000;

const bytesIn = (bucket: MemoryBucket, key: string): Uint8Array => {
  const stored = bucket.objects.get(key);
  if (stored === undefined) throw new Error(`${key} is not in the bucket`);
  return stored.data;
};

/** Lets things happen without time passing. */
async function happens(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition() && turn < 2000; turn++) await settle(1);
  expect(condition()).toBe(true);
}

/** A bucket and a folder that a store has written to, and left in good order. */
async function writtenAndClosed(): Promise<{
  clock: TestClock;
  bucket: MemoryBucket;
  disk: CrashDisk;
}> {
  const clock = new TestClock();
  const bucket = new MemoryBucket();
  const disk = new CrashDisk();
  const store = await openSmallStore({ objects: new MemoryObjectStore(bucket), clock, disk });
  await batchOf([blobOf("written")], ["note"]).appendTo(store);
  await store.close();
  return { clock, bucket, disk };
}

/** Closes the store, and shows whether that is over. */
function watchedClose(store: PackedStore): { isOver: boolean; done: Promise<void> } {
  const closing = { isOver: false, done: store.close() };
  closing.done = closing.done.then(() => {
    closing.isOver = true;
  });
  return closing;
}

test("an uploader that is answered with a refusal says so, and goes on when it has passed", async () => {
  const clock = new TestClock();
  const messages: string[] = [];
  const objects = new FaultObjectStore(new MemoryObjectStore(new MemoryBucket()));
  const log = (_: string, message: string): void => void messages.push(message);
  const store = await openSmallStore({ objects, clock, log });
  objects.decide = ({ key }) => (key.startsWith("packs/") ? "unsupported" : undefined);
  await batchOf([blobOf("written")], ["note"]).appendTo(store);
  await clock.advance(30_000, 250);
  expect(store.remote).toMatchObject({ fenced: null, trouble: expect.stringContaining("packs/") });
  expect(messages).toEqual([expect.stringMatching(/is away: .*unsupported/)]);
  objects.decide = () => undefined;
  await clock.advance(30_000, 250);
  expect(store.remote).toMatchObject({ fenced: null, trouble: null, dirtyBytes: 0 });
  await store.close();
});

test("a stop waits for appends that wait for the lease, and then no longer", async () => {
  const clock = new TestClock();
  const bucket = new MemoryBucket();
  const objects = new MemoryObjectStore(bucket);
  const store = await openSmallStore({ objects, clock, uploadIntervalMs: LONG_MS });
  // The machine was asleep: whether the lease still holds is not certain.
  clock.jump(100_000);
  const written = batchOf([blobOf("written")], ["note"]).appendTo(store);
  const closing = watchedClose(store);
  await happens(() => closing.isOver);
  await Promise.all([written, closing.done]);
  const found = new RecordedNotes();
  await openSmallStore({ objects: new MemoryObjectStore(bucket), clock, reader: found });
  expect(found.notes).toEqual(["note"]);
});

test("a stop does not wait for ever for what is deleted", async () => {
  const { clock, bucket, disk } = await writtenAndClosed();
  bucket.write(packKey({ epoch: 1, counter: 999 }), new Uint8Array(8), undefined);

  const objects = new FaultObjectStore(new MemoryObjectStore(bucket));
  let deletes = 0;
  objects.decide = ({ operation }) => {
    if (operation !== "delete") return undefined;
    deletes++;
    return new Promise<never>(() => {});
  };
  const store = await openSmallStore({ objects, clock, disk, closeTimeoutMs: 10_000 });
  await settle(50);
  const closing = watchedClose(store);
  await happens(() => deletes > 0);
  expect(closing.isOver).toBe(false);
  await clock.advance(20_000, 500);
  await happens(() => closing.isOver);
  await closing.done;
  // In good order: the next owner waits for nothing.
  const lease = decodeDocument("lease", bytesIn(bucket, LEASE_KEY)) as LeaseRecord;
  expect(lease.isReleased).toBe(true);
});

test("a folder without writes of its own is never refused, also when a former owner is late", async () => {
  const { clock, bucket, disk } = await writtenAndClosed();
  const lease = decodeDocument("lease", bytesIn(bucket, LEASE_KEY)) as LeaseRecord;
  bucket.write(LEASE_KEY, encodeDocument("lease", { ...lease, epoch: 2 }), "other");

  // The owner of epoch 2 writes once more, between our look at the head and our own.
  const objects = new FaultObjectStore(new MemoryObjectStore(bucket));
  let heads = 0;
  objects.decide = ({ operation, key }) => {
    if (operation !== "putIfMatch" || key !== HEAD_KEY || ++heads > 1) return undefined;
    const head = decodeHead(bytesIn(bucket, HEAD_KEY), "the bucket");
    const late = { ...head, epoch: 2, counter: head.counter + 1, writer: "other" };
    bucket.write(HEAD_KEY, encodeHead(late), "other");
    return undefined;
  };
  const found = new RecordedNotes();
  const store = await openSmallStore({ objects, clock, disk, reader: found });
  expect(heads).toBe(2);
  expect(found.notes).toEqual(["note"]);
  expect(store.remote?.epoch).toBe(3);
  await store.close();
});
