import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type BlockRequest, BlockStatus, SECTOR_BYTES } from "./block-storage.ts";
import { finish, type TestDisk, type TestRequest } from "./block-storage.testing.ts";

/** At least so many sectors must the disks have that the suite is run over. */
export const COMPLIANCE_SECTORS = 8192;

/** Two regions of the overlap table, so that requests overlap often and cross its borders. */
const CROWDED_SECTORS = 96;

export interface ComplianceSubject {
  readonly disk: TestDisk;
  /** Lets go of what the disk stood on; the storage is closed before. */
  readonly dispose: () => Promise<void> | void;
}

/** The promises of BlockStorage, for an implementation whose disks are new, zeroed and writable. */
export function blockStorageCompliance(
  name: string,
  open: () => Promise<ComplianceSubject> | ComplianceSubject,
): void {
  describe(name, () => {
    let subject: ComplianceSubject;
    let disk: TestDisk;

    beforeEach(async () => {
      subject = await open();
      disk = subject.disk;
    });

    afterEach(async () => {
      await disk.storage.close();
      await subject.dispose();
    });

    const access = (): TestDisk => disk;
    describe("data", () => dataTests(access));
    describe("order", () => orderTests(access));
    describe("completion", () => completionTests(access));
    describe("model", () => modelTests(access));
  });
}

function dataTests(access: () => TestDisk): void {
  test("says what it is", () => {
    const info = access().storage.info();
    expect(info.description).not.toBe("");
    expect(info.sectors).toBeGreaterThanOrEqual(COMPLIANCE_SECTORS);
    expect([512, 4096]).toContain(info.physicalBlockBytes);
    expect(access().storage.info()).toBe(info);
  });

  test("a new disk reads as zeros", async () => {
    const data = await access().readBack(100, 16);
    expect(data.every((octet) => octet === 0)).toBe(true);
  });

  test.each([1, 2, 3, 8, 15, 16, 17, 128, 1000])("keeps %i sectors", async (lengthSectors) => {
    const disk = access();
    const lba = 331;
    const write = disk.write(lba, lengthSectors, 0);
    const expected = disk.data(write).map((_, index) => (index * 7 + (index >>> 9)) & 0xff);
    disk.data(write).set(expected);
    expect(await finish(disk, [write])).toEqual([BlockStatus.ok]);
    expect(await disk.readBack(lba, lengthSectors)).toEqual(expected);
    const around = await disk.readBack(lba - 1, lengthSectors + 2);
    expect(around.subarray(0, SECTOR_BYTES).every((octet) => octet === 0)).toBe(true);
    expect(around.subarray(-SECTOR_BYTES).every((octet) => octet === 0)).toBe(true);
  });

  test("reaches the first and the last sector", async () => {
    const disk = access();
    const last = disk.storage.info().sectors - 1;
    const statuses = await finish(disk, [disk.write(0, 1, 1), disk.write(last, 1, 2)]);
    expect(statuses).toEqual([BlockStatus.ok, BlockStatus.ok]);
    expect((await disk.readBack(0, 2))[0]).toBe(1);
    expect((await disk.readBack(last, 1))[511]).toBe(2);
    expect((await disk.readBack(last - 15, 16))[15 * SECTOR_BYTES]).toBe(2);
  });

  test("a read touches no memory but its own", async () => {
    const disk = access();
    const before = disk.read(0, 1);
    const read = disk.read(8, 3);
    const after = disk.read(0, 1);
    await finish(disk, [before, read, after]);
    disk.data(before).fill(0x11);
    disk.data(after).fill(0x22);
    disk.storage.read(read);
    disk.submit();
    await expect.poll(() => read.completions).toBe(2);
    expect(disk.data(before).every((octet) => octet === 0x11)).toBe(true);
    expect(disk.data(after).every((octet) => octet === 0x22)).toBe(true);
  });

  test("trimmed sectors read as zeros, their neighbours as before", async ({ skip }) => {
    const disk = access();
    if (!disk.storage.info().canTrim) skip("this disk cannot trim");
    await finish(disk, [disk.write(0, 64, 5)]);
    expect(await finish(disk, [disk.trim(3, 42)])).toEqual([BlockStatus.ok]);
    const data = await disk.readBack(0, 64);
    expect(data.map((octet, index) => (isIn(index, 3, 42) ? octet : 5 - octet))).toEqual(
      new Uint8Array(64 * SECTOR_BYTES),
    );
  });
}

function isIn(octet: number, lba: number, lengthSectors: number): boolean {
  const sector = Math.floor(octet / SECTOR_BYTES);
  return sector >= lba && sector < lba + lengthSectors;
}

