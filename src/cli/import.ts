import { resolve } from "node:path";
import { formatSize } from "../config/units.ts";
import { UsageError } from "../errors.ts";
import { approximateSize } from "./approximate-size.ts";
import { runJob } from "./long-work.ts";
import { checkNewName, readBlockSize } from "./option-values.ts";
import { printAnswer } from "./print.ts";
import { withStore } from "./store-access.ts";
import { statOrCode } from "./target-path.ts";

export interface ImportOptions {
  readonly into?: string;
  readonly volume: string;
  readonly blockSize?: string;
  readonly socket?: string;
  readonly json?: true;
}

/** Makes a volume, and a snapshot, of an image file or a block device. */
export async function importImage(image: string, options: ImportOptions): Promise<void> {
  const path = resolve(image);
  checkNewName(options.volume, "--volume");
  const blockBytes = readBlockSize(options.blockSize);
  const stats = statOrCode(path);
  if (typeof stats === "string") {
    throw new UsageError(`${path}: cannot be read (${stats}); check the path`);
  }
  const { into, ...others } = options;
  const create = true;
  const report = await withStore(
    into === undefined ? others : { ...others, store: into },
    async (store) => runJob(store, "import", { path, volume: options.volume, blockBytes }),
    create,
  );
  printAnswer(options, report, () => {
    const { sizeBytes, storedBytes, snapshot } = report;
    return `volume ${snapshot.volume} of ${formatSize(sizeBytes)}, snapshot ${snapshot.id}
the store holds ${approximateSize(storedBytes)} more than before
`;
  });
}
