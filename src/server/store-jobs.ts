import { hashToHex } from "../blob/hash.ts";
import type { CasStore } from "../cas/cas-store.ts";
import { exportImage } from "../cas/export.ts";
import { GarbageCollector } from "../cas/garbage-collector.ts";
import { importImage } from "../cas/import.ts";
import { scrub } from "../cas/scrub.ts";
import { Snapshots } from "../cas/snapshots.ts";
import { SpaceAccounting } from "../cas/space.ts";
import { sendSnapshot } from "../cas/transfer.ts";
import { verifySnapshot } from "../cas/verify.ts";
import {
  Cancelled,
  type JobControl,
  type JobName,
  type Jobs,
  type Progress,
} from "../control/store-api.ts";
import { UsageError } from "../errors.ts";
import type { StorePool } from "./store-pool.ts";
import { checkVolumeName } from "./volume-name.ts";

/** What a job works on. */
export interface JobStore {
  readonly cas: CasStore;
  /** The other store of a transfer. */
  readonly pool: StorePool;
  /** @throws UsageError when there is no such volume */
  readonly volumeNamed: (text: string) => string;
}

type JobFunctions = {
  readonly [Name in JobName]: (
    store: JobStore,
    request: Jobs[Name]["request"],
    control: JobControl,
  ) => Promise<Jobs[Name]["report"]>;
};

/** Runs a job to its end, or until it is cancelled. @throws Cancelled, UsageError, StoreFault */
export async function runStoreJob<Name extends JobName>(
  store: JobStore,
  name: Name,
  request: Jobs[Name]["request"],
  control: JobControl,
): Promise<Jobs[Name]["report"]> {
  try {
    return await JOBS[name](store, request, control);
  } catch (error) {
    // What was cut short may have failed in another way because of it.
    if (control.signal.aborted) throw new Cancelled();
    throw error;
  }
}

const JOBS: JobFunctions = {
  gc: async ({ cas }, _request, control) =>
    new GarbageCollector(cas).collect({
      signal: control.signal,
      onProgress: ({ phase, marked, blobs }) =>
        control.onProgress({ phase, done: Math.min(marked, blobs), total: blobs, unit: "blobs" }),
    }),

  space: async ({ cas }) => new SpaceAccounting(cas).measure(),

  verify: async ({ cas }, { snapshot, bytesPerSecond = Infinity }, control) =>
    verifySnapshot(cas, snapshot, {
      bytesPerSecond,
      onProgress: bytesDone("verify", control),
      signal: control.signal,
    }),

  scrub: async ({ cas }, { bytesPerSecond = Infinity }, { onProgress, signal }) => {
    const report = await scrub(cas, {
      bytesPerSecond,
      signal,
      onProgress: ({ bytes, remainingBytes }) => {
        // It ends by its signal, and notes how far it has come.
        if (signal.aborted) return;
        const total = bytes + remainingBytes;
        onProgress({ phase: "scrub", done: bytes, total, unit: "bytes" });
      },
    });
    const damaged = report.damaged.map(({ hash, ...blob }) => ({ hash: hashToHex(hash), ...blob }));
    return { ...report, damaged };
  },

  import: async ({ cas }, { path, volume, blockBytes }, control) => {
    checkVolumeName(volume);
    return importImage(cas, path, {
      volume,
      ...(blockBytes === undefined ? {} : { blockBytes }),
      onProgress: ({ readBytes, sizeBytes }) =>
        control.onProgress({ phase: "import", done: readBytes, total: sizeBytes, unit: "bytes" }),
    });
  },

  export: async ({ cas, volumeNamed }, request, control) => {
    const { path, snapshot, volume, overwrite = false } = request;
    const source =
      snapshot === undefined ? { volume: volumeNamed(required(volume, "volume")) } : { snapshot };
    return exportImage(cas, path, {
      ...source,
      overwrite,
      onProgress: bytesDone("export", control),
    });
  },

  send: async ({ cas, pool }, { snapshot, to, volume }, control) => {
    // Looked at first: a mistake must not leave a new store behind.
    new Snapshots(cas).get(snapshot);
    const other = await pool.acquire(to, true);
    try {
      return await transfer(cas, snapshot, other.cas, volume, control);
    } finally {
      await pool.release(other);
    }
  },

  receive: async ({ cas, pool }, { from, snapshot, volume }, control) => {
    const other = await pool.acquire(from, false);
    try {
      return await transfer(other.cas, snapshot, cas, volume, control);
    } finally {
      await pool.release(other);
    }
  },
};

async function transfer(
  from: CasStore,
  snapshot: string,
  to: CasStore,
  volume: string | undefined,
  control: JobControl,
): Promise<Jobs["send"]["report"]> {
  if (from === to) throw new UsageError("a snapshot is in its own store already: name another");
  if (volume !== undefined) checkVolumeName(volume);
  return sendSnapshot(from, snapshot, to, {
    ...(volume === undefined ? {} : { volume }),
    onProgress: ({ movedBytes }) => bytesDone("transfer", control)(movedBytes),
  });
}

function bytesDone(phase: string, control: JobControl): (bytes: number) => void {
  return (done) => {
    const progress: Progress = { phase, done, total: null, unit: "bytes" };
    control.onProgress(progress);
  };
}

function required(value: string | undefined, name: string): string {
  if (value !== undefined) return value;
  throw new UsageError(`${name} is missing`);
}
