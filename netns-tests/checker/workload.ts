import { AtaReplyError } from "../../src/initiator/initiator-error.ts";
import type { RemoteDisk } from "../../src/initiator/remote-disk.ts";
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import type { DiskModel } from "./disk-model.ts";
import { fillSector, versionOf } from "./sector-content.ts";
import type { Write } from "./write-log.ts";

export interface WorkloadOptions {
  /** Operations at once. */
  readonly writers: number;
  /** The workload ends by itself when so many changes were refused; 0: none may be. */
  readonly maxRefused: number;
  /** It ends by itself when so many changes were acknowledged; 0: it does not. */
  readonly maxChanges: number;
  /** Shares of reads and trims, of 1; the rest are writes. */
  readonly readShare: number;
  readonly trimShare: number;
  /** Where it works: sectors below this one. */
  readonly sectors: number;
  /** Writes each sector once, in order, instead of random places, and ends by itself. */
  readonly inOrder: boolean;
}

export interface WorkloadReport {
  /** Writes and trims. */
  readonly acknowledged: number;
  readonly unanswered: number;
  readonly refused: number;
  readonly reads: number;
  /** What is wrong. */
  readonly findings: readonly string[];
}

/** One command at MTU 9000. */
const MAX_SECTORS = 16;
const BLOCK_SECTORS = 8;

/** Random writes, reads and trims of 1 to 16 sectors, and the account of what was acknowledged. */
export class Workload {
  readonly #disk: RemoteDisk;
  readonly #model: DiskModel;
  readonly #random: () => number;
  readonly #options: WorkloadOptions;
  readonly #counts = { acknowledged: 0, unanswered: 0, refused: 0, reads: 0 };
  readonly #findings: string[] = [];
  readonly #ended: Promise<unknown>;
  #next = 0;
  #isAbandoned = false;
  #isEnough = false;

  constructor(disk: RemoteDisk, model: DiskModel, random: () => number, options: WorkloadOptions) {
    this.#disk = disk;
    this.#model = model;
    this.#random = random;
    this.#options = options;
    this.#ended = Promise.all(Array.from({ length: options.writers }, async () => this.#work()));
  }

  get acknowledged(): number {
    return this.#counts.acknowledged;
  }

  /** Resolves when it is over by itself and all operations have ended. */
  async ended(): Promise<WorkloadReport> {
    await this.#ended;
    return { ...this.#counts, findings: this.#findings };
  }

  /** What fails from now on fails because the server is gone. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#isEnough = true;
  }

  async #work(): Promise<void> {
    const { readShare, trimShare } = this.#options;
    while (!this.#isOver()) {
      const { lba, sectors } = this.#place();
      const choice = this.#random();
      try {
        if (choice < readShare) await this.#read(lba, sectors);
        else await this.#change(lba, sectors, choice < readShare + trimShare);
      } catch (error) {
        if (!this.#isAbandoned) this.#findings.push(String(error));
      }
    }
  }

  #isOver(): boolean {
    const { maxRefused, maxChanges, inOrder, sectors } = this.#options;
    const isRefused = maxRefused > 0 && this.#counts.refused >= maxRefused;
    const isDone = maxChanges > 0 && this.#counts.acknowledged >= maxChanges;
    const isCovered = inOrder && this.#next >= sectors;
    return this.#isEnough || isRefused || isDone || isCovered || this.#findings.length > 0;
  }

  #placeInOrder(): { lba: number; sectors: number } {
    const lba = this.#next;
    const sectors = Math.min(MAX_SECTORS, this.#options.sectors - lba);
    this.#next += sectors;
    return { lba, sectors };
  }

  /** Sectors that nobody else is at; half of the time whole blocks. */
  #place(): { lba: number; sectors: number } {
    if (this.#options.inOrder) return this.#placeInOrder();
    for (;;) {
      const unit = this.#random() < 0.5 ? BLOCK_SECTORS : 1;
      const sectors = unit * (1 + Math.floor(this.#random() * (MAX_SECTORS / unit)));
      const places = Math.floor((this.#options.sectors - sectors) / unit) + 1;
      const lba = Math.floor(this.#random() * places) * unit;
      if (this.#model.isFree(lba, sectors)) return { lba, sectors };
    }
  }

  async #change(lba: number, sectors: number, isTrim: boolean): Promise<void> {
    const write = this.#model.send(lba, sectors, isTrim);
    this.#counts.unanswered++;
    try {
      if (isTrim) await this.#disk.trim(lba, sectors);
      else await this.#disk.write(lba, contentOf(write));
    } catch (error) {
      if (!(error instanceof AtaReplyError) || this.#options.maxRefused === 0) throw error;
      this.#counts.unanswered--;
      this.#counts.refused++;
      return;
    }
    this.#model.acknowledge(write);
    this.#counts.unanswered--;
    this.#counts.acknowledged++;
  }

  async #read(lba: number, sectors: number): Promise<void> {
    const before = this.#model.acknowledged.slice(lba, lba + sectors);
    const data = await this.#disk.read(lba, sectors);
    this.#counts.reads++;
    const words = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
    for (let index = 0; index < sectors; index++) {
      const sector = lba + index;
      // Somebody has written it meanwhile: it may be old or new.
      if (!this.#model.isFree(sector, 1)) continue;
      if (this.#model.acknowledged[sector] !== before[index]) continue;
      const found = versionOf(words, (index * SECTOR_BYTES) / 4, sector);
      const expected = this.#model.log.contentOf(before[index]);
      if (found === expected) continue;
      this.#findings.push(`sector ${sector} was read as ${found} instead of ${expected}`);
    }
  }
}

function contentOf({ lba, sectors, version }: Write): Uint8Array {
  const words = new Uint32Array((sectors * SECTOR_BYTES) / 4);
  for (let index = 0; index < sectors; index++) {
    fillSector(words, (index * SECTOR_BYTES) / 4, lba + index, version);
  }
  return new Uint8Array(words.buffer);
}
