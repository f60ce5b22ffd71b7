/**
 * The data of DATA SET MANAGEMENT (ATA 0x06, TRIM): blocks of 512 octets with 64 ranges each, least
 * significant octet first. A range of no sectors is padding.
 *
 * ```
 *   0  first LBA, six octets   6  sectors, two octets
 * ```
 */
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
  const low = bytes[range] | (bytes[range + 1] << 8) | (bytes[range + 2] << 16);
  const high = bytes[range + 3] | (bytes[range + 4] << 8) | (bytes[range + 5] << 16);
  return {
    lba: high * 0x1000000 + low,
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
  const high = Math.floor(range.lba / 0x1000000);
  bytes[first] = range.lba;
  bytes[first + 1] = range.lba >>> 8;
  bytes[first + 2] = range.lba >>> 16;
  bytes[first + 3] = high;
  bytes[first + 4] = high >>> 8;
  bytes[first + 5] = high >>> 16;
  bytes[first + 6] = range.sectors;
  bytes[first + 7] = range.sectors >>> 8;
}
