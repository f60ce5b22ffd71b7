/**
 * Arguments of command 1, Config/Query (AoEr11 §3.2). `at` is the offset of the frame.
 *
 * ```
 *   24  buffer count   26  firmware version   28  sector count
 *   29  AoE version (high nibble), sub-command (low nibble)
 *   30  length of the string   32  the string, at most 1024 octets of anything
 * ```
 */
import { AOE_VERSION, readUint16, writeUint16 } from "./header.wire.ts";

export const CONFIG_STRING_OFFSET_BYTES = 32;
export const CONFIG_STRING_LIMIT_BYTES = 1024;

export const ConfigCommand = { read: 0, test: 1, testPrefix: 2, set: 3, forceSet: 4 } as const;

const BUFFER_COUNT = 24;
const FIRMWARE_VERSION = 26;
const SECTOR_COUNT = 28;
const VERSION_AND_COMMAND = 29;
const STRING_LENGTH = 30;

export function configCommand(bytes: Uint8Array, at: number): number {
  return bytes[at + VERSION_AND_COMMAND] & 0xf;
}

export function configStringLength(bytes: Uint8Array, at: number): number {
  return readUint16(bytes, at + STRING_LENGTH);
}

export function configBufferCount(bytes: Uint8Array, at: number): number {
  return readUint16(bytes, at + BUFFER_COUNT);
}

export function configFirmwareVersion(bytes: Uint8Array, at: number): number {
  return readUint16(bytes, at + FIRMWARE_VERSION);
}

/** Most sectors of one ATA command; 0 on the wire means 2. */
export function configSectorCount(bytes: Uint8Array, at: number): number {
  return bytes[at + SECTOR_COUNT] || 2;
}

export interface ConfigArguments {
  readonly bufferCount: number;
  readonly firmwareVersion: number;
  readonly sectorCount: number;
  readonly command: number;
}

/** Writes the arguments and the string. @returns the length of the frame in octets */
export function writeConfig(
  bytes: Uint8Array,
  at: number,
  config: ConfigArguments,
  string: Uint8Array,
): number {
  writeUint16(bytes, at + BUFFER_COUNT, config.bufferCount);
  writeUint16(bytes, at + FIRMWARE_VERSION, config.firmwareVersion);
  bytes[at + SECTOR_COUNT] = config.sectorCount;
  bytes[at + VERSION_AND_COMMAND] = (AOE_VERSION << 4) | config.command;
  writeUint16(bytes, at + STRING_LENGTH, string.length);
  bytes.set(string, at + CONFIG_STRING_OFFSET_BYTES);
  return CONFIG_STRING_OFFSET_BYTES + string.length;
}
