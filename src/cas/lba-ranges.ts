import { SECTOR_BYTES } from "../storage/block-storage.ts";

export interface LbaRange {
  readonly lba: number;
  readonly lengthSectors: number;
}

/** Ranges of blocks, joined where they touch, as sectors that do not reach beyond the disk. */
export class LbaRanges {
  readonly list: LbaRange[] = [];
  readonly #blockBytes: number;
  readonly #sectors: number;

  constructor(blockBytes: number, sizeBytes: number) {
    this.#blockBytes = blockBytes;
    this.#sectors = sizeBytes / SECTOR_BYTES;
  }

  add(block: number, count: number): void {
    const sectorsPerBlock = this.#blockBytes / SECTOR_BYTES;
    const lba = block * sectorsPerBlock;
    const end = Math.min(lba + count * sectorsPerBlock, this.#sectors);
    const last = this.list.at(-1);
    if (last !== undefined && last.lba + last.lengthSectors === lba) {
      this.list[this.list.length - 1] = { lba: last.lba, lengthSectors: end - last.lba };
    } else if (end > lba) {
      this.list.push({ lba, lengthSectors: end - lba });
    }
  }
}
