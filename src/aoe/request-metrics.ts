import { AtaOpcode } from "../ata/ata-engine.ts";
import { AtaError, ataErrorRegister, ataStatus, AtaStatus } from "../ata/registers.wire.ts";
import { CommandKind, ErrorReason } from "../metrics/command-kind.ts";
import { AoeCommand, AoeError } from "./header.wire.ts";

/** How a request is classed in figures, from its frame. `at` is the offset of the frame. */

const ataKinds = new Uint8Array(256).fill(CommandKind.otherAta);
ataKinds[AtaOpcode.readSectors] = CommandKind.read;
ataKinds[AtaOpcode.readSectorsExt] = CommandKind.read;
ataKinds[AtaOpcode.writeSectors] = CommandKind.write;
ataKinds[AtaOpcode.writeSectorsExt] = CommandKind.write;
ataKinds[AtaOpcode.flushCache] = CommandKind.flush;
ataKinds[AtaOpcode.flushCacheExt] = CommandKind.flush;
ataKinds[AtaOpcode.dataSetManagement] = CommandKind.trim;
ataKinds[AtaOpcode.identifyDevice] = CommandKind.identify;

export function ataKind(opcode: number): CommandKind {
  return ataKinds[opcode] as CommandKind;
}

const aoeKinds = new Uint8Array(256).fill(CommandKind.unknown);
aoeKinds[AoeCommand.config] = CommandKind.config;
aoeKinds[AoeCommand.macMask] = CommandKind.macMask;
aoeKinds[AoeCommand.reserve] = CommandKind.reserve;

/** Of every command but ATA. */
export function aoeKind(command: number): CommandKind {
  return aoeKinds[command] as CommandKind;
}

/** Whether requests of this kind name sectors, so that a second one can be the same again. */
export function movesData(kind: CommandKind): boolean {
  return kind === CommandKind.read || kind === CommandKind.write;
}

/**
 * Frames begin at multiples of four, so the fields that requests are compared by can be read as
 * whole words. Which end of a word comes first does not matter to a comparison.
 */
const SOURCE_WORD = 2;
const ADDRESS_WORD = 4;
const TAG_WORD = 5;
const REGISTER_WORD = 6;
const BYTES_IN_WORD = 4;

/** @param frameOffset in octets */
export function wordIndex(frameOffset: number): number {
  return frameOffset / BYTES_IN_WORD;
}

/** The source address in two parts, as InitiatorTable takes it. */
export function sourceHigh(words: Int32Array, at: number): number {
  return words[at + SOURCE_WORD - 1] >>> 16;
}

export function sourceLow(words: Int32Array, at: number): number {
  return words[at + SOURCE_WORD];
}

export function tagWord(words: Int32Array, at: number): number {
  return words[at + TAG_WORD];
}

/** Mixes all that makes an ATA request the same when it is sent again: all but the tag. */
export function requestFingerprint(words: Int32Array, at: number): number {
  const sender = words[at + SOURCE_WORD] + Math.imul(words[at + ADDRESS_WORD], 0x9e3779b1);
  const range = words[at + REGISTER_WORD + 1] + Math.imul(words[at + REGISTER_WORD], 0xc2b2ae35);
  const rest = words[at + REGISTER_WORD + 2] ^ (sourceHigh(words, at) << 16);
  const mixed =
    Math.imul(sender, 0x85ebca6b) ^ Math.imul(range, 0x27d4eb2f) ^ Math.imul(rest, 0x165667b1);
  const spread = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  return spread ^ (spread >>> 13);
}

/** What a reply says of its request. @param error of the header, 0 for none */
export function errorReason(
  bytes: Uint8Array,
  at: number,
  kind: CommandKind,
  error: number,
): ErrorReason {
  if (error !== 0) {
    return error === AoeError.targetReserved ? ErrorReason.reserved : ErrorReason.protocol;
  }
  if (kind > CommandKind.otherAta) return ErrorReason.none;
  const status = ataStatus(bytes, at);
  if ((status & AtaStatus.error) === 0) return ErrorReason.none;
  if ((status & AtaStatus.deviceFault) !== 0) return ErrorReason.deviceFault;
  const register = ataErrorRegister(bytes, at);
  if (register === AtaError.uncorrectable) return ErrorReason.uncorrectable;
  return register === AtaError.idNotFound ? ErrorReason.idNotFound : ErrorReason.aborted;
}
