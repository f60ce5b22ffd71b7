import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type BlobBatch, type BlobStore, StoreFault } from "../blob/blob-store.ts";
import { BlockStatus, emptyStorageStatistics } from "../storage/block-storage.ts";
import { TestRequest } from "../storage/block-storage.testing.ts";
import { VolumeState } from "./volume-state.ts";
import { VolumeWriter } from "./volume-writer.ts";

const SECTORS_A_BLOCK = 8;
const BLOCK_BYTES = SECTORS_A_BLOCK * 512;
const RETRY_MS = 1000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});

afterEach(() => {
  vi.useRealTimers();
});

/** Groups have room for four blocks; the store and old contents answer when the test says so. */
class WriterUnderTest {
  readonly memory = new Uint8Array(64 * 1024);
  /** What the store was handed. */
  readonly batches: BlobBatch[] = [];
  /** Reads of old content that are under way. */
  readonly reads: ((isRead: boolean) => void)[] = [];
  /** What blocks held before. */
  oldByte = 0;
  readonly statistics = emptyStorageStatistics();
  readonly writer: VolumeWriter;

  /** Of a store whose truth is elsewhere. */
  remote: BlobStore["remote"];

  constructor(writeback: boolean, writebackLimitBytes = 2 ** 26) {
    const record = {
      id: 1,
      name: "disk",
      blockBytes: BLOCK_BYTES,
      sizeBytes: 2 ** 26,
      created: "",
    };
    const remote = (): BlobStore["remote"] => this.remote;
    const store = {
      append: (batch: BlobBatch) => this.batches.push(batch),
      submit: () => {},
      get remote() {
        return remote();
      },
    };
    this.writer = new VolumeWriter(
      new VolumeState(record),
      store as Partial<BlobStore> as BlobStore,
      this.memory,
      this.statistics,
      { remote: false, writeback, writebackLimitBytes, groupBytes: 4 * BLOCK_BYTES },
    );
    this.writer.oldContent = (_block, _below, target, done) => {
      this.reads.push((isRead) => {
        target.fill(this.oldByte);
        done(isRead);
      });
    };
  }

  write(block: number, lengthSectors: number, value: number): TestRequest {
    const request = new TestRequest();
    request.lba = block * SECTORS_A_BLOCK;
    request.lengthSectors = lengthSectors;
    this.memory.fill(value);
    this.writer.write(request);
    return request;
  }

  async submit(): Promise<void> {
    this.writer.submit();
    await nextTurn();
    await nextTurn();
  }

  async answerReads(isRead: boolean): Promise<void> {
    for (const read of this.reads.splice(0)) read(isRead);
    await this.submit();
  }

  async appended(batch: number): Promise<void> {
    this.batches[batch].appended();
    await this.submit();
  }

  async failed(batch: number, kind: "noSpace" | "unavailable"): Promise<void> {
    this.batches[batch].failed(new StoreFault(kind, "made by the test"));
    await this.submit();
  }

  async afterRetry(): Promise<void> {
    vi.advanceTimersByTime(RETRY_MS);
    await this.submit();
  }

  /** The first and the last byte of each block that the store was handed in a batch. */
  content(batch: number): number[][] {
    const { sources, offsets, blobCount } = this.batches[batch];
    return sources.slice(0, blobCount).map((source, blob) => {
      return [source[offsets[blob]], source[offsets[blob] + BLOCK_BYTES - 1]];
    });
  }

  /** One group in the store, and a full one behind it that gets the rest of its last block. */
  async beginTwo(): Promise<void> {
    this.write(0, SECTORS_A_BLOCK, 1);
    await this.submit();
    for (let block = 0; block < 3; block++) this.write(block, SECTORS_A_BLOCK, 2 + block);
    this.write(3, 1, 5);
    this.write(100, SECTORS_A_BLOCK, 6);
    await this.submit();
    expect([this.batches.length, this.reads.length]).toEqual([1, 1]);
  }
}

test("a group that is being completed waits for one before it that is tried again", async () => {
  const under = new WriterUnderTest(true);
  await under.beginTwo();
  await under.failed(0, "noSpace");
  await under.answerReads(true);
  expect(under.batches).toHaveLength(1);
  under.oldByte = 7;
  await under.afterRetry();
  await under.answerReads(true);
  expect(under.content(1)).toEqual([[1, 1]]);
  expect(under.content(2)).toEqual([
    [2, 2],
    [3, 3],
    [4, 4],
    [5, 7],
  ]);
  await under.appended(1);
  await under.appended(2);
  await under.appended(3);
  expect([under.batches.length, under.writer.groups.length]).toEqual([4, 0]);
});

test("also when that one is tried again while the rest is still being read", async () => {
  const under = new WriterUnderTest(true);
  await under.beginTwo();
  await under.failed(0, "noSpace");
  await under.afterRetry();
  await under.answerReads(true);
  expect(under.content(1)).toEqual([[1, 1]]);
  await under.answerReads(true);
  expect(under.content(2)).toHaveLength(4);
});

