import { randomBytes } from "node:crypto";
import { UsageError } from "../errors.ts";
import type { LogDisk, LogFile } from "./log-disk.ts";
import {
  decodeSuperblock,
  encodeSuperblock,
  FIRST_FRAME_OFFSET,
  SECTOR_BYTES,
  type Superblock,
  SUPERBLOCK_NAME,
  SUPERBLOCK_STRIDE_BYTES,
} from "./segment-format.ts";

const COPIES = 2;

/** The superblock: two copies, written in turn, so that one is whole at any moment. */
export class SuperblockFile {
  readonly #file: LogFile;
  current: Superblock;

  private constructor(file: LogFile, current: Superblock) {
    this.#file = file;
    this.current = current;
  }

  /** A new store, with an empty log: it begins with segment 1, sequence 1. */
  static async create(disk: LogDisk, segmentBytes: number): Promise<SuperblockFile> {
    const names = await disk.list();
    const file = await (names.includes(SUPERBLOCK_NAME)
      ? disk.open(SUPERBLOCK_NAME)
      : disk.create(SUPERBLOCK_NAME));
    const beginning = {
      slot: 0,
      segmentNumber: 1,
      offset: FIRST_FRAME_OFFSET,
      sequence: 1,
      previousChecksum: 0,
    };
    const superblock = new SuperblockFile(file, {
      storeId: randomBytes(16),
      segmentBytes,
      counter: 0,
      epoch: 0,
      checkpoint: beginning,
      previousCheckpoint: beginning,
      durableSequence: 0,
    });
    await superblock.update({});
    await disk.syncNames();
    return superblock;
  }

  /** Undefined when there is no valid superblock. */
  static async open(disk: LogDisk): Promise<SuperblockFile | undefined> {
    const names = await disk.list();
    if (!names.includes(SUPERBLOCK_NAME)) return undefined;
    const file = await disk.open(SUPERBLOCK_NAME);
    let newest: Superblock | undefined;
    for (let copy = 0; copy < COPIES; copy++) {
      const sector = new Uint8Array(SECTOR_BYTES);
      await file.read(sector, copy * SUPERBLOCK_STRIDE_BYTES);
      const superblock = decodeSuperblock(sector);
      if (superblock === "newer") {
        await file.close();
        throw new UsageError(
          `the store ${disk.description} was written by a newer version of aoed: use that version`,
        );
      }
      if (superblock !== undefined && superblock.counter > (newest?.counter ?? -1)) {
        newest = superblock;
      }
    }
    if (newest !== undefined) return new SuperblockFile(file, newest);
    await file.close();
    return undefined;
  }

  /** Resolves when the new superblock is durable; until then the one before holds. */
  async update(
    change: Partial<Pick<Superblock, "checkpoint" | "durableSequence" | "epoch">>,
  ): Promise<void> {
    const { checkpoint, counter } = this.current;
    const previous = change.checkpoint === undefined ? {} : { previousCheckpoint: checkpoint };
    const next = { ...this.current, ...previous, ...change, counter: counter + 1 };
    const copy = next.counter % COPIES;
    await this.#file.writeDurably(encodeSuperblock(next), copy * SUPERBLOCK_STRIDE_BYTES);
    this.current = next;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
