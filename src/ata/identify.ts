import { createHash } from "node:crypto";
import { hostname } from "node:os";
import type { StorageInfo } from "../storage/block-storage.ts";

/**
 * IDENTIFY DEVICE (ATA 0xEC): 256 words of 16 bits, least significant octet first, that describe a
 * disk. The Linux driver reads words 83, 86, 100–103 (or 60–61) and the three strings; iPXE and
 * Windows initiators read the same sizes.
 */
export const IDENTIFY_BYTES = 512;

const LBA28_LIMIT_SECTORS = 0x0fffffff;

const Word = {
  configuration: 0,
  serial: 10,
  firmware: 23,
  model: 27,
  multiple: 47,
  capabilities: 49,
  capabilities50: 50,
  sectors28: 60,
  trimAlways: 69,
  majorVersion: 80,
  supported82: 82,
  supported83: 83,
  supported84: 84,
  enabled85: 85,
  enabled86: 86,
  enabled87: 87,
  reset: 93,
  sectors48: 100,
  trimBlocks: 105,
  physicalSector: 106,
  worldWideName: 108,
  trim: 169,
  alignment: 209,
  rotationRate: 217,
  integrity: 255,
} as const;

/** Bits that must be set or clear in words that exist at all. */
const WORD_IS_VALID = 0x4000;
const LBA_SUPPORTED = 0x0200;
const WRITE_CACHE = 0x0020;
const FLUSH_CACHE = 0x1000;
const FLUSH_CACHE_EXT = 0x2000;
const LBA48 = 0x0400;
const WORLD_WIDE_NAME = 0x0100;
const HAS_LARGE_PHYSICAL_SECTORS = 0x2000;
const TRIM_SUPPORTED = 0x0001;
/** ATA8-ACS and what came before it. */
const MAJOR_VERSIONS = 0x01f0;
const NON_ROTATING = 0x0001;
const SIGNATURE = 0xa5;

export interface Identity {
  readonly shelf: number;
  readonly slot: number;
  /** Of the server, "0.1.0". */
  readonly firmware: string;
  /** DATA SET MANAGEMENT takes this many blocks of 512 octets at once. */
  readonly trimBlocks: number;
}

/** Writes the 512 octets of IDENTIFY DEVICE at `at`. */
export function writeIdentify(
  bytes: Uint8Array,
  at: number,
  identity: Identity,
  info: StorageInfo,
): void {
  bytes.fill(0, at, at + IDENTIFY_BYTES);
  const serial = serialNumber(identity.shelf, identity.slot);
  writeWord(bytes, at, Word.configuration, 0x0040);
  writeString(bytes, at, Word.serial, 20, serial);
  writeString(bytes, at, Word.firmware, 8, identity.firmware);
  writeString(bytes, at, Word.model, 40, "aoed");
  writeFeatures(bytes, at, info, identity.trimBlocks);
  writeSizes(bytes, at, info);
  writeWorldWideName(bytes, at, serial);
  writeWord(bytes, at, Word.rotationRate, NON_ROTATING);
  writeIntegrity(bytes, at);
}

/** Stable over restarts, and different for every disk of every server: "1.0:storage1". */
export function serialNumber(shelf: number, slot: number): string {
  return `${shelf}.${slot}:${hostname()}`;
}

function writeFeatures(bytes: Uint8Array, at: number, info: StorageInfo, trimBlocks: number): void {
  const cache = info.durability === "writeback" ? WRITE_CACHE : 0;
  writeWord(bytes, at, Word.multiple, 0x8000);
  writeWord(bytes, at, Word.capabilities, LBA_SUPPORTED);
  writeWord(bytes, at, Word.capabilities50, WORD_IS_VALID);
  writeWord(bytes, at, Word.majorVersion, MAJOR_VERSIONS);
  writeWord(bytes, at, Word.supported82, cache);
  writeWord(bytes, at, Word.supported83, WORD_IS_VALID | FLUSH_CACHE | FLUSH_CACHE_EXT | LBA48);
  writeWord(bytes, at, Word.supported84, WORD_IS_VALID | WORLD_WIDE_NAME);
  writeWord(bytes, at, Word.enabled85, cache);
  writeWord(bytes, at, Word.enabled86, FLUSH_CACHE | FLUSH_CACHE_EXT | LBA48);
  writeWord(bytes, at, Word.enabled87, WORD_IS_VALID | WORLD_WIDE_NAME);
  writeWord(bytes, at, Word.reset, 0x400b);
  if (info.canTrim && !info.readOnly) {
    writeWord(bytes, at, Word.trimBlocks, trimBlocks);
    writeWord(bytes, at, Word.trim, TRIM_SUPPORTED);
  }
}

