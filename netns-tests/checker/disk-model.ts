import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { versionOf } from "./sector-content.ts";
import { SnapshotCut } from "./snapshot-cut.ts";

export interface Write {
  /** Counts the writes and trims of a run from 1, in the order in which they were sent. */
  readonly version: number;
  readonly lba: number;
  readonly sectors: number;
  readonly isTrim: boolean;
  /** When it was sent and acknowledged: places in one order of all such events. */
  readonly sentAt: number;
  acknowledgedAt: number;
}

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
  readonly writes: (Write | undefined)[] = [undefined];
  readonly cuts: SnapshotCut[] = [];
  #events = 0;

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
    const version = this.writes.length;
    const sentAt = ++this.#events;
    const write = { version, lba, sectors, isTrim, sentAt, acknowledgedAt: Infinity };
    this.writes.push(write);
    this.unknown.fill(version, lba, lba + sectors);
    for (const cut of this.cuts) cut.sent(write);
    return write;
  }

  acknowledge(write: Write): void {
    const { lba, sectors, version } = write;
    write.acknowledgedAt = ++this.#events;
    this.acknowledged.fill(version, lba, lba + sectors);
    this.unknown.fill(0, lba, lba + sectors);
  }

  /** What a sector holds after a write: its number, or 0 for zeros. */
  contentOf(version: number): number {
    return this.writes[version]?.isTrim === true ? 0 : version;
  }

  /** From now on until its `end`, a snapshot is being taken. */
  beginCut(): SnapshotCut {
    const cut = new SnapshotCut(this);
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
      if (unknown !== 0 && found === this.contentOf(unknown)) {
        this.acknowledged[sector] = unknown;
      } else if (found !== this.contentOf(acknowledged)) {
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
    return this.writes[version]?.isTrim === true ? `zeros of trim ${version}` : describe(version);
  }
}

export function describe(found: number): string {
  if (found < 0) return "what was never written there";
  return found === 0 ? "zeros" : `write ${found}`;
}
