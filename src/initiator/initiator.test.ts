import { afterEach, describe, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { diskSectors, joined } from "../conformance/frames.testing.ts";
import {
  makeStateDirectory,
  removeStateDirectory,
  startTestServer,
} from "../conformance/test-server.testing.ts";
import { TestStorage } from "../conformance/test-storage.testing.ts";
import type { SegmentOptions } from "../ethernet/memory-segment.ts";
import { MemorySegment } from "../ethernet/memory-segment.ts";
import { VERSION } from "../server/version.ts";
import { EMPTY_STATE, saveState, stateFilePath } from "../target/state-file.ts";
import { AoeReplyError, AtaReplyError, NoAnswerError } from "./initiator-error.ts";
import { createInitiator } from "./initiator.ts";
import type { Initiator } from "./initiator.ts";

const SERVER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const CLIENT_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);
const DISK_SECTORS = 1000;

const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

interface Setup {
  readonly initiator: Initiator;
  readonly disks: TestStorage[];
  readonly arena: FrameArena;
}

/** A server with disks e1.0, e1.1, … and an initiator on one segment. */
async function start(
  options: {
    segment?: SegmentOptions;
    mtuBytes?: number;
    disks?: number;
    reservation?: number[];
    shortestTimeoutMs?: number;
  } = {},
): Promise<Setup> {
  const { mtuBytes = 1500, shortestTimeoutMs = 10 } = options;
  const segment = new MemorySegment(options.segment ?? {});
  const serverArena = new FrameArena(512);
  const port = segment.attach("server", SERVER_MAC, mtuBytes, serverArena);
  const disks = Array.from(
    { length: options.disks ?? 1 },
    () => new TestStorage(DISK_SECTORS, false, serverArena),
  );
  const targets = disks.map((storage, slot) => ({ shelf: 1, slot, storage }));
  const stateDirectory = await makeStateDirectory();
  const state = { ...EMPTY_STATE, reservation: options.reservation ?? [] };
  await saveState(stateDirectory, stateFilePath(stateDirectory, 1, 0), state);
  const server = await startTestServer({
    arena: serverArena,
    ports: [port],
    targets,
    stateDirectory,
  });
  const arena = new FrameArena(256);
  const clientPort = segment.attach("client0", CLIENT_MAC, mtuBytes, arena);
  const initiator = createInitiator(clientPort, arena, { shortestTimeoutMs });
  closers.push(async () => {
    await initiator.close();
    await server.stop();
    await removeStateDirectory(stateDirectory);
  });
  return { initiator, disks, arena };
}

describe("discover", () => {
  test("tells who answers, with their disks", async () => {
    const { initiator } = await start({ disks: 3 });
    const found = await initiator.discover({ timeoutMs: 30_000, enough: 3 });
    expect(found.map(({ shelf, slot }) => `e${shelf}.${slot}`)).toEqual(["e1.0", "e1.1", "e1.2"]);
    expect(found[1]).toMatchObject({
      mac: "02:00:00:00:00:01",
      interface: "client0",
      bufferCount: 16,
      maxSectors: 2,
      sectors: DISK_SECTORS,
      model: "aoed",
      firmware: VERSION,
    });
    expect(found[1].serial).toMatch(/^1\.1:/);
    expect(found[1].fault).toBeUndefined();
  });

  test("an empty segment has nobody", async () => {
    const arena = new FrameArena(8);
    const port = new MemorySegment({}).attach("alone", CLIENT_MAC, 1500, arena);
    const initiator = createInitiator(port, arena);
    expect(await initiator.discover({ timeoutMs: 20 })).toEqual([]);
    await expect(initiator.open(1, 0)).rejects.toThrow(/e1\.0: nobody on alone answers/);
    await initiator.close();
    expect(arena.freeCount).toBe(8);
  });

  test("a broadcast that is lost is repeated", async () => {
    const { initiator } = await start({ segment: { lossRate: 0.3, seed: 5 } });
    expect(await initiator.discover({ timeoutMs: 30_000, enough: 1 })).toHaveLength(1);
  });
});

