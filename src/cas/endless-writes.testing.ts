import { writeSync } from "node:fs";
import { BlockRequest, BlockStatus } from "../storage/block-storage.ts";
import type { Volume } from "./volume.ts";

const BLOCK_BYTES = 4096;
const SECTORS_A_BLOCK = 8;

/** How many writes are under way at once. */
const WRITES_AT_ONCE = 16;

/** Memory of the volume for `writeEndlessly`. */
export const endlessMemory = new Uint8Array(WRITES_AT_ONCE * BLOCK_BYTES);

export interface EndlessWrites {
  /** The volume's size in blocks of 4096 bytes. */
  readonly blocks: number;
  /** Each write fills its block with a number of its own; they count up from this one. */
  readonly firstValue: number;
  /** One was not stored; it is not followed by another. */
  readonly refused: (status: BlockStatus) => void;
}

/**
 * Writes to a volume for ever, and says on standard output, a line each, what it begins ("begin
 * BLOCK VALUE") and what was acknowledged ("done BLOCK VALUE"): for processes that are to be killed.
 */
export function writeEndlessly(volume: Volume, options: EndlessWrites): void {
  const { blocks, refused } = options;
  let nextValue = options.firstValue;
  let place = nextValue * 7919;

  class Write extends BlockRequest {
    #value = 0;

    begin(): void {
      this.#value = nextValue++;
      place = (place * 1103515245 + 12345) % 2147483648;
      this.lba = (place % blocks) * SECTORS_A_BLOCK;
      this.lengthSectors = SECTORS_A_BLOCK;
      new Uint32Array(endlessMemory.buffer, this.memoryOffset, BLOCK_BYTES / 4).fill(this.#value);
      this.#say("begin");
      volume.write(this);
    }

    completed(): void {
      if (this.status !== BlockStatus.ok) return refused(this.status);
      this.#say("done");
      setImmediate(() => {
        this.begin();
        volume.submit();
      });
    }

    #say(what: string): void {
      writeSync(1, `${what} ${this.lba / SECTORS_A_BLOCK} ${this.#value}\n`);
    }
  }

  for (let index = 0; index < WRITES_AT_ONCE; index++) {
    const write = new Write();
    write.memoryOffset = index * BLOCK_BYTES;
    write.begin();
  }
  volume.submit();
}
