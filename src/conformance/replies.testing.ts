import { AOE_ETHERTYPE, Flag, hex, macText } from "./frames.testing.ts";
import type { Mac } from "./frames.testing.ts";

/**
 * A frame that the server sent, read octet by octet without the codec of src/aoe. Nothing is
 * checked here; the cases say what they expect.
 */
export class Reply {
  readonly octets: Uint8Array;
  readonly #view: DataView;

  constructor(octets: Uint8Array) {
    this.octets = octets;
    this.#view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  }

  get hex(): string {
    return hex(this.octets);
  }

  get lengthBytes(): number {
    return this.octets.length;
  }
  get destination(): Mac {
    return macText(this.octets);
  }
  get source(): Mac {
    return macText(this.octets.subarray(6));
  }
  get isAoe(): boolean {
    return this.lengthBytes >= 24 && this.#view.getUint16(12) === AOE_ETHERTYPE;
  }
  get version(): number {
    return this.octets[14] >> 4;
  }
  get flags(): number {
    return this.octets[14] & 0x0f;
  }
  get isResponse(): boolean {
    return (this.flags & Flag.response) !== 0;
  }
  get isError(): boolean {
    return (this.flags & Flag.error) !== 0;
  }
  get error(): number {
    return this.octets[15];
  }
  get shelf(): number {
    return this.#view.getUint16(16);
  }
  get slot(): number {
    return this.octets[18];
  }
  /** "e1.2" */
  get address(): string {
    return `e${this.shelf}.${this.slot}`;
  }
  get command(): number {
    return this.octets[19];
  }
  get tag(): number {
    return this.#view.getUint32(20);
  }
  /** An unsolicited Config response (AoEr11 §3.2): tag 0. */
  get isBeacon(): boolean {
    return this.isResponse && this.command === 1 && this.tag === 0;
  }

  get ata(): AtaReply {
    return {
      flags: this.octets[24],
      error: this.octets[25],
      count: this.octets[26],
      status: this.octets[27],
      lba: lbaAt(this.octets, 28),
      data: this.octets.subarray(36),
    };
  }

  get config(): ConfigReply {
    const length = this.#view.getUint16(30);
    return {
      bufferCount: this.#view.getUint16(24),
      firmware: this.#view.getUint16(26),
      sectorCount: this.octets[28],
      versionNibble: this.octets[29] >> 4,
      subcommand: this.octets[29] & 0x0f,
      length,
      text: this.octets.subarray(32, 32 + length),
    };
  }

  get mask(): MaskReply {
    const count = this.octets[27];
    const macs = Array.from({ length: count }, (_, index) =>
      macText(this.octets.subarray(28 + 8 * index + 2)),
    );
    return { subcommand: this.octets[25], error: this.octets[26], count, macs };
  }

  get reserve(): ReserveReply {
    const count = this.octets[25];
    const macs = Array.from({ length: count }, (_, index) =>
      macText(this.octets.subarray(26 + 6 * index)),
    );
    return { subcommand: this.octets[24], count, macs };
  }
}

export interface AtaReply {
  readonly flags: number;
  readonly error: number;
  readonly count: number;
  readonly status: number;
  readonly lba: number;
  readonly data: Uint8Array;
}

export interface ConfigReply {
  readonly bufferCount: number;
  readonly firmware: number;
  readonly sectorCount: number;
  readonly versionNibble: number;
  readonly subcommand: number;
  readonly length: number;
  readonly text: Uint8Array;
}

export interface MaskReply {
  readonly subcommand: number;
  readonly error: number;
  /** The number of entries, or with `error` the index of the offending directive. */
  readonly count: number;
  readonly macs: readonly Mac[];
}

export interface ReserveReply {
  readonly subcommand: number;
  readonly count: number;
  readonly macs: readonly Mac[];
}

function lbaAt(octets: Uint8Array, offset: number): number {
  let lba = 0;
  for (let index = 5; index >= 0; index--) lba = lba * 256 + (octets[offset + index] ?? 0);
  return lba;
}

/** IDENTIFY DEVICE data: 256 little-endian words. */
export function identifyWord(data: Uint8Array, word: number): number {
  return data[2 * word] | (data[2 * word + 1] << 8);
}

/** A number over `words` words, least significant word first. */
export function identifyNumber(data: Uint8Array, word: number, words: number): number {
  let value = 0;
  for (let index = words - 1; index >= 0; index--) {
    value = value * 65536 + identifyWord(data, word + index);
  }
  return value;
}

/** ASCII with the two octets of each word swapped, padded with spaces (ATA8-ACS §7.16). */
export function identifyText(data: Uint8Array, word: number, words: number): string {
  let text = "";
  for (let index = 0; index < words; index++) {
    const value = identifyWord(data, word + index);
    text += String.fromCharCode(value >> 8, value & 0xff);
  }
  return text.trim();
}