describe("ping", () => {
  test.each(["config", "identify"] as const)("measures round trips of %s", async (kind) => {
    const { initiator } = await start();
    const replies: (number | undefined)[] = [];
    const result = await initiator.ping(1, 0, {
      count: 3,
      intervalMs: 1,
      timeoutMs: 30_000,
      kind,
      onReply: (_, roundTripMs) => replies.push(roundTripMs),
    });
    expect(result).toMatchObject({ mac: "02:00:00:00:00:01", sent: 3, received: 3, lossRate: 0 });
    expect(replies).toHaveLength(3);
    expect(result.minimumMs).toBeGreaterThan(0);
    expect(result.averageMs).toBeLessThanOrEqual(result.maximumMs ?? 0);
  });

  test("counts what is lost and repeats nothing", async () => {
    const { initiator, disks } = await start({ segment: { lossRate: 0.25, seed: 11 } });
    const sentBefore = disks[0].statistics.inline;
    const options = { count: 40, intervalMs: 0, timeoutMs: 30 };
    const result = await initiator.ping(1, 0, options);
    expect(result.received).toBeGreaterThan(0);
    expect(result.received).toBeLessThan(40);
    expect(result.lossRate).toBeCloseTo(1 - result.received / 40);
    expect(initiator.statistics.retransmitted).toBe(0);
    expect(disks[0].statistics.inline).toBe(sentBefore);
  });
});

describe("a disk", () => {
  test("reads and writes any range", async () => {
    // Long enough that a busy machine does not make it send anything again.
    const { initiator, arena } = await start({ mtuBytes: 9000, shortestTimeoutMs: 2000 });
    const disk = await initiator.open(1, 0);
    expect(disk.maxSectors).toBe(16);
    expectSame(await disk.read(0, DISK_SECTORS), diskSectors(0, DISK_SECTORS));
    await disk.write(3, diskSectors(3, 500, 1));
    const expected = joined(diskSectors(2, 1), diskSectors(3, 500, 1), diskSectors(503, 1));
    expectSame(await disk.read(2, 502), expected);
    await disk.flush();
    expect(await disk.read(0, 0)).toHaveLength(0);
    await expect(disk.read(999, 2)).rejects.toThrow(/sectors 999 to 1000 are not on this disk/);
    await expect(disk.write(0, new Uint8Array(100))).rejects.toThrow(/whole number of sectors/);
    expect(initiator.statistics.retransmitted).toBe(0);
    expect(arena.freeCount).toBe(256);
  });

  test("trims", async () => {
    const { initiator } = await start();
    const disk = await initiator.open(1, 0);
    await disk.trim(10, 700);
    expectSame(await disk.read(10, 700), new Uint8Array(700 * 512));
    expect(await disk.read(9, 1)).toEqual(diskSectors(9, 1));
    expect(await disk.read(710, 1)).toEqual(diskSectors(710, 1));
  });

  test("says what failed", async () => {
    const { initiator, disks } = await start();
    const disk = await initiator.open(1, 0);
    disks[0].failSector(77, "read");
    const failure = await disk.read(70, 20).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(AtaReplyError);
    expect((failure as AtaReplyError).message).toMatch(/e1\.0 at 02:.*unreadable.*at sector 77/);
    const aborted = await disk.ata({ command: 0xff });
    expect(aborted).toMatchObject({ status: 0x41, error: 0x04 });
  });

  test("gives up at the deadline", async () => {
    const { initiator, disks } = await start();
    const disk = await initiator.open(1, 0, { timeoutMs: 1000 });
    disks[0].hold();
    await expect(disk.read(0, 1)).rejects.toThrow(NoAnswerError);
    expect(initiator.statistics.retransmitted).toBeGreaterThan(0);
    disks[0].releaseHeld();
    expect(await disk.read(0, 1)).toEqual(diskSectors(0, 1));
  });

  test("an error of AoE fails at once", async () => {
    const { initiator } = await start({ reservation: [0x020000000099] });
    const disk = await initiator.open(1, 0);
    const failure = disk.read(0, 1);
    await expect(failure).rejects.toThrow(AoeReplyError);
    await expect(failure).rejects.toThrow(/e1\.0 at 02:.*: the disk is reserved by another/);
  });

  test("a closed initiator fails what is asked of it", async () => {
    const { initiator } = await start();
    const disk = await initiator.open(1, 0);
    await initiator.close();
    await expect(disk.read(0, 1)).rejects.toThrow(/closed/);
  });
});