function writeSizes(bytes: Uint8Array, at: number, info: StorageInfo): void {
  const sectors28 = Math.min(info.sectors, LBA28_LIMIT_SECTORS);
  writeWord(bytes, at, Word.sectors28, sectors28 & 0xffff);
  writeWord(bytes, at, Word.sectors28 + 1, sectors28 >>> 16);
  let rest = info.sectors;
  for (let word = 0; word < 4; word++) {
    writeWord(bytes, at, Word.sectors48 + word, rest % 0x10000);
    rest = Math.floor(rest / 0x10000);
  }
  const logicalPerPhysical = Math.log2(info.physicalBlockBytes / 512);
  if (logicalPerPhysical > 0) {
    const word = WORD_IS_VALID | HAS_LARGE_PHYSICAL_SECTORS | logicalPerPhysical;
    writeWord(bytes, at, Word.physicalSector, word);
    writeWord(bytes, at, Word.alignment, WORD_IS_VALID);
  }
}

/** NAA 3, locally assigned: 60 bits of a hash of the serial number, the first word highest. */
function writeWorldWideName(bytes: Uint8Array, at: number, serial: string): void {
  const name = createHash("sha256").update(`aoed ${serial}`).digest().subarray(0, 8);
  name[0] = 0x30 | (name[0] & 0x0f);
  for (let word = 0; word < 4; word++) {
    writeWord(bytes, at, Word.worldWideName + word, name.readUInt16BE(word * 2));
  }
}

/** The last octet makes the sum of all 512 a multiple of 256. */
function writeIntegrity(bytes: Uint8Array, at: number): void {
  bytes[at + Word.integrity * 2] = SIGNATURE;
  let sum = 0;
  for (let octet = 0; octet < IDENTIFY_BYTES - 1; octet++) sum += bytes[at + octet];
  bytes[at + IDENTIFY_BYTES - 1] = -sum;
}

function writeWord(bytes: Uint8Array, at: number, word: number, value: number): void {
  bytes[at + word * 2] = value;
  bytes[at + word * 2 + 1] = value >>> 8;
}

/** ATA strings are padded with spaces and have the two octets of each word exchanged. */
function writeString(
  bytes: Uint8Array,
  at: number,
  word: number,
  lengthBytes: number,
  text: string,
): void {
  const padded = Buffer.from(text.padEnd(lengthBytes).slice(0, lengthBytes), "latin1");
  for (let octet = 0; octet < lengthBytes; octet++) {
    bytes[at + word * 2 + octet] = padded[octet ^ 1];
  }
}

/** What an initiator reads out of the 512 octets. */
export interface IdentifiedDisk {
  readonly sectors: number;
  readonly model: string;
  readonly serial: string;
  readonly firmware: string;
}

export function readIdentify(bytes: Uint8Array, at: number): IdentifiedDisk {
  const word = (index: number): number => bytes[at + index * 2] | (bytes[at + index * 2 + 1] << 8);
  const isLba48 = ((word(Word.supported83) | word(Word.enabled86)) & LBA48) !== 0;
  let sectors = word(Word.sectors28) + word(Word.sectors28 + 1) * 0x10000;
  if (isLba48) {
    sectors = 0;
    for (let index = 3; index >= 0; index--) {
      sectors = sectors * 0x10000 + word(Word.sectors48 + index);
    }
  }
  return {
    sectors,
    model: readString(bytes, at, Word.model, 40),
    serial: readString(bytes, at, Word.serial, 20),
    firmware: readString(bytes, at, Word.firmware, 8),
  };
}

function readString(bytes: Uint8Array, at: number, word: number, lengthBytes: number): string {
  const swapped = Buffer.alloc(lengthBytes);
  for (let octet = 0; octet < lengthBytes; octet++) {
    swapped[octet] = bytes[at + word * 2 + (octet ^ 1)];
  }
  return swapped.toString("latin1").trimEnd();
}
