import { setTimeout as sleep } from "node:timers/promises";
import { Snapshots } from "../../src/cas/snapshots.ts";
import { summarise } from "../statistics.ts";
import { type LimitResult, type MeasureContext, milliseconds } from "./limit.ts";
import { Prober, type ProbeReport } from "./prober.ts";
import { NO_CHECKPOINTS, openStore, Workbench } from "./test-volume.ts";

const GIBIBYTE = 2 ** 30;
const BASELINE_MS = 2000;
const IDLE_SNAPSHOTS = 21;

/** Snapshots of a volume with 1 GiB of changes at random places, and of one without changes. */
export async function measureSnapshots(context: MeasureContext): Promise<LimitResult[]> {
  const blocks = (context.isQuick ? GIBIBYTE / 8 : GIBIBYTE) / 4096;
  const store = await openStore(context.directory, NO_CHECKPOINTS);
  await store.createVolume("disk", 64 * GIBIBYTE);
  const bench = new Workbench();
  const volume = store.openVolume("disk", { memory: bench.arena.bytes });
  const snapshots = new Snapshots(store);
  await bench.writeBlocks(volume, blocks);

  const prober = new Prober(volume, bench, blocks);
  prober.start();
  await sleep(BASELINE_MS);
  const before = await prober.stop();
  prober.start();
  const beganMs = performance.now();
  await snapshots.create("disk");
  const tookMs = performance.now() - beganMs;
  const during = await prober.stop();

  // The second one finds a tree that has every leaf, and changes all of them.
  await bench.writeBlocks(volume, blocks, 2);
  prober.start();
  const againMs = performance.now();
  await snapshots.create("disk");
  const againTookMs = performance.now() - againMs;
  const again = await prober.stop();

  const idle = await idleTimes(store, snapshots);
  await volume.close();
  await store.close();
  const dirty = `${(blocks * 4096) / 2 ** 20} MiB of changes in blocks of 4 KiB at random in 64 GiB`;
  return [
    ...dirtyResults(`snapshot, ${dirty}`, tookMs, during, before),
    ...dirtyResults(`the same again, on top of that tree`, againTookMs, again, before),
    {
      what: "snapshot of an idle volume",
      asked: "< 10 ms",
      measured: milliseconds(idle.median),
      holds: idle.median < 10,
      remark:
        `median of ${IDLE_SNAPSHOTS}, ${milliseconds(idle.lowest)} to ` +
        `${milliseconds(idle.highest)}; one durable record each`,
    },
  ];
}

async function idleTimes(
  store: Awaited<ReturnType<typeof openStore>>,
  snapshots: Snapshots,
): Promise<ReturnType<typeof summarise>> {
  await store.checkpoint();
  const times: number[] = [];
  for (let index = 0; index < IDLE_SNAPSHOTS; index++) {
    const beganMs = performance.now();
    await snapshots.create("disk");
    times.push(performance.now() - beganMs);
  }
  return summarise(times);
}

function dirtyResults(
  what: string,
  tookMs: number,
  during: ProbeReport,
  before: ProbeReport,
): LimitResult[] {
  const longest = Math.max(during.longestReadMs, during.longestWriteMs);
  const usual = Math.max(before.longestReadMs, before.longestWriteMs);
  return [
    {
      what,
      asked: "< 2 s",
      measured: milliseconds(tookMs),
      holds: tookMs < 2000,
      remark:
        `${milliseconds(during.cpuMs)} of processor time, with the ${during.writes} writes and ` +
        `${during.reads} reads that went on beside it`,
    },
    {
      what: `longest wait of others: ${what}`,
      asked: "< 50 ms",
      measured: milliseconds(longest),
      holds: longest < 50,
      remark:
        `write ${milliseconds(during.longestWriteMs)} (99 % below ` +
        `${milliseconds(during.p99WriteMs)}), read ${milliseconds(during.longestReadMs)}; without a ` +
        `snapshot ${milliseconds(usual)}; longest turn of the event loop ` +
        `${milliseconds(during.longestTurnMs)}, of its processor time ` +
        milliseconds(during.longestTurnCpuMs),
    },
  ];
}
