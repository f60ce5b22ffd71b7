/**
 * Arguments of command 2, MAC mask list (AoEr11 §3.3), and command 3, Reserve/Release (§3.4).
 *
 * ```
 *   mask      24  reserved   25  sub-command   26  error   27  directive count
 *             28  directives of 8 octets: reserved, directive command, MAC
 *   reserve   24  sub-command   25  MAC count   26  MACs of 6 octets
 * ```
 */
import { MAC_BYTES, readMac, writeMac } from "./header.wire.ts";

export const MASK_DIRECTIVES_OFFSET_BYTES = 28;
export const MASK_DIRECTIVE_BYTES = 8;
/** The directive count is one octet. */
export const MASK_LIMIT = 255;

export const MaskCommand = { read: 0, edit: 1 } as const;
export const MaskDirective = { none: 0, add: 1, remove: 2 } as const;
export const MaskError = { none: 0, unspecified: 1, badDirective: 2, listFull: 3 } as const;
export type MaskError = (typeof MaskError)[keyof typeof MaskError];

const MASK_RESERVED = 24;
const MASK_COMMAND = 25;
const MASK_ERROR = 26;
const MASK_COUNT = 27;

export function maskCommand(bytes: Uint8Array, at: number): number {
  return bytes[at + MASK_COMMAND];
}

export function maskDirectiveCount(bytes: Uint8Array, at: number): number {
  return bytes[at + MASK_COUNT];
}

export interface Directive {
  readonly command: number;
  readonly mac: number;
}

export function maskDirective(bytes: Uint8Array, at: number, index: number): Directive {
  const directive = at + MASK_DIRECTIVES_OFFSET_BYTES + index * MASK_DIRECTIVE_BYTES;
  return { command: bytes[directive + 1], mac: readMac(bytes, directive + 2) };
}

/** Writes the head of a mask reply. @returns the length of the frame without directives */
export function writeMaskResult(
  bytes: Uint8Array,
  at: number,
  error: MaskError,
  count: number,
): number {
  bytes[at + MASK_RESERVED] = 0;
  bytes[at + MASK_ERROR] = error;
  bytes[at + MASK_COUNT] = count;
  return MASK_DIRECTIVES_OFFSET_BYTES;
}

/** Writes one directive that adds `mac`, the form in which a list is told. */
export function writeMaskDirective(
  bytes: Uint8Array,
  at: number,
  index: number,
  mac: number,
): void {
  const directive = at + MASK_DIRECTIVES_OFFSET_BYTES + index * MASK_DIRECTIVE_BYTES;
  bytes[directive] = 0;
  bytes[directive + 1] = MaskDirective.add;
  writeMac(bytes, directive + 2, mac);
}

export const RESERVE_MACS_OFFSET_BYTES = 26;

export const ReserveCommand = { read: 0, set: 1, forceSet: 2 } as const;

const RESERVE_COMMAND = 24;
const RESERVE_COUNT = 25;

export function reserveCommand(bytes: Uint8Array, at: number): number {
  return bytes[at + RESERVE_COMMAND];
}

export function reserveCount(bytes: Uint8Array, at: number): number {
  return bytes[at + RESERVE_COUNT];
}

export function reserveMac(bytes: Uint8Array, at: number, index: number): number {
  return readMac(bytes, at + RESERVE_MACS_OFFSET_BYTES + index * MAC_BYTES);
}

/** Writes the list of a reserve reply. @returns the length of the frame in octets */
export function writeReservation(bytes: Uint8Array, at: number, macs: readonly number[]): number {
  bytes[at + RESERVE_COUNT] = macs.length;
  macs.forEach((mac, index) => {
    writeMac(bytes, at + RESERVE_MACS_OFFSET_BYTES + index * MAC_BYTES, mac);
  });
  return RESERVE_MACS_OFFSET_BYTES + macs.length * MAC_BYTES;
}
