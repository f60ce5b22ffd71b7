import { type LimitResult, type MeasureContext, milliseconds } from "./limit.ts";
import { NO_CHECKPOINTS, openStore, segmentFiles, Workbench } from "./test-volume.ts";

const MEBIBYTE = 2 ** 20;
const TAIL_BYTES = 256 * MEBIBYTE;

interface ReopenReport {
  readonly tookMs: number;
  readonly volumes: number;
  readonly dirtyBlocks: number;
}

/** Opening a store whose server was killed while it wrote. */
export async function measureReopen(context: MeasureContext): Promise<LimitResult[]> {
  const results: LimitResult[] = [];
  await context.inProcess("write-and-die", context.directory);
  for (const place of ["page cache", "disk"]) {
    if (place === "disk") {
      for (const file of segmentFiles(context.directory)) await context.evict(file);
    }
    const report = (await context.inProcess("reopen-and-die", context.directory)) as ReopenReport;
    const tailMebibytes = TAIL_BYTES / MEBIBYTE;
    results.push({
      what: `reopen after kill -9 with ${tailMebibytes} MiB of log behind the checkpoint, in the ${place}`,
      asked: "< 1 s",
      measured: milliseconds(report.tookMs),
      holds: report.tookMs < 1000 && report.dirtyBlocks > 0,
      remark: `${report.dirtyBlocks} changed blocks found again`,
    });
  }
  return results;
}

/** Writes until the log is long enough, and ends as a crash ends it. */
export async function writeAndDie(directory: string): Promise<void> {
  const store = await openStore(directory, NO_CHECKPOINTS);
  await store.createVolume("disk", 64 * 2 ** 30);
  const bench = new Workbench();
  const volume = store.openVolume("disk", { memory: bench.arena.bytes });
  for (let round = 1; store.store.tailBytes < TAIL_BYTES; round++) {
    const missing = Math.ceil((TAIL_BYTES - store.store.tailBytes) / 4096);
    await bench.writeBlocks(volume, Math.min(4096, missing), round);
  }
  process.kill(process.pid, "SIGKILL");
}

/** Opens the store, and leaves it as it was. */
export async function reopenAndDie(
  directory: string,
  report: (value: ReopenReport) => void,
): Promise<void> {
  const beganMs = performance.now();
  const store = await openStore(directory, NO_CHECKPOINTS);
  const tookMs = performance.now() - beganMs;
  const volumes = store.volumes();
  report({ tookMs, volumes: volumes.length, dirtyBlocks: volumes[0].dirtyBlocks });
  process.kill(process.pid, "SIGKILL");
}
