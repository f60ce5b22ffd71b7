/**
 * The header that every AoE frame begins with (AoEr11 §2), as offsets and pure functions over the
 * bytes of the arena; `at` is the offset of the frame's first octet.
 *
 * ```
 *    0  destination MAC   6  source MAC   12  EtherType 0x88A2
 *   14  version (high nibble), flags (low nibble)   15  error
 *   16  shelf             18  slot        19  command
 *   20  tag
 *   24  arguments of the command
 * ```
 */
export const AOE_ETHER_TYPE = 0x88a2;
export const AOE_VERSION = 1;
export const AOE_HEADER_BYTES = 24;
export const MINIMUM_FRAME_BYTES = 60;
export const ETHERNET_HEADER_BYTES = 14;
export const MAC_BYTES = 6;

export const ALL_SHELVES = 0xffff;
export const ALL_SLOTS = 0xff;

export const AoeFlag = { response: 0x8, error: 0x4 } as const;

export const AoeCommand = { ata: 0, config: 1, macMask: 2, reserve: 3 } as const;

/** Error codes of the header (AoEr11 §2.4). */
export const AoeError = {
  unrecognizedCommand: 1,
  badArgument: 2,
  deviceUnavailable: 3,
  configStringPresent: 4,
  unsupportedVersion: 5,
  targetReserved: 6,
} as const;
export type AoeError = (typeof AoeError)[keyof typeof AoeError];

const SOURCE = 6;
const ETHER_TYPE = 12;
const VERSION_AND_FLAGS = 14;
const ERROR = 15;
const SHELF = 16;
const SLOT = 18;
const COMMAND = 19;
const TAG = 20;

export function readUint16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function writeUint16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** A MAC address as one number of 48 bits, so that it can be compared and put in a Set. */
export function readMac(bytes: Uint8Array, at: number): number {
  const high = (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];
  const low = (bytes[at + 3] << 16) | (bytes[at + 4] << 8) | bytes[at + 5];
  return high * 0x1000000 + low;
}

export function writeMac(bytes: Uint8Array, at: number, mac: number): void {
  const high = Math.floor(mac / 0x1000000);
  bytes[at] = high >>> 16;
  bytes[at + 1] = high >>> 8;
  bytes[at + 2] = high;
  bytes[at + 3] = mac >>> 16;
  bytes[at + 4] = mac >>> 8;
  bytes[at + 5] = mac;
}

export function etherType(bytes: Uint8Array, at: number): number {
  return readUint16(bytes, at + ETHER_TYPE);
}

export function version(bytes: Uint8Array, at: number): number {
  return bytes[at + VERSION_AND_FLAGS] >>> 4;
}

export function flags(bytes: Uint8Array, at: number): number {
  return bytes[at + VERSION_AND_FLAGS] & 0xf;
}

export function errorCode(bytes: Uint8Array, at: number): number {
  return bytes[at + ERROR];
}

export function shelf(bytes: Uint8Array, at: number): number {
  return readUint16(bytes, at + SHELF);
}

export function slot(bytes: Uint8Array, at: number): number {
  return bytes[at + SLOT];
}

export function command(bytes: Uint8Array, at: number): number {
  return bytes[at + COMMAND];
}

export function tag(bytes: Uint8Array, at: number): number {
  return ((readUint16(bytes, at + TAG) << 16) | readUint16(bytes, at + TAG + 2)) >>> 0;
}

export function sourceMac(bytes: Uint8Array, at: number): number {
  return readMac(bytes, at + SOURCE);
}

export function destinationMac(bytes: Uint8Array, at: number): number {
  return readMac(bytes, at);
}

/** A sender must be one station: neither a group address nor all zeros. */
export function hasValidSource(bytes: Uint8Array, at: number): boolean {
  const first = at + SOURCE;
  if ((bytes[first] & 1) !== 0) return false;
  for (let octet = 0; octet < MAC_BYTES; octet++) {
    if (bytes[first + octet] !== 0) return true;
  }
  return false;
}

/** Whether a frame is for the station `mac`: its own address or broadcast, no other group. */
export function isAddressedTo(bytes: Uint8Array, at: number, mac: Uint8Array): boolean {
  if (bytes[at] === 0xff) {
    for (let octet = 1; octet < MAC_BYTES; octet++) {
      if (bytes[at + octet] !== 0xff) return false;
    }
    return true;
  }
  for (let octet = 0; octet < MAC_BYTES; octet++) {
    if (bytes[at + octet] !== mac[octet]) return false;
  }
  return true;
}

/**
 * Turns a request into the head of its reply where it stands: back to the sender, from `mac`, R
 * set, everything that the request had in the flags gone. Command and tag stay (AoEr11 §2.2).
 */
export function writeReplyHeader(
  bytes: Uint8Array,
  at: number,
  mac: Uint8Array,
  shelfAddress: number,
  slotAddress: number,
  error: number,
): void {
  for (let octet = 0; octet < MAC_BYTES; octet++) {
    bytes[at + octet] = bytes[at + SOURCE + octet];
    bytes[at + SOURCE + octet] = mac[octet];
  }
  const replyFlags = error === 0 ? AoeFlag.response : AoeFlag.response | AoeFlag.error;
  bytes[at + VERSION_AND_FLAGS] = (AOE_VERSION << 4) | replyFlags;
  bytes[at + ERROR] = error;
  writeUint16(bytes, at + SHELF, shelfAddress);
  bytes[at + SLOT] = slotAddress;
}

export interface RequestHeader {
  readonly destinationMac: number;
  readonly sourceMac: number;
  readonly flags: number;
  readonly shelf: number;
  readonly slot: number;
  readonly command: number;
  readonly tag: number;
}

/** Writes a whole header: what an initiator sends, or a beacon (with `AoeFlag.response`). */
export function writeHeader(bytes: Uint8Array, at: number, header: RequestHeader): void {
  writeMac(bytes, at, header.destinationMac);
  writeMac(bytes, at + SOURCE, header.sourceMac);
  writeUint16(bytes, at + ETHER_TYPE, AOE_ETHER_TYPE);
  bytes[at + VERSION_AND_FLAGS] = (AOE_VERSION << 4) | header.flags;
  bytes[at + ERROR] = 0;
  writeUint16(bytes, at + SHELF, header.shelf);
  bytes[at + SLOT] = header.slot;
  bytes[at + COMMAND] = header.command;
  writeUint16(bytes, at + TAG, header.tag >>> 16);
  writeUint16(bytes, at + TAG + 2, header.tag & 0xffff);
}
