/**
 * The data of DATA SET MANAGEMENT (ATA 0x06, TRIM): blocks of 512 octets with 64 ranges each, least
 * significant octet first. A range of no sectors is padding.
 *
 * ```
 *   0  first LBA, six octets   6  sectors, two octets
 * ```
 */
import { readUint48, writeUint48 } from "./registers.wire.ts";

const RANGE_BYTES = 8;
const RANGES_IN_BLOCK = 64;

export interface DataSetRange {
  readonly lba: number;
  readonly sectors: number;
}

export function dataSetRangeCount(blocks: number): number {
  return blocks * RANGES_IN_BLOCK;
}

export function dataSetRange(bytes: Uint8Array, at: number, index: number): DataSetRange {
  const range = at + index * RANGE_BYTES;
  return {
    lba: readUint48(bytes, range),
    sectors: bytes[range + 6] | (bytes[range + 7] << 8),
  };
}

export function writeDataSetRange(
  bytes: Uint8Array,
  at: number,
  index: number,
  range: DataSetRange,
): void {
  const first = at + index * RANGE_BYTES;
  writeUint48(bytes, first, range.lba);
  bytes[first + 6] = range.sectors;
  bytes[first + 7] = range.sectors >>> 8;
}