describe("over a bad network", () => {
  for (const seed of [1, 2, 3]) {
    const segment = { seed, lossRate: 0.05, duplicateRate: 0.1, reorderRate: 0.2 };
    test(`the disk is as written (${JSON.stringify(segment)})`, async () => {
      const { initiator, arena } = await start({ segment, mtuBytes: 4200 });
      const disk = await initiator.open(1, 0, { timeoutMs: 20_000 });
      const model = diskSectors(0, DISK_SECTORS);
      for (let generation = 1; generation <= 4; generation++) {
        const lba = generation * 37;
        const data = diskSectors(lba, 600, generation);
        await disk.write(lba, data);
        model.set(data, lba * 512);
        // A duplicate that the network still holds must not meet the next write: see RemoteDisk.
        await quietSegment();
        expectSame(await disk.read(0, DISK_SECTORS), model);
      }
      expect(initiator.statistics.retransmitted).toBeGreaterThan(0);
      await quietSegment();
      expect(arena.freeCount).toBe(256);
    });
  }
});

/** As `toEqual`, but quick for megabytes. */
function expectSame(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  const first = actual.findIndex((octet, index) => octet !== expected[index]);
  expect(first, "the first octet that differs").toBe(-1);
}

async function quietSegment(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 30));
}

describe("a load", () => {
  const LOAD = {
    requestSectors: 2,
    order: "random",
    readShare: 1,
    firstLba: 0,
    sectors: DISK_SECTORS,
    window: 8,
    durationMs: 150,
    warmupMs: 20,
    timeoutMs: 20_000,
    seed: 7,
  } as const;

  test.each(["random", "sequential"] as const)("%s reads are counted and timed", async (order) => {
    const { initiator, disks } = await start();
    const disk = await initiator.open(1, 0);
    const progress: number[] = [];
    const result = await disk.load({ ...LOAD, order, onProgress: (count) => progress.push(count) });
    expect(result.operations).toBeGreaterThan(0);
    expect(result).toMatchObject({ reads: result.operations, writes: 0 });
    expect(result.bytes).toBe(result.operations * 1024);
    expect(result.latency.count).toBe(result.operations);
    expect(result.latency.percentileMs(0.5)).toBeGreaterThan(0);
    expect(result.elapsedMs).toBeGreaterThan(100);
    expect(disks[0].statistics.faults).toBe(0);
  });

  test("a mix is mixed, and writes only inside its range", async () => {
    const { initiator } = await start();
    const disk = await initiator.open(1, 0);
    const before = await disk.read(0, DISK_SECTORS);
    const result = await disk.load({ ...LOAD, readShare: 0.5, firstLba: 100, sectors: 401 });
    expect(result.reads).toBeGreaterThan(0);
    expect(result.writes).toBeGreaterThan(0);
    const after = await disk.read(0, DISK_SECTORS);
    const changed = Array.from({ length: DISK_SECTORS }, (_, lba) => lba).filter((lba) => {
      const [from, to] = [lba * 512, (lba + 1) * 512];
      return Buffer.compare(before.subarray(from, to), after.subarray(from, to)) !== 0;
    });
    expect(changed.length).toBeGreaterThan(0);
    expect(changed[0]).toBeGreaterThanOrEqual(100);
    expect(changed.at(-1)).toBeLessThan(500);
  });

  test("lost frames are sent again and do not end it", async () => {
    const segment = { seed: 3, lossRate: 0.05 };
    const { initiator } = await start({ segment });
    const disk = await initiator.open(1, 0);
    const result = await disk.load({ ...LOAD, durationMs: 400 });
    expect(result.operations).toBeGreaterThan(0);
    expect(initiator.statistics.retransmitted).toBeGreaterThan(0);
  });

  test("a disk that fails ends it with a message", async () => {
    const { initiator, disks } = await start();
    disks[0].failSector(10, "read");
    const disk = await initiator.open(1, 0);
    const load = disk.load({ ...LOAD, order: "sequential", durationMs: 5000 });
    await expect(load).rejects.toThrow(/reading at sector 10: unreadable/);
  });
});

describe("a report", () => {
  test("says what passes, and how quickly", async () => {
    const { initiator } = await start({ mtuBytes: 9000, disks: 2 });
    const reports = await initiator.report({ timeoutMs: 1000, pings: 5 });
    expect(reports.map(({ target }) => target.slot)).toEqual([0, 1]);
    expect(reports[0]).toMatchObject({
      mtuBytes: 9000,
      sizes: { outwardBytes: 9000, inwardSectors: 16 },
      ping: { sent: 5, received: 5 },
    });
  });
});
