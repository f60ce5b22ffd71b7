/** Children of a node of the tree. */
export const ARITY = 128;

const MIN_BLOCK_BYTES = 512;
const MAX_BLOCK_BYTES = 65536;
/** 128^6 blocks of 512 bytes; sector numbers of LBA48 end before that. */
export const MAX_VOLUME_BYTES = 2 ** 48 * 512;

/** How a disk of some size is cut into blocks, and the blocks into a tree. */
export class Geometry {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly blocks: number;
  /** Levels of nodes: a node of level 1 names blocks, the one of level `height` is the top. */
  readonly height: number;

  /** @param blockBytes a power of two, 512 to 65536; the last block may be cut short by the size */
  constructor(sizeBytes: number, blockBytes: number) {
    this.sizeBytes = sizeBytes;
    this.blockBytes = blockBytes;
    this.blocks = Math.ceil(sizeBytes / blockBytes);
    let height = 1;
    while (spanOf(height) < this.blocks) height++;
    this.height = height;
  }
}

const MOST_LEVELS = 7;
const SPANS: readonly number[] = Array.from(
  { length: MOST_LEVELS + 1 },
  (_, level) => ARITY ** level,
);

/** How many blocks a node of this level covers. */
export function spanOf(level: number): number {
  return SPANS[level];
}

export function isBlockSize(blockBytes: number): boolean {
  const isPowerOfTwo = Number.isInteger(Math.log2(blockBytes));
  return isPowerOfTwo && blockBytes >= MIN_BLOCK_BYTES && blockBytes <= MAX_BLOCK_BYTES;
}
