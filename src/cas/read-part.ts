import { copyBytes } from "../blob/bytes.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";

/** Some sectors of a block, and where they go. Used again for each block of a read. */
export class ReadPart {
  block = 0;
  within = 0;
  count = 0;
  target = 0;
  /** Sectors of the block that are in place already; undefined: none. */
  filled: Uint8Array | undefined;

  set(block: number, within: number, count: number, target: number): void {
    this.block = block;
    this.within = within;
    this.count = count;
    this.target = target;
    this.filled = undefined;
  }

  /** One of its own, for a read that has to wait. */
  copy(): ReadPart {
    const copy = new ReadPart();
    copy.set(this.block, this.within, this.count, this.target);
    copy.filled = this.filled?.slice();
    return copy;
  }
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
    copyBytes(source, from, memory, target, count * SECTOR_BYTES);
    return;
  }
  for (let sector = 0; sector < count; sector++) {
    if (filled[within + sector] === 1) continue;
    const done = sector * SECTOR_BYTES;
    copyBytes(source, from + done, memory, target + done, SECTOR_BYTES);
  }
}