function orderTests(access: () => TestDisk): void {
  test("overlapping writes take effect in order", async () => {
    const disk = access();
    const writes: TestRequest[] = [];
    for (let value = 1; value <= 200; value++) {
      writes.push(disk.write(64 + (value % 4), 8, value));
      if (value % 3 === 0) disk.submit();
    }
    await finish(disk, writes);
    const data = await disk.readBack(64, 11);
    // The last four begin at 65, 66, 67 and 64.
    const firsts = Array.from({ length: 11 }, (_, sector) => data[sector * SECTOR_BYTES]);
    expect(firsts).toEqual([200, 200, 200, 200, 200, 200, 200, 200, 199, 199, 199]);
  });

  test("a read sees the writes before it and none after", async () => {
    const disk = access();
    const reads: TestRequest[] = [];
    const others: TestRequest[] = [];
    for (let value = 1; value <= 100; value++) {
      others.push(disk.write(16, 16, value));
      reads.push(disk.read(12, 16));
      if (value % 7 === 0) disk.submit();
    }
    await finish(disk, [...reads, ...others]);
    const seen = reads.map((read) => disk.data(read)[4 * SECTOR_BYTES]);
    expect(seen).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
  });

  test("identical reads all get their data", async () => {
    const disk = access();
    await finish(disk, [disk.write(40, 8, 9)]);
    const reads = Array.from({ length: 50 }, () => disk.read(40, 8));
    await finish(disk, reads);
    for (const read of reads) {
      expect(disk.data(read).every((octet) => octet === 9)).toBe(true);
    }
  });

  test("trims and writes of the same sectors take effect in order", async ({ skip }) => {
    const disk = access();
    if (!disk.storage.info().canTrim) skip("this disk cannot trim");
    const requests = [
      disk.write(0, 16, 1),
      disk.trim(4, 8),
      disk.write(6, 2, 3),
      disk.read(0, 16),
      disk.trim(0, 16),
    ];
    expect(await finish(disk, requests)).toEqual(requests.map(() => BlockStatus.ok));
    const data = disk.data(requests[3]);
    const firsts = Array.from({ length: 16 }, (_, sector) => data[sector * SECTOR_BYTES]);
    expect(firsts).toEqual([1, 1, 1, 1, 0, 0, 3, 3, 0, 0, 0, 0, 1, 1, 1, 1]);
    expect((await disk.readBack(0, 16)).every((octet) => octet === 0)).toBe(true);
  });

  test("a flush completes after every write and trim before it", async () => {
    const disk = access();
    const order: BlockRequest[] = [];
    const note = (request: TestRequest): TestRequest => {
      request.onCompleted = (done) => order.push(done);
      return request;
    };
    const before = Array.from({ length: 40 }, (_, index) => note(disk.write(index % 9, 8, index)));
    // The last of them waits for a read.
    before.push(note(disk.read(500, 8)), note(disk.write(500, 8, 1)));
    const flush = note(disk.flush());
    const after = note(disk.write(200, 8, 1));
    expect(await finish(disk, [...before, flush, after])).not.toContain(BlockStatus.writeFault);
    const place = order.indexOf(flush);
    for (const write of before) expect(order.indexOf(write)).toBeLessThan(place);
  });

  test("a flush of nothing completes", async () => {
    const disk = access();
    const statuses = await finish(disk, [disk.flush(), disk.flush()]);
    expect(statuses).toEqual([BlockStatus.ok, BlockStatus.ok]);
  });
}

function completionTests(access: () => TestDisk): void {
  test("nothing completes before it is submitted", async () => {
    const disk = access();
    const requests = [disk.read(0, 8), disk.write(8, 8, 1), disk.flush()];
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
    expect(requests.map((request) => request.completions)).toEqual([0, 0, 0]);
    await finish(disk, requests);
    expect(requests.map((request) => request.completions)).toEqual([1, 1, 1]);
  });

  test("an owner may hand over more while it gets a request back", async () => {
    const disk = access();
    const chain: TestRequest[] = [];
    await new Promise<void>((resolve) => {
      const step = (): void => {
        const depth = chain.length;
        if (depth === 300) {
          resolve();
          return;
        }
        const isWrite = depth % 2 === 0;
        const request = isWrite ? disk.write(depth % 5, 4, depth & 0xff) : disk.read(depth % 5, 4);
        chain.push(request);
        request.onCompleted = step;
        disk.submit();
      };
      step();
    });
    expect(chain.every((request) => request.status === BlockStatus.ok)).toBe(true);
    expect(chain.every((request) => request.completions === 1)).toBe(true);
  });

  test("thousands of requests at once complete once each", async () => {
    const disk = access();
    const requests: TestRequest[] = [];
    for (let index = 0; index < 4000; index++) {
      const lba = (index * 131) % (COMPLIANCE_SECTORS - 2);
      requests.push(index % 3 === 0 ? disk.write(lba, 2, index & 0xff) : disk.read(lba, 2));
    }
    const statuses = await finish(disk, requests);
    expect(statuses.every((status) => status === BlockStatus.ok)).toBe(true);
    await finish(disk, [disk.flush()]);
    expect(requests.every((request) => request.completions === 1)).toBe(true);
  });

  test("close completes what is in flight; later requests are unavailable", async () => {
    const disk = access();
    const requests = Array.from({ length: 30 }, (_, index) => disk.write(index, 4, index));
    requests.push(disk.read(0, 8), disk.flush());
    const closed = disk.storage.close();
    await closed;
    expect(requests.map((request) => request.status)).toEqual(requests.map(() => BlockStatus.ok));
    expect(requests.every((request) => request.completions === 1)).toBe(true);
    const late = [disk.read(0, 1), disk.write(0, 1, 1), disk.flush()];
    const statuses = await finish(disk, late);
    expect(statuses).toEqual(late.map(() => BlockStatus.unavailable));
    await disk.storage.close();
  });
}