test("a group that is refused does not hold up those after it", async () => {
  const under = new WriterUnderTest(false);
  const writes = [0, 1].map(async (block) => {
    const write = under.write(block, SECTORS_A_BLOCK, 1);
    await under.submit();
    return write;
  });
  const [first, second] = await Promise.all(writes);
  await under.failed(1, "unavailable");
  expect(under.batches[0].cancelled).toBeUndefined();
  expect(second.status).toBe(BlockStatus.unavailable);
  await under.appended(0);
  expect([first.completions, first.status]).toEqual([1, BlockStatus.ok]);
  under.write(2, SECTORS_A_BLOCK, 3);
  await under.submit();
  expect(under.content(2)).toEqual([[3, 3]]);
});

test("acknowledged writes stay while the rest of their block, elsewhere, cannot be read", async () => {
  const under = new WriterUnderTest(true);
  under.remote = {} as BlobStore["remote"];
  const write = under.write(0, 1, 1);
  expect([write.completions, write.status]).toEqual([1, BlockStatus.ok]);
  await under.submit();
  await under.answerReads(false);
  expect(under.batches).toHaveLength(0);
  expect(under.write(1, SECTORS_A_BLOCK, 2).status).toBe(BlockStatus.writeFault);
  under.oldByte = 7;
  await under.afterRetry();
  await under.answerReads(true);
  expect(under.content(0)).toEqual([[1, 7]]);
});

test("a block that is damaged here is lost alone, and counted", async () => {
  const under = new WriterUnderTest(true);
  under.write(0, 1, 1);
  under.write(1, SECTORS_A_BLOCK, 2);
  const faults: string[] = [];
  under.writer.onFailed = ({ message }) => faults.push(message);
  await under.submit();
  await under.answerReads(false);
  expect(under.content(0)).toEqual([[2, 2]]);
  expect(faults).toEqual(["the rest of blocks 0 cannot be read"]);
  expect(under.writer.lostSectors).toBe(SECTORS_A_BLOCK);
  expect(under.write(0, SECTORS_A_BLOCK, 3).status).toBe(BlockStatus.ok);
});

test("whoever waits behind a group that is to be tried again is told at once", async () => {
  const under = new WriterUnderTest(true);
  under.write(0, SECTORS_A_BLOCK, 1);
  await under.submit();
  under.write(1, 1, 2);
  const flush = new TestRequest();
  under.writer.flush(flush);
  await under.submit();
  expect(flush.completions).toBe(0);
  await under.failed(0, "noSpace");
  expect([flush.completions, flush.status]).toEqual([1, BlockStatus.noSpace]);
  await under.afterRetry();
  await under.appended(1);
  await under.answerReads(true);
  expect(under.content(2)).toEqual([[2, 0]]);
});

test("a write that waits is not acknowledged when the rest of its block cannot be read", async () => {
  const under = new WriterUnderTest(true, BLOCK_BYTES);
  expect(under.write(0, SECTORS_A_BLOCK, 1).completions).toBe(1);
  await under.submit();
  // A group with a block that is written in part is handed over behind others when it is full.
  const part = under.write(1, 1, 3);
  for (let block = 2; block < 5; block++) under.write(block, SECTORS_A_BLOCK, 2);
  const later = under.write(5, SECTORS_A_BLOCK, 4);
  await under.submit();
  await under.answerReads(false);
  expect(under.batches).toHaveLength(3);
  await under.appended(0);
  expect(part.completions).toBe(0);
  await under.appended(1);
  expect([part.completions, part.status]).toEqual([1, BlockStatus.writeFault]);
  await under.appended(2);
  expect([later.completions, later.status]).toEqual([1, BlockStatus.ok]);
});

test("nothing is handed over after a stop, and what was lost is counted", async () => {
  const under = new WriterUnderTest(true);
  await under.beginTwo();
  let isStopped = false;
  const stopped = under.writer.stop().then(() => (isStopped = true));
  await under.failed(0, "noSpace");
  expect(isStopped).toBe(false);
  await under.answerReads(true);
  await stopped;
  await under.afterRetry();
  expect([under.batches.length, under.writer.groups.length]).toEqual([1, 0]);
  expect(under.writer.lostSectors).toBe(5 * SECTORS_A_BLOCK + 1);
});

test("a stop puts an end to further tries", async () => {
  const under = new WriterUnderTest(true);
  under.write(0, SECTORS_A_BLOCK, 1);
  await under.submit();
  await under.failed(0, "noSpace");
  await under.writer.stop();
  await under.afterRetry();
  expect(under.batches).toHaveLength(1);
});

test("cannot be held while acknowledged writes wait for another try", async () => {
  const under = new WriterUnderTest(true);
  under.write(0, SECTORS_A_BLOCK, 1);
  await under.submit();
  const held = under.writer.hold();
  const refused = expect(held).rejects.toThrow(/made by the test/);
  await under.failed(0, "noSpace");
  await refused;
  await expect(under.writer.hold()).rejects.toThrow(/made by the test/);
  await under.afterRetry();
  expect(under.batches).toHaveLength(2);
});
