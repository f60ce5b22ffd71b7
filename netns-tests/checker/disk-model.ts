import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { describe, versionOf } from "./sector-content.ts";
import { SnapshotCut } from "./snapshot-cut.ts";
import { type Write, WriteLog } from "./write-log.ts";

const WORDS_PER_SECTOR = SECTOR_BYTES / 4;

/**
 * What a disk may hold, by what was sent to it and what it acknowledged. At most one write of a
 * sector is on its way at a time: until it is acknowledged the sector may be old or new.
 */
export class DiskModel {
  readonly sectors: number;
  /** The number of the last acknowledged write of each sector; 0: none, the sector is zeros. */
  readonly acknowledged: Uint32Array;
  /** The number of the write of each sector whose outcome is unknown, or 0. */
  readonly unknown: Uint32Array;
  readonly log = new WriteLog();
  readonly cuts: SnapshotCut[] = [];

  constructor(sectors: number) {
    this.sectors = sectors;
    this.acknowledged = new Uint32Array(sectors);
    this.unknown = new Uint32Array(sectors);
  }

  isFree(lba: number, sectors: number): boolean {
    for (let sector = lba; sector < lba + sectors; sector++) {
      if (this.unknown[sector] !== 0) return false;
    }
    return true;
  }

  send(lba: number, sectors: number, isTrim: boolean): Write {
    const write = this.log.send(lba, sectors, isTrim);
    this.unknown.fill(write.version, lba, lba + sectors);
    for (const cut of this.cuts) cut.sent(write);
    return write;
  }

  acknowledge(write: Write): void {
    const { lba, sectors, version } = write;
    this.log.acknowledge(write);
    this.acknowledged.fill(version, lba, lba + sectors);
    this.unknown.fill(0, lba, lba + sectors);
  }

  /** From now on until its `end`, a snapshot is being taken. */
  beginCut(): SnapshotCut {
    const cut = new SnapshotCut(this.log, this.acknowledged.slice(), this.unknown.slice());
    this.cuts.push(cut);
    return cut;
  }

  /**
   * Compares sectors with what they may hold. What an unknown write has left is known then, and must
   * stay so.
   * @returns what is wrong, one line a sector
   */
  settle(lba: number, data: Uint8Array): string[] {
    const words = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
    const wrong: string[] = [];
    for (let index = 0; index < data.length / SECTOR_BYTES; index++) {
      const sector = lba + index;
      const found = versionOf(words, index * WORDS_PER_SECTOR, sector);
      const acknowledged = this.acknowledged[sector];
      const unknown = this.unknown[sector];
      this.unknown[sector] = 0;
      if (unknown !== 0 && found === this.log.contentOf(unknown)) {
        this.acknowledged[sector] = unknown;
      } else if (found !== this.log.contentOf(acknowledged)) {
        wrong.push(
          `sector ${sector} holds ${describe(found)} instead of ${this.#describe(acknowledged)}` +
            (unknown === 0 ? "" : ` or ${this.#describe(unknown)}`),
        );
      }
    }
    return wrong;
  }

  #describe(version: number): string {
    if (version === 0) return "zeros, as never written";
    return this.log.get(version)?.isTrim === true ? `zeros of trim ${version}` : describe(version);
  }
}
