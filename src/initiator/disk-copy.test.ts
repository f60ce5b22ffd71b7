import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { copyDisk, type DiskEnd, firstDifference } from "./disk-copy.ts";

const MIB = 1024 * 1024;

class MemoryEnd implements DiskEnd {
  readonly name = "memory";
  readonly bytes: Uint8Array;
  written = 0;
  underWay = 0;
  /** Reads and writes from here on fail. */
  failsAt = Number.POSITIVE_INFINITY;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    await this.#wait(offsetBytes);
    return this.bytes.slice(offsetBytes, offsetBytes + lengthBytes);
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    await this.#wait(offsetBytes);
    this.bytes.set(data, offsetBytes);
    this.written += data.length;
  }

  async #wait(offsetBytes: number): Promise<void> {
    this.underWay++;
    await new Promise((resolve) => setImmediate(resolve));
    this.underWay--;
    if (offsetBytes >= this.failsAt) throw new Error(`failed at ${offsetBytes}`);
  }
}

/** A disk of zeros with data in some places, in sectors. */
const disks = fc
  .tuple(
    fc.integer({ min: 1, max: 2500 }),
    fc.array(
      fc.tuple(fc.nat(2500), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 255 })),
    ),
  )
  .map(([sectors, places]) => {
    const bytes = new Uint8Array(sectors * 512);
    for (const [first, length, octet] of places) {
      bytes.fill(octet, first * 512, (first + length) * 512);
    }
    return bytes;
  });

describe("copyDisk", () => {
  test("gives the destination what the source has, and leaves the rest", async () => {
    await fc.assert(
      fc.asyncProperty(disks, fc.nat(100), async (bytes, moreSectors) => {
        const destination = new MemoryEnd(new Uint8Array(bytes.length + moreSectors * 512).fill(9));
        const progress: number[] = [];
        const written = await copyDisk(new MemoryEnd(bytes), destination, {
          isDestinationZero: false,
          onProgress: (done) => progress.push(done),
        });
        expect(written).toBe(bytes.length);
        expect(Buffer.compare(destination.bytes.subarray(0, bytes.length), bytes)).toBe(0);
        expect(destination.bytes.subarray(bytes.length).every((octet) => octet === 9)).toBe(true);
        expect(progress.at(-1)).toBe(bytes.length);
      }),
      { numRuns: 60 },
    );
  });

  test("writes no block of zeros to a destination of zeros", async () => {
    await fc.assert(
      fc.asyncProperty(disks, async (bytes) => {
        const destination = new MemoryEnd(new Uint8Array(bytes.length));
        const written = await copyDisk(new MemoryEnd(bytes), destination, {
          isDestinationZero: true,
        });
        expect(Buffer.compare(destination.bytes, bytes)).toBe(0);
        let blocksOfData = 0;
        for (let at = 0; at < bytes.length; at += 4096) {
          const block = bytes.subarray(at, at + 4096);
          if (block.some((octet) => octet !== 0)) blocksOfData += block.length;
        }
        expect(written).toBe(blocksOfData);
        expect(destination.written).toBe(written);
      }),
      { numRuns: 60 },
    );
  });

  test.each(["source", "destination"])(
    "a failure of the %s ends it with nothing under way",
    async (end) => {
      const [source, destination] = [
        new Uint8Array(20 * MIB).fill(1),
        new Uint8Array(20 * MIB),
      ].map((bytes) => new MemoryEnd(bytes));
      (end === "source" ? source : destination).failsAt = 5 * MIB;
      const copying = copyDisk(source, destination, { isDestinationZero: false });
      await expect(copying).rejects.toThrow(/failed at/);
      expect([source.underWay, destination.underWay]).toEqual([0, 0]);
      expect(destination.written).toBeLessThan(10 * MIB);
    },
  );

  test("ends when it is told to", async () => {
    const ending = new AbortController();
    const copying = copyDisk(
      new MemoryEnd(new Uint8Array(20 * MIB)),
      new MemoryEnd(new Uint8Array(20 * MIB)),
      {
        isDestinationZero: false,
        signal: ending.signal,
        onProgress: (done) => {
          if (done > 5 * MIB) ending.abort(new Error("enough"));
        },
      },
    );
    await expect(copying).rejects.toThrow("enough");
  });
});

test("firstDifference finds the first octet that differs, wherever it is", async () => {
  await fc.assert(
    fc.asyncProperty(disks, fc.array(fc.nat(), { maxLength: 4 }), async (bytes, places) => {
      const other = Uint8Array.from(bytes);
      for (const place of places) other[place % bytes.length] ^= 1;
      const differing = bytes.findIndex((octet, index) => octet !== other[index]);
      const found = await firstDifference(new MemoryEnd(bytes), new MemoryEnd(other), {});
      expect(found).toBe(differing === -1 ? undefined : differing);
    }),
    { numRuns: 60 },
  );
});
