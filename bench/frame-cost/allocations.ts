/**
 * What JavaScript allocates for a frame, and how often it collects:
 * `node --expose-gc --min-semi-space-size=16 allocations.ts FILE read|write [FRAMES]` prints JSON.
 *
 * Windows of frames are measured; the one that allocated least counts, so that neither a late
 * compilation nor a timer can make a difference, but whatever each frame allocates is in all of them.
 */
import { PerformanceObserver } from "node:perf_hooks";
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { openLoop } from "./data-path.ts";

const WARM_UP_FRAMES = 400_000;
const WINDOW_FRAMES = 20_000;
const WINDOWS = 20;

const [path, kind, frames] = process.argv.slice(2);
const answer = await openLoop(path, kind === "write");

let collections = 0;
let countedFromMs = Infinity;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (entry.startTime >= countedFromMs) collections++;
}).observe({ entryTypes: ["gc"] });

answer(WARM_UP_FRAMES);
let leastBytes = Infinity;
for (let window = 0; window < WINDOWS; window++) {
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  answer(WINDOW_FRAMES);
  const allocated = process.memoryUsage().heapUsed - before;
  // Less than nothing: something was collected meanwhile.
  if (allocated >= 0) leastBytes = Math.min(leastBytes, allocated);
}

const longRun = Number(frames ?? 0);
countedFromMs = performance.now();
for (let left = longRun; left > 0; left -= WINDOW_FRAMES) {
  answer(Math.min(left, WINDOW_FRAMES));
  // So that the observer hears of collections.
  await nextTurn();
}
await delay(50);
process.stdout.write(
  JSON.stringify({
    bytesPerFrame: leastBytes / WINDOW_FRAMES,
    frames: longRun,
    collections,
  }),
);
process.exit(0);
