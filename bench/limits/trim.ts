import type { CasStore } from "../../src/cas/cas-store.ts";
import type { Volume } from "../../src/cas/volume.ts";
import { type LimitResult, type MeasureContext, milliseconds } from "./limit.ts";
import { AwaitedRequest, NO_CHECKPOINTS, openStore, Workbench } from "./test-volume.ts";

const TEBIBYTE = 2 ** 40;
const CHANGED_BLOCKS = 2 ** 18;

/** A TRIM of a whole disk of 2 TiB: with its content in the tree, and with all of it just written. */
export async function measureTrim(context: MeasureContext): Promise<LimitResult[]> {
  const blocks = context.isQuick ? CHANGED_BLOCKS / 8 : CHANGED_BLOCKS;
  const store = await openStore(context.directory, NO_CHECKPOINTS);
  await store.createVolume("disk", 2 * TEBIBYTE);
  const bench = new Workbench();
  const volume = store.openVolume("disk", { memory: bench.arena.bytes });
  const results: LimitResult[] = [];
  for (const place of ["in the tree", "not yet in the tree"]) {
    await bench.writeBlocks(volume, blocks);
    if (place === "in the tree") await store.checkpoint();
    results.push(await trimAll(store, volume, `with ${(blocks * 4) / 1024} MiB of data ${place}`));
  }
  await volume.close();
  await store.close();
  return results;
}

async function trimAll(store: CasStore, volume: Volume, content: string): Promise<LimitResult> {
  const request = new AwaitedRequest();
  request.lengthSectors = volume.info().sectors;
  volume.trim(request);
  volume.submit();
  const tookMs = await request.tookMs;
  const left = volume.state.dirtyBlocks;
  const beganMs = performance.now();
  await store.checkpoint();
  return {
    what: `TRIM of a disk of 2 TiB, ${content}`,
    asked: "< 50 ms",
    measured: milliseconds(tookMs),
    holds: tookMs < 50 && left === 0,
    remark: `durable; the checkpoint after it took ${milliseconds(performance.now() - beganMs)}`,
  };
}
