import { GarbageCollector } from "../../src/cas/garbage-collector.ts";
import { scrub } from "../../src/cas/scrub.ts";
import { Snapshots } from "../../src/cas/snapshots.ts";
import { verifySnapshot } from "../../src/cas/verify.ts";
import { TurnProbe } from "../backend/turn-probe.ts";
import { type LimitResult, type MeasureContext, milliseconds } from "./limit.ts";
import { putBlobs } from "./put-blobs.ts";
import { openStore, Workbench } from "./test-volume.ts";

const GIBIBYTE = 2 ** 30;
const BLOCKS = GIBIBYTE / 4096;

/** How long the event loop is blocked by work in the background, one kind after the other. */
export async function measureTurns(context: MeasureContext): Promise<LimitResult[]> {
  const blocks = context.isQuick ? BLOCKS / 8 : BLOCKS;
  const store = await openStore(context.directory);
  await store.createVolume("disk", 64 * GIBIBYTE);
  const bench = new Workbench();
  const volume = store.openVolume("disk", { memory: bench.arena.bytes });
  const snapshots = new Snapshots(store);
  const results: LimitResult[] = [];
  const watch = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    const turns = new TurnProbe();
    turns.start();
    const beganMs = performance.now();
    await work();
    turns.stop();
    results.push({
      what: `longest turn of the event loop: ${what}`,
      asked: "< 20 ms",
      measured: `${milliseconds(turns.longestCpuMs)} of processor time`,
      holds: turns.longestCpuMs < 20,
      remark:
        `${milliseconds(turns.longestMs)} on the clock; ` +
        `${((performance.now() - beganMs) / 1000).toFixed(1)} s in all`,
    });
  };
  const size = `${(blocks * 4096) / 2 ** 20} MiB`;
  await watch(`${size} of random writes at full speed, with the checkpoints that they cause`, () =>
    bench.writeBlocks(volume, blocks),
  );
  await watch("checkpoint", () => store.checkpoint());
  const { id } = await snapshots.create("disk");
  await bench.writeBlocks(volume, blocks / 2);
  await watch("verify of a snapshot", () => verifySnapshot(store, id));
  await watch("scrub of the store", () => scrub(store));
  await snapshots.delete(id);
  await watch("garbage collection that frees a third of the store", () =>
    new GarbageCollector(store).collect({ liveThreshold: 0.9 }),
  );
  const blobs = blocks * 4;
  await watch(`${blobs} blobs of 512 bytes are put, and the index grows`, () =>
    putBlobs(store.store, blobs, 512),
  );
  await volume.close();
  await store.close();
  return results;
}
