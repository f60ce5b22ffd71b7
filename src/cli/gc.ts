import { approximateSize } from "./approximate-size.ts";
import { runJob } from "./long-work.ts";
import { printAnswer } from "./print.ts";
import { type StoreOptions, withStore } from "./store-access.ts";

/** Gives back the space of what no volume and no snapshot names. */
export async function collectGarbage(options: StoreOptions): Promise<void> {
  const report = await withStore(options, async (store) => runJob(store, "gc", {}));
  printAnswer(
    options,
    report,
    () => `blobs in use: ${report.liveBlobs}
gave back ${approximateSize(report.bytesFreed)}, after moving ${approximateSize(report.bytesCopied)}
`,
  );
}
