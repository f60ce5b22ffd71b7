import { resolve } from "node:path";
import type { StoreApi } from "../control/store-api.ts";
import { approximateSize } from "./approximate-size.ts";
import { runJob } from "./long-work.ts";
import { printAnswer } from "./print.ts";
import { withStore } from "./store-access.ts";

export interface ExportOptions {
  readonly from?: string;
  readonly overwrite?: true;
  readonly socket?: string;
  readonly json?: true;
}

/** Writes a volume or a snapshot to a sparse image file. */
export async function exportImage(
  what: string,
  file: string,
  options: ExportOptions,
): Promise<void> {
  const path = resolve(file);
  const { from, ...others } = options;
  const report = await withStore(
    from === undefined ? others : { ...others, store: from },
    async (store) => {
      const source = (await isVolume(store, what)) ? { volume: what } : { snapshot: what };
      const overwrite = options.overwrite === true;
      return runJob(store, "export", { path, ...source, overwrite });
    },
  );
  const answer = { path, ...report };
  printAnswer(options, answer, () => {
    const { sizeBytes, bytes } = report;
    return `${path}: ${approximateSize(sizeBytes)}, of which ${approximateSize(bytes)} is no hole\n`;
  });
}

/** A volume's name or the address of its target; anything else is a snapshot. */
async function isVolume(store: StoreApi, what: string): Promise<boolean> {
  if (/^e?\d+\.\d+$/.test(what)) return true;
  return (await store.volumes()).some(({ name }) => name === what);
}
