import { AtaOpcode } from "../ata/ata-engine.ts";
import { AtaError, ataErrorRegister, ataStatus, AtaStatus } from "../ata/registers.wire.ts";
import { CommandKind, ErrorReason } from "../metrics/command-kind.ts";
import { AoeCommand, AoeError, SOURCE_OFFSET_BYTES as SOURCE } from "./header.wire.ts";

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

const ADDRESS = 16;
const REGISTERS = 24;

/** Mixes all that makes an ATA request the same when it is sent again: all but the tag. */
export function requestFingerprint(bytes: Uint8Array, at: number): number {
  let hash = readInt32(bytes, at + SOURCE);
  hash = mix(hash, readInt32(bytes, at + ADDRESS) ^ (bytes[at + SOURCE + 4] << 8));
  hash = mix(hash, readInt32(bytes, at + REGISTERS) ^ (bytes[at + SOURCE + 5] << 16));
  hash = mix(hash, readInt32(bytes, at + REGISTERS + 4));
  hash = mix(hash, (bytes[at + REGISTERS + 8] << 8) | bytes[at + REGISTERS + 9]);
  return hash ^ (hash >>> 15);
}

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1);
  return mixed ^ (mixed >>> 13);
}

/** Four octets, most significant first, as a signed number. */
export function readInt32(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
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
