import { NodeDisk } from "../blob/node-disk.ts";
import { CasStore } from "../cas/cas-store.ts";
import { DirectoryObjectStore } from "../object/directory-object-store.ts";
import { openPackedStore } from "./open-packed-store.ts";
import type { PackedStoreOptions } from "./packed-store-options.ts";

/** A store in a folder that plays the object store, behind another folder. */
export function openDirectoryStore(
  folder: string,
  bucket: string,
  options: Partial<PackedStoreOptions> = {},
): Promise<CasStore> {
  return CasStore.open({
    open: async (reader) =>
      openPackedStore({
        objects: await DirectoryObjectStore.open(bucket),
        disk: await NodeDisk.open(folder),
        reader,
        host: `process ${process.pid}`,
        segmentBytes: 1024 * 1024,
        packBytes: 256 * 1024,
        uploadIntervalMs: 20,
        // A busy machine renews it in time.
        leaseMs: 10_000,
        ...options,
      }),
    tailLimitBytes: 2_000_000,
    dirtyLimitBlocks: 1000,
  });
}
