import { beforeEach, describe, expect, test } from "vitest";
import { CrashDisk } from "../blob/crash-disk.testing.ts";
import { FileStore } from "../blob/file-store.ts";
import { BlockStatus } from "../storage/block-storage.ts";
import { finish, TestDisk, testArena } from "../storage/block-storage.testing.ts";
import { CasStore } from "./cas-store.ts";
import { GarbageCollector } from "./garbage-collector.ts";

const MIB = 1024 * 1024;
const BLOCKS = 800;

/**
 * Content comes back into use at the worst moments of a collection: it is stored already, so nothing
 * is written, and only a mark keeps it.
 */
describe("content that was garbage and is written again", () => {
  const arena = testArena();
  let cas: CasStore;
  let disk: TestDisk;

  beforeEach(async () => {
    const crashDisk = new CrashDisk();
    cas = await CasStore.open({
      open: (reader) => FileStore.open({ disk: crashDisk, reader, segmentBytes: MIB }),
    });
    await cas.createVolume("disk", 64 * MIB);
    disk = new TestDisk(cas.openVolume("disk", { memory: arena.bytes, cacheBytes: 1 }), arena);
    for (let number = 0; number < BLOCKS; number++) await writeContent(number, number);
    disk.reuseMemory();
    await finish(disk, [disk.trim(0, BLOCKS * 8)]);
  });

  async function writeContent(block: number, content: number): Promise<void> {
    disk.reuseMemory();
    const write = disk.write(block * 8, 8, 0);
    disk.data(write).set(Buffer.from(`content ${content}`));
    expect(await finish(disk, [write])).toEqual([BlockStatus.ok]);
  }

  async function expectContent(block: number, content: number): Promise<void> {
    // The cache holds one block: after this it is another one.
    await writeContent(5000, 123_456);
    const data = Buffer.from(await disk.readBack(block * 8, 8));
    const text = `content ${content}`;
    expect(data.toString("latin1", 0, 16)).toBe(text.padEnd(16, "\0"));
  }

  /**
   * Does something after the last checkpoint before the marks, and at a barrier after it: the first
   * comes before the marks are made, the second after that.
   */
  function interfere(before: () => Promise<void>, after: () => Promise<void>, atBarrier = 1): void {
    const checkpoint = cas.checkpoint.bind(cas);
    const barrier = cas.store.barrier.bind(cas.store);
    let checkpoints = 0;
    cas.checkpoint = async () => {
      await checkpoint();
      if (++checkpoints === 2) await before();
    };
    let barriers = 0;
    cas.store.barrier = async () => {
      await barrier();
      if (++barriers !== atBarrier) return;
      cas.checkpoint = checkpoint;
      await after();
    };
  }

  async function collect(): Promise<void> {
    const { blobs } = cas.store.statistics;
    const report = await new GarbageCollector(cas).collect({ liveThreshold: 1 });
    expect(report.segmentsFreed).toBeGreaterThan(1);
    expect(cas.store.statistics.blobs).toBeLessThan(blobs / 2);
  }

  test("just before the marks begin", async () => {
    interfere(
      () => writeContent(1000, 10),
      async () => {},
    );
    await collect();
    await expectContent(1000, 10);
  });

  test("when all marks are made", async () => {
    interfere(
      async () => {},
      () => writeContent(1000, 20),
      2,
    );
    await collect();
    await expectContent(1000, 20);
  });

  test("before the marks, and a checkpoint takes it into the tree before it was marked", async () => {
    interfere(
      () => writeContent(1000, 30),
      () => cas.checkpoint(),
    );
    await collect();
    await expectContent(1000, 30);
    await cas.checkpoint();
    await expectContent(1000, 30);
  });

  test("and nothing is lost when the collection is stopped in the middle", async () => {
    const controller = new AbortController();
    let segments = 0;
    const collecting = new GarbageCollector(cas).collect({
      liveThreshold: 1,
      signal: controller.signal,
      onProgress: ({ phase }) => {
        if (phase === "sweep" && ++segments === 2) controller.abort(new Error("that will do"));
      },
    });
    await expect(collecting).rejects.toThrow("that will do");
    for (const content of [0, 300, 799]) {
      await writeContent(content, content);
      await expectContent(content, content);
    }
    await new GarbageCollector(cas).collect({ liveThreshold: 1 });
    await expectContent(300, 300);
    await cas.close();
  });

  test("while segments are emptied", async () => {
    let content = 100;
    const running: Promise<void>[] = [];
    await new GarbageCollector(cas).collect({
      liveThreshold: 1,
      onProgress: ({ phase }) => {
        if (phase === "sweep" && content < 110) {
          const next = content++;
          running.push(writeContent(2000 + next, next * 7));
        }
      },
    });
    await Promise.all(running);
    expect(content).toBeGreaterThan(101);
    for (let each = 100; each < content; each++) await expectContent(2000 + each, each * 7);
  });
});
