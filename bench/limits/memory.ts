import type { NoteReader } from "../../src/blob/blob-store.ts";
import { openFileStore } from "../../src/blob/open-file-store.ts";
import type { LimitResult, MeasureContext } from "./limit.ts";
import { putBlobs } from "./put-blobs.ts";

const BLOBS = 20_000_000;
/** Small blobs: what is measured depends on their number, and the disk need not hold 80 GB. */
const BLOB_BYTES = 16;
const MEBIBYTE = 2 ** 20;

interface MemoryReport {
  readonly blobs: number;
  readonly indexBytes: number;
  /** Resident memory of the process before the store was opened, and with it open. */
  readonly residentBeforeBytes: number;
  readonly residentBytes: number;
  readonly seconds: number;
}

/** Memory for 20 million blobs: while they are put, and when the store is opened anew. */
export async function measureMemory(context: MeasureContext): Promise<LimitResult[]> {
  const blobs = context.isQuick ? BLOBS / 20 : BLOBS;
  const filled = await context.inProcess("fill-store", context.directory, String(blobs));
  const opened = await context.inProcess("open-store", context.directory);
  return [
    ...memoryResults("after they were put", filled as MemoryReport),
    ...memoryResults("in a store opened anew", opened as MemoryReport),
  ];
}

function memoryResults(when: string, report: MemoryReport): LimitResult[] {
  const { blobs, indexBytes, residentBeforeBytes, residentBytes, seconds } = report;
  const perBlob = indexBytes / blobs;
  const grown = residentBytes - residentBeforeBytes;
  return [
    {
      what: `index of ${(blobs / 1e6).toFixed(0)} million blobs, ${when}`,
      asked: "≤ 40 bytes a blob",
      measured: `${perBlob.toFixed(1)} bytes a blob`,
      holds: perBlob <= 40,
      remark: `${(indexBytes / MEBIBYTE).toFixed(0)} MiB, marks for a collection not counted`,
    },
    {
      what: `resident memory for ${(blobs / 1e6).toFixed(0)} million blobs, ${when}`,
      asked: "shown",
      measured: `${(residentBytes / MEBIBYTE).toFixed(0)} MiB`,
      holds: true,
      remark:
        `${(residentBeforeBytes / MEBIBYTE).toFixed(0)} MiB before the store was opened: ` +
        `${(grown / blobs).toFixed(1)} bytes a blob in all, after ${seconds.toFixed(1)} s`,
    },
  ];
}

const NO_NOTES: NoteReader = { image: () => {}, note: () => {} };

export async function fillStore(
  directory: string,
  blobsText: string,
  report: (value: MemoryReport) => void,
): Promise<void> {
  const residentBeforeBytes = residentNow();
  const store = await openFileStore(directory, NO_NOTES);
  const beganMs = performance.now();
  await putBlobs(store, Number(blobsText), BLOB_BYTES);
  await store.checkpoint(() => new Uint8Array(0));
  report({
    ...(await sizes(store)),
    residentBeforeBytes,
    seconds: (performance.now() - beganMs) / 1000,
  });
  await store.close();
}

export async function openFilledStore(
  directory: string,
  report: (value: MemoryReport) => void,
): Promise<void> {
  const residentBeforeBytes = residentNow();
  const beganMs = performance.now();
  const store = await openFileStore(directory, NO_NOTES);
  const seconds = (performance.now() - beganMs) / 1000;
  report({
    ...(await sizes(store)),
    residentBeforeBytes,
    seconds,
  });
  await store.close();
}

type Sized = Awaited<ReturnType<typeof openFileStore>>;

async function sizes(
  store: Sized,
): Promise<Pick<MemoryReport, "blobs" | "indexBytes" | "residentBytes">> {
  const { blobs, indexBytes } = store.statistics;
  return { blobs, indexBytes, residentBytes: residentNow() };
}

/** What is only garbage by now does not count. */
function residentNow(): number {
  globalThis.gc?.();
  return process.memoryUsage.rss();
}
