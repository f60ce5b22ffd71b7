import { AoeCommand } from "../aoe/header.wire.ts";
import {
  ATA_DATA_OFFSET_BYTES,
  ataErrorRegister,
  ataSectorCount,
  ataStatus,
  lba48,
  writeAtaRegisters,
} from "../ata/registers.wire.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { InitiatorError } from "./initiator-error.ts";
import type { Path } from "./path.ts";
import { AoeRequest, type ReplyFrame } from "./request.ts";

/** An ATA command as its registers (AoEr11 §3.1). */
export interface AtaCommandFields {
  /** The opcode. */
  readonly command: number;
  readonly lba?: number;
  readonly sectorCount?: number;
  readonly features?: number;
  /** AFlags; by default LBA48, and W when there is data to send. */
  readonly flags?: number;
  /** To the disk. */
  readonly data?: Uint8Array;
  /** Octets that a good answer carries. */
  readonly dataInBytes?: number;
}

export interface AtaAnswer {
  readonly status: number;
  readonly error: number;
  readonly sectorCount: number;
  readonly lba: number;
  readonly data: Uint8Array;
  readonly roundTripMs: number;
}

const EXTENDED = 0x40;
const WRITE = 0x01;
/** BSY, DF, DRQ, ERR. */
export const FAILURE_BITS = 0xa9;

export interface AtaOutcome {
  succeeded(answer: AtaAnswer): void;
  failed(error: Error): void;
}

/** One ATA command to one target. An answer with an ATA error is an answer. */
export class AtaRequest extends AoeRequest {
  readonly command = AoeCommand.ata;
  readonly #fields: AtaCommandFields;
  readonly #outcome: AtaOutcome;
  /** Where data goes; undefined: into an array of its own. */
  readonly #into: Uint8Array | undefined;

  constructor(path: Path, fields: AtaCommandFields, outcome: AtaOutcome, into?: Uint8Array) {
    super(path, fields.data !== undefined);
    this.#fields = fields;
    this.#outcome = outcome;
    this.#into = into;
  }

  override writeArguments(bytes: Uint8Array, at: number): number {
    const { command, lba = 0, sectorCount = 0, features = 0, data } = this.#fields;
    const flags = this.#fields.flags ?? (data === undefined ? EXTENDED : EXTENDED | WRITE);
    writeAtaRegisters(bytes, at, { command, lba, sectorCount, features, flags });
    if (data === undefined) return ATA_DATA_OFFSET_BYTES;
    bytes.set(data, at + ATA_DATA_OFFSET_BYTES);
    return ATA_DATA_OFFSET_BYTES + data.length;
  }

  override answered({ bytes, at, lengthBytes }: ReplyFrame, roundTripMs: number): void {
    if (lengthBytes < ATA_DATA_OFFSET_BYTES) return this.#fail("a truncated answer");
    const status = ataStatus(bytes, at);
    const isGood = (status & FAILURE_BITS) === 0;
    const dataBytes = isGood ? (this.#fields.dataInBytes ?? 0) : 0;
    if (lengthBytes < ATA_DATA_OFFSET_BYTES + dataBytes) {
      return this.#fail(`an answer with less than the ${dataBytes / SECTOR_BYTES} sectors asked`);
    }
    this.#outcome.succeeded({
      status,
      error: ataErrorRegister(bytes, at),
      sectorCount: ataSectorCount(bytes, at),
      lba: lba48(bytes, at),
      data: this.#takeData(bytes, at + ATA_DATA_OFFSET_BYTES, dataBytes),
      roundTripMs,
    });
  }

  override failed(error: Error): void {
    this.#outcome.failed(error);
  }

  #takeData(bytes: Uint8Array, first: number, lengthBytes: number): Uint8Array {
    if (this.#into === undefined) return bytes.slice(first, first + lengthBytes);
    this.#into.set(bytes.subarray(first, first + lengthBytes));
    return this.#into;
  }

  #fail(what: string): void {
    this.#outcome.failed(new InitiatorError(`${this.path.name}: ${what}`));
  }
}
