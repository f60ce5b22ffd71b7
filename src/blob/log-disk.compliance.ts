import { describe, expect, test } from "vitest";
import { systemErrorCode } from "../errors.ts";
import type { LogDisk, LogFile } from "./log-disk.ts";

/** A disk under test. */
export interface DiskHarness {
  readonly disk: LogDisk;
  /** What another process finds that opens the folder now. */
  reopen(): Promise<LogDisk>;
}

function bytes(text: string, lengthBytes = 512): Uint8Array {
  return new Uint8Array(Buffer.alloc(lengthBytes, text));
}

async function contentOf(file: LogFile, position: number, lengthBytes: number): Promise<string> {
  const target = new Uint8Array(lengthBytes);
  const count = await file.read(target, position);
  return Buffer.from(target.subarray(0, count)).toString("latin1");
}

function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return work.then(
    () => undefined,
    (error: unknown) => systemErrorCode(error),
  );
}

/** What the segment log relies on, of the real disk and of the one that the tests crash. */
export function describeLogDisk(name: string, makeHarness: () => Promise<DiskHarness>): void {
  describe(`${name} as a LogDisk`, () => {
    test("creates, lists, opens and removes files by their names", async () => {
      const { disk } = await makeHarness();
      const first = await disk.create("first");
      const second = await disk.create("second");
      expect((await disk.list()).toSorted()).toEqual(["first", "second"]);
      expect(await codeOf(disk.create("first"))).toBe("EEXIST");
      expect(await codeOf(disk.open("third"))).toBe("ENOENT");
      expect(await codeOf(disk.remove("third"))).toBe("ENOENT");
      await first.close();
      await disk.remove("first");
      await disk.syncNames();
      expect(await disk.list()).toEqual(["second"]);
      expect(await codeOf(disk.open("first"))).toBe("ENOENT");
      await second.close();
    });

    test("reads what was written, at any place and of any length", async () => {
      const { disk } = await makeHarness();
      const file = await disk.create("file");
      expect(file.sizeBytes).toBe(0);
      await file.write(bytes("a", 4096), 0);
      await file.write(bytes("b", 512), 1024);
      await file.write(bytes("c", 3), 4095);
      expect(file.sizeBytes).toBe(4098);
      const whole = await contentOf(file, 0, 4098);
      expect(whole).toBe("a".repeat(1024) + "b".repeat(512) + "a".repeat(2559) + "ccc");
      expect(await contentOf(file, 1023, 3)).toBe("abb");
      await file.close();
    });

    test("reads less only at the end of the file, and holes as zeros", async () => {
      const { disk } = await makeHarness();
      const file = await disk.create("file");
      expect(await contentOf(file, 0, 10)).toBe("");
      await file.write(bytes("end", 512), 1024 * 1024);
      expect(file.sizeBytes).toBe(1024 * 1024 + 512);
      expect(await contentOf(file, 512, 4)).toBe("\0\0\0\0");
      expect((await contentOf(file, 1024 * 1024 + 500, 100)).length).toBe(12);
      expect(await contentOf(file, 2 * 1024 * 1024, 100)).toBe("");
      await file.close();
    });

    test("takes several writes and reads at once", async () => {
      const { disk } = await makeHarness();
      const file = await disk.create("file");
      const places = Array.from({ length: 16 }, (_, place) => place);
      await Promise.all(places.map((place) => file.write(bytes(`${place},`), place * 512)));
      const read = await Promise.all(places.map((place) => contentOf(file, place * 512, 4)));
      expect(read).toEqual(places.map((place) => `${place},${place},${place},`.slice(0, 4)));
      await file.close();
    });

    test("keeps what was synced, in each of the ways to do it", async () => {
      const harness = await makeHarness();
      const { disk } = harness;
      const file = await disk.create("file");
      await disk.syncNames();
      await file.writeDurably(bytes("1"), 0);
      await file.write(bytes("2"), 512);
      await file.writeDurably(bytes("3"), 1024);
      await file.write(bytes("4"), 1536);
      await file.syncAhead();
      await file.sync();
      await file.writeDurably(bytes("5"), 2048);
      const again = await (await harness.reopen()).open("file");
      expect(again.sizeBytes).toBe(2560);
      for (let place = 0; place < 5; place++) {
        expect(await contentOf(again, place * 512, 2)).toBe(`${place + 1}${place + 1}`);
      }
      await again.close();
      await file.close();
    });

    test("two handles of one file see each other's writes", async () => {
      const { disk } = await makeHarness();
      const file = await disk.create("file");
      const other = await disk.open("file");
      await file.writeDurably(bytes("one"), 0);
      expect(await contentOf(other, 0, 3)).toBe("one");
      await other.write(bytes("two"), 0);
      expect(await contentOf(file, 0, 3)).toBe("two");
      await other.close();
      await file.close();
    });
  });
}
