import { SECTOR_BYTES } from "../storage/block-storage.ts";

/** Some sectors of a block, and where they go. */
export interface ReadPart {
  readonly block: number;
  readonly within: number;
  readonly count: number;
  readonly target: number;
  /** Sectors of the block that are in place already; undefined: none. */
  readonly filled: Uint8Array | undefined;
}

export function fillPart(memory: Uint8Array, part: ReadPart): void {
  const { within, count, target, filled } = part;
  if (filled === undefined) {
    memory.fill(0, target, target + count * SECTOR_BYTES);
    return;
  }
  for (let sector = 0; sector < count; sector++) {
    if (filled[within + sector] === 1) continue;
    const at = target + sector * SECTOR_BYTES;
    memory.fill(0, at, at + SECTOR_BYTES);
  }
}

export function copyPart(
  source: Uint8Array,
  block: number,
  memory: Uint8Array,
  part: ReadPart,
): void {
  const { within, count, target, filled } = part;
  const from = block + within * SECTOR_BYTES;
  if (filled === undefined) {
    memory.set(source.subarray(from, from + count * SECTOR_BYTES), target);
    return;
  }
  for (let sector = 0; sector < count; sector++) {
    if (filled[within + sector] === 1) continue;
    const at = from + sector * SECTOR_BYTES;
    memory.set(source.subarray(at, at + SECTOR_BYTES), target + sector * SECTOR_BYTES);
  }
}
