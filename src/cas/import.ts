import { type FileHandle, open } from "node:fs/promises";
import { systemErrorCode, UsageError } from "../errors.ts";
import { BlockRequest, BlockStatus, SECTOR_BYTES } from "../storage/block-storage.ts";
import { ownUserName } from "../system/account.ts";
import { nextData } from "../system/file-range.ts";
import { imageSizeBytes, readWhole } from "../system/image-file.ts";
import type { CasStore } from "./cas-store.ts";
import type { SnapshotRecord } from "./catalog.ts";
import { Snapshots } from "./snapshots.ts";

export interface ImportOptions {
  readonly volume: string;
  readonly blockBytes?: number;
  readonly onProgress?: (progress: ImportProgress) => void;
}

export interface ImportProgress {
  readonly sizeBytes: number;
  readonly readBytes: number;
}

export interface ImportReport {
  readonly sizeBytes: number;
  /** Bytes that the store holds more than before. */
  readonly storedBytes: number;
  readonly snapshot: SnapshotRecord;
}

const MAX_PIECE_BYTES = 1024 * 1024;
const PIECES_AT_ONCE = 4;

/**
 * Makes a volume of an image file or a block device, and a snapshot of it. Zeros take no space, and
 * what the store has already is not stored again. @throws UsageError
 */
export async function importImage(
  cas: CasStore,
  path: string,
  options: ImportOptions,
): Promise<ImportReport> {
  const file = await open(path, "r").catch((error: unknown) => {
    const code = systemErrorCode(error);
    const who = `user ${ownUserName()}`;
    throw new UsageError(`${path} cannot be read by ${who} (${code}): check the path`, {
      cause: error,
    });
  });
  try {
    const sizeBytes = await imageSizeBytes(file, path);
    if (sizeBytes === 0) throw new UsageError(`${path} is empty: there is nothing to import`);
    const before = cas.store.statistics.blobBytes;
    await cas.createVolume(options.volume, sizeBytes, options.blockBytes);
    await copy(cas, file, sizeBytes, options).catch(async (error: unknown) => {
      await cas.deleteVolume(options.volume);
      throw error;
    });
    const description = `import of ${path}`;
    const snapshot = await new Snapshots(cas).create(options.volume, {
      description,
      trigger: "import",
    });
    const storedBytes = cas.store.statistics.blobBytes - before;
    return { sizeBytes, storedBytes, snapshot };
  } finally {
    await file.close();
  }
}

async function copy(
  cas: CasStore,
  file: FileHandle,
  sizeBytes: number,
  options: ImportOptions,
): Promise<void> {
  const pieceBytes = Math.min(MAX_PIECE_BYTES, cas.store.maxBatchBytes / 2);
  const memory = new Uint8Array(PIECES_AT_ONCE * pieceBytes);
  const volume = cas.openVolume(options.volume, {
    memory,
    durability: "writeback",
    cacheBytes: pieceBytes,
  });
  try {
    const running: Promise<void>[] = [];
    let piece = 0;
    for (const { position, length } of piecesOf(file.fd, sizeBytes, pieceBytes)) {
      const place = piece++ % PIECES_AT_ONCE;
      await running[place];
      const data = memory.subarray(place * pieceBytes, place * pieceBytes + length);
      await readWhole(file, data, position);
      options.onProgress?.({ sizeBytes, readBytes: position + length });
      // A new volume is zero already.
      if (Buffer.compare(data, ZEROS.subarray(0, length)) === 0) continue;
      const request = new PieceRequest(position, length, place * pieceBytes);
      volume.write(request);
      volume.submit();
      running[place] = request.done;
      // It is waited for when its place is needed again, which may be after it has failed.
      request.done.catch(() => undefined);
    }
    options.onProgress?.({ sizeBytes, readBytes: sizeBytes });
    await Promise.all(running);
  } finally {
    await volume.close();
  }
}

/** The pieces of an image in which there is data, in their order; holes are zeros. */
function* piecesOf(
  descriptor: number,
  sizeBytes: number,
  pieceBytes: number,
): Generator<{ position: number; length: number }> {
  let position = 0;
  while (position < sizeBytes) {
    const data = nextData(descriptor, position, sizeBytes);
    if (data === undefined) return;
    const end = Math.min(data.end, sizeBytes);
    // Pieces begin where they would without holes: at whole blocks of the volume.
    position = Math.max(position, data.start - (data.start % pieceBytes));
    for (; position < end; position += pieceBytes) {
      yield { position, length: Math.min(pieceBytes, sizeBytes - position) };
    }
  }
}

const ZEROS = new Uint8Array(MAX_PIECE_BYTES);

class PieceRequest extends BlockRequest {
  readonly #result = Promise.withResolvers<void>();

  constructor(position: number, lengthBytes: number, memoryOffset: number) {
    super();
    this.lba = position / SECTOR_BYTES;
    this.lengthSectors = lengthBytes / SECTOR_BYTES;
    this.memoryOffset = memoryOffset;
  }

  get done(): Promise<void> {
    return this.#result.promise;
  }

  override completed(): void {
    if (this.status === BlockStatus.ok) this.#result.resolve();
    else this.#result.reject(new Error(`LBA ${this.lba} was not stored (status ${this.status})`));
  }
}
