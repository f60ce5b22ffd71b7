import type { DamagedBlob, ScrubProgress } from "../blob/blob-store.ts";
import { hashToHex } from "../blob/hash.ts";
import type { CasStore } from "./cas-store.ts";
import { type DamagedRanges, locateDamage } from "./damage-locator.ts";
import { RateLimit } from "./rate-limit.ts";

export interface ScrubOptions {
  readonly bytesPerSecond?: number;
  readonly onProgress?: (progress: ScrubProgress) => void;
  /** Stops the pass; the next one goes on from there. */
  readonly signal?: AbortSignal;
}

export interface ScrubReport {
  readonly isComplete: boolean;
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: DamagedBlob[];
  /** Where the damaged blobs are used. */
  readonly affected: DamagedRanges[];
}

/** How much is read between two notes of how far the pass has come. */
const NOTE_BYTES = 64 * 1024 * 1024;

/** Reads every blob of the store and compares it with its name, at a bounded rate. */
export async function scrub(cas: CasStore, options: ScrubOptions = {}): Promise<ScrubReport> {
  const limit = new RateLimit(options.bytesPerSecond ?? Infinity);
  const progress = { blobs: 0, bytes: 0, remainingBytes: 0 };
  const damaged: DamagedBlob[] = [];
  let { cursor } = cas.catalog.scrub;
  let noted = 0;
  do {
    const before = progress.bytes;
    cursor = await cas.store.scrub(cursor, (blob) => damaged.push(blob), progress);
    options.onProgress?.(progress);
    if (progress.bytes - noted >= NOTE_BYTES) {
      noted = progress.bytes;
      await note(cas, cursor);
    }
    await limit.spend(progress.bytes - before, options.signal);
  } while (cursor !== 0 && options.signal?.aborted !== true);
  await note(cas, cursor);
  for (const { hash, place } of damaged) {
    cas.log("error", `${cas.store.description}: blob ${hashToHex(hash)} in ${place} is damaged`);
  }
  const affected = await affectedBy(cas, damaged);
  return {
    isComplete: cursor === 0,
    blobs: progress.blobs,
    bytes: progress.bytes,
    damaged,
    affected,
  };
}

async function note(cas: CasStore, cursor: number): Promise<void> {
  const { completed } = cas.catalog.scrub;
  const scrubState = { cursor, completed: cursor === 0 ? new Date().toISOString() : completed };
  await cas.batch().operation({ op: "scrub", scrub: scrubState }).appendTo(cas.store);
}

async function affectedBy(cas: CasStore, damaged: DamagedBlob[]): Promise<DamagedRanges[]> {
  if (damaged.length === 0) return [];
  const affected = await locateDamage(
    cas,
    damaged.map(({ hash }) => hash),
  );
  for (const { snapshot, volume, ranges } of affected) {
    const where = snapshot === null ? `volume ${volume}` : `snapshot ${snapshot} of ${volume}`;
    for (const { lba, lengthSectors } of ranges) {
      cas.log("error", `${where}: LBA ${lba} to ${lba + lengthSectors - 1} cannot be read`);
    }
  }
  return affected;
}
