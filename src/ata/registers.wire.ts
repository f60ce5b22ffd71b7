/**
 * The ATA registers as an AoE frame carries them (AoEr11 §3.1). `at` is the offset of the frame.
 *
 * ```
 *   24  flags   25  features | error   26  sector count   27  command | status
 *   28  LBA, six octets, least significant first           34  reserved
 *   36  data
 * ```
 */
export const ATA_DATA_OFFSET_BYTES = 36;

/** Flags of a request; an engine follows the command and needs none of them to be right. */
export const AtaFlag = { write: 0x01, asynchronous: 0x02, device: 0x10, extended: 0x40 } as const;

export const AtaStatus = { error: 0x01, deviceFault: 0x20, ready: 0x40 } as const;

export const AtaError = { aborted: 0x04, idNotFound: 0x10, uncorrectable: 0x40 } as const;

const FLAGS = 24;
const FEATURES_OR_ERROR = 25;
const SECTOR_COUNT = 26;
const COMMAND_OR_STATUS = 27;
const LBA = 28;
const RESERVED = 34;

export function ataFeatures(bytes: Uint8Array, at: number): number {
  return bytes[at + FEATURES_OR_ERROR];
}

export function ataErrorRegister(bytes: Uint8Array, at: number): number {
  return bytes[at + FEATURES_OR_ERROR];
}

export function ataSectorCount(bytes: Uint8Array, at: number): number {
  return bytes[at + SECTOR_COUNT];
}

export function ataCommand(bytes: Uint8Array, at: number): number {
  return bytes[at + COMMAND_OR_STATUS];
}

export function ataStatus(bytes: Uint8Array, at: number): number {
  return bytes[at + COMMAND_OR_STATUS];
}

/** A 28-bit address; the high nibble of LBA3 holds device bits, LBA4 and LBA5 are not used. */
export function lba28(bytes: Uint8Array, at: number): number {
  const first = at + LBA;
  return (
    bytes[first] |
    (bytes[first + 1] << 8) |
    (bytes[first + 2] << 16) |
    ((bytes[first + 3] & 0xf) << 24)
  );
}

/** A 48-bit address; it fits a number exactly. */
export function lba48(bytes: Uint8Array, at: number): number {
  return readUint48(bytes, at + LBA);
}

export function writeLba48(bytes: Uint8Array, at: number, lba: number): void {
  writeUint48(bytes, at + LBA, lba);
}

/** Six octets, least significant first, at `first`: how ATA writes an LBA everywhere. */
export function readUint48(bytes: Uint8Array, first: number): number {
  const low = bytes[first] | (bytes[first + 1] << 8) | (bytes[first + 2] << 16);
  const high = bytes[first + 3] | (bytes[first + 4] << 8) | (bytes[first + 5] << 16);
  return high * 0x1000000 + low;
}

export function writeUint48(bytes: Uint8Array, first: number, value: number): void {
  const high = Math.floor(value / 0x1000000);
  bytes[first] = value;
  bytes[first + 1] = value >>> 8;
  bytes[first + 2] = value >>> 16;
  bytes[first + 3] = high;
  bytes[first + 4] = high >>> 8;
  bytes[first + 5] = high >>> 16;
}

/** Writes the result registers over those of the request; the LBA stays. */
export function writeAtaResult(
  bytes: Uint8Array,
  at: number,
  status: number,
  error: number,
  sectorCount: number,
): void {
  bytes[at + FEATURES_OR_ERROR] = error;
  bytes[at + SECTOR_COUNT] = sectorCount;
  bytes[at + COMMAND_OR_STATUS] = status;
  bytes[at + RESERVED] = 0;
  bytes[at + RESERVED + 1] = 0;
}

export interface AtaRegisters {
  readonly flags: number;
  readonly features: number;
  readonly sectorCount: number;
  readonly command: number;
  readonly lba: number;
}

/** Writes the registers of a request, as an initiator does. */
export function writeAtaRegisters(bytes: Uint8Array, at: number, registers: AtaRegisters): void {
  bytes[at + FLAGS] = registers.flags;
  writeLba48(bytes, at, registers.lba);
  writeAtaResult(bytes, at, registers.command, registers.features, registers.sectorCount);
}
