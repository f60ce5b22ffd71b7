import type { CasStore } from "./cas-store.ts";
import type { RootDescriptor } from "./merkle-node.ts";
import { RateLimit } from "./rate-limit.ts";
import { type LbaRange, LbaRanges } from "./lba-ranges.ts";
import { Snapshots } from "./snapshots.ts";
import { readContent } from "./tree-content.ts";

export interface VerifyOptions {
  readonly bytesPerSecond?: number;
  readonly onProgress?: (bytes: number) => void;
  /** Ends the wait that keeps the rate; the next call of `onProgress` may then throw. */
  readonly signal?: AbortSignal;
}

export interface VerifyReport {
  readonly rootHash: string;
  /** Bytes of blocks read; blocks of zeros need none. */
  readonly bytes: number;
  readonly damaged: LbaRange[];
  /** Names of the blobs that are to blame. */
  readonly blobs: string[];
}

/** Reads the whole tree of a snapshot and every block, and compares each with its name. */
export async function verifySnapshot(
  cas: CasStore,
  reference: string,
  options: VerifyOptions = {},
): Promise<VerifyReport> {
  const record = new Snapshots(cas).get(reference);
  const root = await cas.loadRoot(record.root_hash);
  return cas.holding(root, () => verifyTree(cas, root, record.root_hash, options));
}

async function verifyTree(
  cas: CasStore,
  root: RootDescriptor,
  rootHash: string,
  options: VerifyOptions,
): Promise<VerifyReport> {
  const limit = new RateLimit(options.bytesPerSecond ?? Infinity);
  const ranges = new LbaRanges(root.blockBytes, root.sizeBytes);
  const blobs = new Set<string>();
  let total = 0;
  await readContent(cas.store, root, {
    progress: async (bytes) => {
      const more = bytes - total;
      total = bytes;
      options.onProgress?.(bytes);
      await limit.spend(more, options.signal);
    },
    unreadable: (block, count, blob) => {
      ranges.add(block, count);
      blobs.add(blob);
    },
  });
  return { rootHash, bytes: total, damaged: ranges.list, blobs: [...blobs] };
}
