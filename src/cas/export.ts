import { StoreFault } from "../blob/blob-store.ts";
import { NewFile } from "../system/new-file.ts";
import type { CasStore } from "./cas-store.ts";
import type { RootDescriptor } from "./merkle-node.ts";
import { Snapshots } from "./snapshots.ts";
import { readContent } from "./tree-content.ts";

export interface ExportOptions {
  /** A snapshot's id, or the beginning of its root hash; else the volume as it is now. */
  readonly snapshot?: string;
  readonly volume?: string;
  /** Takes the place of a file that is there. */
  readonly overwrite?: boolean;
  readonly onProgress?: (bytes: number) => void;
}

export interface ExportReport {
  readonly sizeBytes: number;
  /** Bytes written; the rest of the file is holes. */
  readonly bytes: number;
}

/** Blocks that lie side by side are written in one piece of up to this size. */
const PIECE_BYTES = 1024 * 1024;

/**
 * Writes a snapshot or a volume to a sparse image file, which is there only when it is whole.
 * @throws UsageError, RuntimeFault, what `onProgress` throws; then nothing of it is left
 */
export async function exportImage(
  cas: CasStore,
  path: string,
  options: ExportOptions,
): Promise<ExportReport> {
  const snapshots = new Snapshots(cas);
  const root =
    options.snapshot === undefined
      ? await snapshots.current(options.volume ?? "")
      : await cas.loadRoot(snapshots.get(options.snapshot).root_hash);
  return cas.holding(root, () => writeImage(cas, root, path, options));
}

async function writeImage(
  cas: CasStore,
  root: RootDescriptor,
  path: string,
  options: ExportOptions,
): Promise<ExportReport> {
  const { sizeBytes } = root;
  const overwrite = options.overwrite === true;
  await using file = await NewFile.create(path, { sizeBytes, overwrite });
  const bytes = await writeContent(cas, root, file, options);
  await file.keep();
  return { sizeBytes, bytes };
}

/** @returns bytes written */
async function writeContent(
  cas: CasStore,
  root: RootDescriptor,
  file: NewFile,
  { onProgress }: ExportOptions,
): Promise<number> {
  const buffer = Buffer.alloc(PIECE_BYTES + root.blockBytes);
  let start = 0;
  let used = 0;
  let total = 0;
  const pieces: { position: number; data: Uint8Array }[] = [];
  const cut = (): void => {
    if (used > 0) pieces.push({ position: start, data: Uint8Array.from(buffer.subarray(0, used)) });
    used = 0;
  };
  const writeOut = async (): Promise<void> => {
    for (const { position, data } of pieces.splice(0)) {
      const length = Math.min(data.length, root.sizeBytes - position);
      await file.write(data.subarray(0, length), position);
    }
  };
  await readContent(cas.store, root, {
    block: (block, data) => {
      const position = block * root.blockBytes;
      if (position !== start + used || used >= PIECE_BYTES) {
        cut();
        start = position;
      }
      buffer.set(data, used);
      used += data.length;
    },
    progress: async (bytes) => {
      total = bytes;
      await writeOut();
      onProgress?.(bytes);
    },
    unreadable: (block, count, blob) => {
      const where = `blocks ${block} to ${block + count - 1}`;
      throw new StoreFault("damaged", `${where} cannot be read: blob ${blob}`);
    },
  });
  cut();
  await writeOut();
  return total;
}