interface Access {
  readonly kind: "read" | "write" | "trim";
  readonly lba: number;
  readonly sectors: number;
}

type Step = Access | { readonly kind: "flush" | "submit" | "wait" };

const range = {
  lba: fc.nat({ max: CROWDED_SECTORS - 1 }),
  sectors: fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 1, max: 16 }) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: CROWDED_SECTORS }) },
  ),
};

function accessOf(kind: Access["kind"]): fc.Arbitrary<Access> {
  return fc.record({ kind: fc.constant(kind), ...range });
}

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: accessOf("read") },
  { weight: 6, arbitrary: accessOf("write") },
  { weight: 1, arbitrary: accessOf("trim") },
  { weight: 1, arbitrary: fc.constant({ kind: "flush" as const }) },
  { weight: 3, arbitrary: fc.constant({ kind: "submit" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "wait" as const }) },
);

function modelTests(access: () => TestDisk): void {
  test("behaves as an array of octets that is changed in the order of the requests", async () => {
    const disk = access();
    const model = new Uint8Array(CROWDED_SECTORS * SECTOR_BYTES);
    model.set(await disk.readBack(0, CROWDED_SECTORS));
    let value = 0;

    const property = fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 120 }), (steps) =>
      new ModelRun(disk, model, () => (value = (value % 250) + 1)).run(steps),
    );
    // A failure prints its seed. Shrinking would go on with a disk that differs from the model.
    await fc.assert(property, { numRuns: 60, endOnFailure: true });
  });
}

/** A run of the model test: the disk, and what it must hold. */
class ModelRun {
  readonly #disk: TestDisk;
  readonly #model: Uint8Array;
  readonly #nextValue: () => number;
  readonly #requests: TestRequest[] = [];
  readonly #reads: { request: TestRequest; expected: Uint8Array }[] = [];

  constructor(disk: TestDisk, model: Uint8Array, nextValue: () => number) {
    this.#disk = disk;
    this.#model = model;
    this.#nextValue = nextValue;
  }

  async run(steps: readonly Step[]): Promise<void> {
    this.#disk.reuseMemory();
    for (const each of steps) {
      if ("lba" in each) this.#access(each);
      else if (each.kind === "submit") this.#disk.submit();
      else if (each.kind === "wait") await finish(this.#disk, this.#requests);
      else this.#requests.push(this.#disk.flush());
    }
    const statuses = await finish(this.#disk, this.#requests);
    expect(statuses.filter((status) => status !== BlockStatus.ok)).toEqual([]);
    for (const { request, expected } of this.#reads) {
      expect(Buffer.compare(this.#disk.data(request), expected), `sector ${request.lba}`).toBe(0);
    }
    const all = await this.#disk.readBack(0, CROWDED_SECTORS);
    expect(Buffer.compare(all, this.#model), "the whole disk").toBe(0);
  }

  #access({ kind, lba, sectors: wanted }: Access): void {
    const sectors = Math.min(wanted, CROWDED_SECTORS - lba);
    const start = lba * SECTOR_BYTES;
    const end = start + sectors * SECTOR_BYTES;
    if (kind === "read") {
      const request = this.#disk.read(lba, sectors);
      this.#requests.push(request);
      this.#reads.push({ request, expected: this.#model.slice(start, end) });
    } else if (kind === "write") {
      const value = this.#nextValue();
      this.#requests.push(this.#disk.write(lba, sectors, value));
      this.#model.fill(value, start, end);
    } else if (this.#disk.storage.info().canTrim) {
      this.#requests.push(this.#disk.trim(lba, sectors));
      this.#model.fill(0, start, end);
    }
  }
}
