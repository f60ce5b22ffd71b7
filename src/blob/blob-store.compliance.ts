import { describe, expect, test } from "vitest";
import {
  AwaitedBatch,
  BlobFetch,
  type BlobStore,
  FetchOutcome,
  MARK_KEPT,
  type NoteReader,
  StoreFault,
} from "./blob-store.ts";
import { hashOf, hashToHex } from "./hash.ts";

/** A store under test: opened anew, or again on what it left behind. */
export interface StoreHarness {
  open(reader: NoteReader): Promise<BlobStore>;
  /** Flips a bit of the stored bytes of this blob, beneath the store. */
  damage(data: Uint8Array): Promise<void>;
}

export class RecordedNotes implements NoteReader {
  imageText: string | undefined;
  notes: string[] = [];

  image(bytes: Uint8Array): void {
    this.imageText = Buffer.from(bytes).toString();
    this.notes = [];
  }

  note(bytes: Uint8Array): void {
    this.notes.push(Buffer.from(bytes).toString());
  }
}

export function blobOf(text: string, lengthBytes = 4096): Uint8Array {
  return new Uint8Array(Buffer.alloc(lengthBytes, text));
}

export function batchOf(blobs: Uint8Array[], notes: string[]): AwaitedBatch {
  const batch = new AwaitedBatch(blobs.length);
  for (const data of blobs) batch.addBlob(hashOf(data), 0, data, 0, data.length);
  for (const note of notes) batch.notes.push(new Uint8Array(Buffer.from(note)));
  return batch;
}

class TestFetch extends BlobFetch {
  readonly #done = Promise.withResolvers<void>();

  constructor(hash: Uint8Array, capacityBytes: number) {
    super();
    this.hash.set(hash);
    this.target = new Uint8Array(capacityBytes + 8).fill(0xee);
    this.targetOffset = 8;
    this.capacityBytes = capacityBytes;
  }

  fetched(): void {
    this.#done.resolve();
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }
}

