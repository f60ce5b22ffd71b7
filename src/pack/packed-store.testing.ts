import { RecordedNotes } from "../blob/blob-store.compliance.ts";
import { CrashDisk } from "../blob/crash-disk.testing.ts";
import { openPackedStore } from "./open-packed-store.ts";
import type { PackedStoreOptions } from "./packed-store-options.ts";
import type { PackedStore } from "./packed-store.ts";

export const SEGMENT_BYTES = 64 * 1024;

export type SmallStoreOptions = Partial<PackedStoreOptions> &
  Pick<PackedStoreOptions, "objects" | "clock">;

/** A small store on a disk of its own, unless the options name another. */
export function openSmallStore(options: SmallStoreOptions): Promise<PackedStore> {
  return openPackedStore({
    disk: new CrashDisk(),
    reader: new RecordedNotes(),
    host: "test",
    segmentBytes: SEGMENT_BYTES,
    packBytes: 16 * 1024,
    uploadIntervalMs: 1000,
    ...options,
  });
}
