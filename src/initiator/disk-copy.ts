import { SECTOR_BYTES } from "../storage/block-storage.ts";
import type { RemoteDisk } from "./remote-disk.ts";

/** Something with numbered octets that a disk is copied from or to. */
export interface DiskEnd {
  /** "e1.0" or a path, for messages. */
  readonly name: string;
  readonly sizeBytes: number;
  read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array>;
  /** `data` must not change until it resolves. */
  write(offsetBytes: number, data: Uint8Array): Promise<void>;
}

export interface CopyOptions {
  /** The destination is all zeros already: zeros need not be written. */
  readonly isDestinationZero: boolean;
  readonly signal?: AbortSignal;
  /** Told how many octets of the source are done. */
  readonly onProgress?: (bytes: number) => void;
}

/** One request to each end; several are under way, so that both work at the same time. */
const PIECE_BYTES = 256 * 1024;
const PIECES_UNDER_WAY = 8;
/** Zeros are left out in units of this size: what file systems allocate. */
const HOLE_BYTES = 4096;

const ZEROS = Buffer.alloc(HOLE_BYTES);

/**
 * Copies all of the source to the beginning of the destination.
 * @returns octets written
 * @throws what reading and writing threw; the reason of `signal` when it was aborted
 */
export async function copyDisk(
  source: DiskEnd,
  destination: DiskEnd,
  options: CopyOptions,
): Promise<number> {
  let written = 0;
  await forEachPiece(source.sizeBytes, options, async (offsetBytes, lengthBytes) => {
    const data = await source.read(offsetBytes, lengthBytes);
    const runs = options.isDestinationZero ? runsOfData(data) : [data];
    for (const run of runs) {
      await destination.write(offsetBytes + run.byteOffset - data.byteOffset, run);
      written += run.length;
    }
  });
  return written;
}

/** Where the two differ first, in octets; undefined when they are equal as far as `one` goes. */
export async function firstDifference(
  one: DiskEnd,
  other: DiskEnd,
  options: Omit<CopyOptions, "isDestinationZero">,
): Promise<number | undefined> {
  let first = Number.POSITIVE_INFINITY;
  await forEachPiece(one.sizeBytes, options, async (offsetBytes, lengthBytes) => {
    const [data, copy] = await Promise.all([
      one.read(offsetBytes, lengthBytes),
      other.read(offsetBytes, lengthBytes),
    ]);
    if (Buffer.compare(data, copy) === 0) return;
    const differing = data.findIndex((octet, index) => octet !== copy[index]);
    first = Math.min(first, offsetBytes + differing);
  });
  return Number.isFinite(first) ? first : undefined;
}

async function forEachPiece(
  sizeBytes: number,
  { signal, onProgress }: Omit<CopyOptions, "isDestinationZero">,
  action: (offsetBytes: number, lengthBytes: number) => Promise<void>,
): Promise<void> {
  const pieces = piecesOf(sizeBytes);
  let done = 0;
  // The lanes share one iterator: each takes the next piece, and whoever fails ends it for all.
  const lanes = Array.from({ length: PIECES_UNDER_WAY }, async () => {
    for (const { offsetBytes, lengthBytes } of pieces) {
      signal?.throwIfAborted();
      await action(offsetBytes, lengthBytes);
      done += lengthBytes;
      onProgress?.(done);
    }
  });
  // All end before the first failure is told: nobody writes behind the caller's back.
  const outcomes = await Promise.allSettled(lanes);
  const failure = outcomes.find((outcome) => outcome.status === "rejected");
  if (failure !== undefined) throw failure.reason;
}

function* piecesOf(sizeBytes: number): Generator<{ offsetBytes: number; lengthBytes: number }> {
  for (let offsetBytes = 0; offsetBytes < sizeBytes; offsetBytes += PIECE_BYTES) {
    yield { offsetBytes, lengthBytes: Math.min(PIECE_BYTES, sizeBytes - offsetBytes) };
  }
}

/** The parts of `data` that are not zeros, in whole units of `HOLE_BYTES`. */
function runsOfData(data: Uint8Array): Uint8Array[] {
  const runs: Uint8Array[] = [];
  let start = 0;
  for (let at = 0; at < data.length; at += HOLE_BYTES) {
    const end = Math.min(at + HOLE_BYTES, data.length);
    if (Buffer.compare(data.subarray(at, end), ZEROS.subarray(0, end - at)) !== 0) continue;
    if (start < at) runs.push(data.subarray(start, at));
    start = end;
  }
  if (start < data.length) runs.push(data.subarray(start));
  return runs;
}

/** A target as an end of a copy. */
export class RemoteEnd implements DiskEnd {
  readonly name: string;
  readonly sizeBytes: number;
  readonly disk: RemoteDisk;

  constructor(disk: RemoteDisk) {
    this.disk = disk;
    this.name = `e${disk.target.shelf}.${disk.target.slot}`;
    this.sizeBytes = disk.sectors * SECTOR_BYTES;
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    return this.disk.read(offsetBytes / SECTOR_BYTES, lengthBytes / SECTOR_BYTES);
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    await this.disk.write(offsetBytes / SECTOR_BYTES, data);
  }
}
