import { existsSync } from "node:fs";
import { isMainThread, workerData } from "node:worker_threads";

/** See workers.netns.test.ts: the second worker hangs once there is a file of that name. */
const file = process.env["AOED_HANG_FILE"] ?? "";
if (!isMainThread && (workerData as { worker?: number } | null)?.worker === 1) {
  setInterval(() => {
    if (existsSync(file)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  }, 20);
}