/** What every BlobStore must do. */
export function describeBlobStore(name: string, makeHarness: () => Promise<StoreHarness>): void {
  describe(`${name} as a BlobStore`, () => {
    test("gives back what was put, of any length", async () => {
      const store = await (await makeHarness()).open(new RecordedNotes());
      for (const length of [1, 63, 64, 65, 4096, 4136, 65536, 131072]) {
        const data = blobOf(`of ${length}`, length);
        const hash = hashOf(data);
        expect(await store.exists(hash)).toBe(false);
        await store.put(hash, data);
        expect(await store.exists(hash)).toBe(true);
        expect(await store.get(hash)).toEqual(data);
        expect(store.storedBytes(hash, 0)).toBe(length);
      }
      await store.close();
    });

    test("says when a blob is not stored", async () => {
      const store = await (await makeHarness()).open(new RecordedNotes());
      const hash = hashOf(blobOf("nothing"));
      await expect(store.get(hash)).rejects.toMatchObject({ kind: "missing" });
      expect(store.storedBytes(hash, 0)).toBe(-1);
      expect(store.exchangeMark(hash, 0, MARK_KEPT)).toBe(-1);
      await store.close();
    });

    test("fails a batch that was cancelled before its turn, and leaves nothing of it", async () => {
      const harness = await makeHarness();
      const store = await harness.open(new RecordedNotes());
      const first = batchOf([blobOf("first")], ["first"]);
      const second = batchOf([blobOf("second")], ["second"]);
      const third = batchOf([blobOf("second")], ["third"]);
      const order: string[] = [];
      const done = [
        first.appendTo(store).then(() => order.push("first")),
        second.appendTo(store).catch((fault: StoreFault) => order.push(fault.message)),
        third.appendTo(store).then(() => order.push("third")),
      ];
      second.cancelled = new StoreFault("writeFault", "cancelled");
      await Promise.all(done);
      expect(order).toEqual(["first", "cancelled", "third"]);
      expect(store.statistics.blobs).toBe(2);
      await store.close();
      const notes = new RecordedNotes();
      const again = await harness.open(notes);
      expect(notes.notes).toEqual(["first", "third"]);
      await again.close();
    });

    test("stores the same bytes once, within a batch and across batches", async () => {
      const store = await (await makeHarness()).open(new RecordedNotes());
      const data = blobOf("same");
      await batchOf([data, data], []).appendTo(store);
      const { blobs, blobBytes } = store.statistics;
      await Promise.all([batchOf([data], []).appendTo(store), batchOf([data], []).appendTo(store)]);
      expect(store.statistics).toMatchObject({ blobs, blobBytes, duplicateBlobs: 3 });
      expect(blobs).toBe(1);
      await store.close();
    });

    test("replays notes in order, after the last image, and finds all blobs again", async () => {
      const harness = await makeHarness();
      let store = await harness.open(new RecordedNotes());
      await batchOf([blobOf("a")], ["one", "two"]).appendTo(store);
      await Promise.all([
        batchOf([], ["three"]).appendTo(store),
        batchOf([blobOf("b")], [""]).appendTo(store),
        store.checkpoint(() => new Uint8Array(Buffer.from("the image"))),
        batchOf([blobOf("c")], ["four"]).appendTo(store),
      ]);
      await batchOf([], ["five"]).appendTo(store);
      await store.close();
      const notes = new RecordedNotes();
      store = await harness.open(notes);
      expect(notes).toMatchObject({ imageText: "the image", notes: ["four", "five"] });
      for (const text of ["a", "b", "c"]) {
        expect(await store.get(hashOf(blobOf(text)))).toEqual(blobOf(text));
      }
      await store.close();
    });

    test("calls for the image when everything before it is complete", async () => {
      const store = await (await makeHarness()).open(new RecordedNotes());
      const order: string[] = [];
      const before = batchOf([blobOf("1")], ["1"])
        .appendTo(store)
        .then(() => order.push("before"));
      const checkpoint = store.checkpoint(() => {
        order.push("image");
        return new Uint8Array(3_000_000);
      });
      const after = batchOf([blobOf("2")], ["2"])
        .appendTo(store)
        .then(() => order.push("after"));
      await Promise.all([before, checkpoint, after]);
      expect(order.indexOf("before")).toBeLessThan(order.indexOf("image"));
      expect(order.indexOf("image")).toBeLessThan(order.indexOf("after"));
      await store.close();
    });

    test("completes batches in the order in which they were appended", async () => {
      const store = await (await makeHarness()).open(new RecordedNotes());
      const order: number[] = [];
      const batches = Array.from({ length: 50 }, (_, number) => {
        const batch = batchOf([blobOf(`blob ${number % 7}`)], [`note ${number}`]);
        batch.durable = number % 3 === 0;
        return batch.appendTo(store).then(() => order.push(number));
      });
      await Promise.all([...batches, store.barrier()]);
      expect(order).toEqual(Array.from({ length: 50 }, (_, number) => number));
      expect(store.statistics.unsyncedBytes).toBe(0);
      await store.close();
    });

    test("serves fetches into the middle of a buffer, many at once", async () => {
      const store = await (await makeHarness()).open(new RecordedNotes());
      const blobs = Array.from({ length: 300 }, (_, number) =>
        blobOf(`${number}`, 64 + number * 16),
      );
      for (let first = 0; first < blobs.length; first += 50) {
        await batchOf(blobs.slice(first, first + 50), []).appendTo(store);
      }
      const fetches = blobs.map((data) => new TestFetch(hashOf(data), data.length));
      const missing = new TestFetch(hashOf(blobOf("missing")), 10);
      for (const fetch of [...fetches, missing]) store.fetch(fetch);
      store.submit();
      await Promise.all([...fetches, missing].map(({ done }) => done));
      expect(missing.outcome).toBe(FetchOutcome.missing);
      fetches.forEach((fetch, number) => {
        const data = blobs[number];
        expect(fetch.outcome).toBe(FetchOutcome.ok);
        expect(fetch.lengthBytes).toBe(data.length);
        expect(fetch.target.subarray(8)).toEqual(data);
        expect(fetch.target.subarray(0, 8)).toEqual(new Uint8Array(8).fill(0xee));
      });
      await store.close();
    });

    test("never hands out bytes that do not match their name; others still read", async () => {
      const harness = await makeHarness();
      let store = await harness.open(new RecordedNotes());
      const blobs = ["left", "bad", "right"].map((text) => blobOf(text));
      await batchOf(blobs, []).appendTo(store);
      await batchOf([blobOf("later")], []).appendTo(store);
      await store.close();
      await harness.damage(blobs[1]);
      store = await harness.open(new RecordedNotes());
      const fetches = blobs.map((data) => new TestFetch(hashOf(data), data.length));
      for (const fetch of fetches) store.fetch(fetch);
      store.submit();
      await Promise.all(fetches.map(({ done }) => done));
      expect(fetches.map(({ outcome }) => outcome)).toEqual([
        FetchOutcome.ok,
        FetchOutcome.damaged,
        FetchOutcome.ok,
      ]);
      await expect(store.get(hashOf(blobs[1]))).rejects.toMatchObject({ kind: "damaged" });
      const found: string[] = [];
      const progress = { blobs: 0, bytes: 0, remainingBytes: 0 };
      let cursor = 0;
      do {
        cursor = await store.scrub(cursor, ({ hash }) => found.push(hashToHex(hash)), progress);
      } while (cursor !== 0);
      expect(found).toEqual([hashToHex(hashOf(blobs[1]))]);
      expect(progress.blobs).toBe(4);
      await store.close();
    });

    test("sweeps what is unmarked and keeps what is marked or put meanwhile", async () => {
      const harness = await makeHarness();
      let store = await harness.open(new RecordedNotes());
      const blobs = Array.from({ length: 500 }, (_, number) => blobOf(`blob ${number}`));
      for (const data of blobs) await store.put(hashOf(data), data);
      await store.checkpoint(() => new Uint8Array(1));
      await store.checkpoint(() => new Uint8Array(1));
      store.beginMarking(true);
      const kept = blobs.filter((_, number) => number % 5 === 0);
      for (const data of kept) {
        expect(store.exchangeMark(hashOf(data), 0, MARK_KEPT)).toBe(0);
        expect(store.exchangeMark(hashOf(data), 0, MARK_KEPT)).toBe(MARK_KEPT);
      }
      const again = blobs[1];
      await store.put(hashOf(again), again);
      const fresh = blobOf("fresh");
      await store.put(hashOf(fresh), fresh);
      const report = await store.sweep({ liveThreshold: 1, pace: async () => {} });
      store.endMarking();
      expect(report.bytesFreed).toBeGreaterThan(0);
      const survivors = [...kept, again, fresh];
      for (const data of survivors) expect(await store.get(hashOf(data))).toEqual(data);
      await store.close();
      store = await harness.open(new RecordedNotes());
      for (const data of survivors) expect(await store.get(hashOf(data))).toEqual(data);
      // What was swept can be put again.
      for (const data of blobs) await store.put(hashOf(data), data);
      for (const data of blobs) expect(await store.get(hashOf(data))).toEqual(data);
      await store.close();
    });

    test("refuses everything after it was closed", async () => {
      const store = await (await makeHarness()).open(new RecordedNotes());
      await store.close();
      const data = blobOf("late");
      await expect(store.put(hashOf(data), data)).rejects.toBeInstanceOf(StoreFault);
      await expect(store.checkpoint(() => data)).rejects.toMatchObject({ kind: "unavailable" });
    });
  });
}
