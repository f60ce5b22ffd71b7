import {
  BlockOperation,
  BlockRequest,
  BlockStatus,
  SECTOR_BYTES,
} from "../storage/block-storage.ts";
import type { AtaCommand } from "./ata-command.ts";
import { dataSetRange, dataSetRangeCount } from "./data-set.wire.ts";
import { IDENTIFY_BYTES, writeIdentify } from "./identify.ts";
import {
  ATA_DATA_OFFSET_BYTES,
  ataCommand,
  AtaError,
  ataFeatures,
  ataSectorCount,
  AtaStatus,
  lba28,
  lba48,
  writeAtaResult,
  writeLba48,
} from "./registers.wire.ts";

/** The commands that the engine serves; it answers every other one with ABRT. */
export const AtaOpcode = {
  dataSetManagement: 0x06,
  readSectors: 0x20,
  readSectorsExt: 0x24,
  writeSectors: 0x30,
  writeSectorsExt: 0x34,
  checkPowerMode: 0xe5,
  flushCache: 0xe7,
  flushCacheExt: 0xea,
  identifyDevice: 0xec,
  setFeatures: 0xef,
} as const;

const ACTIVE_OR_IDLE = 0xff;
const FEATURE_TRIM = 0x01;
const ENABLE_WRITE_CACHE = 0x02;
const DISABLE_WRITE_CACHE = 0x82;

/**
 * AtaEngine: executes ATA commands against a target's storage and answers in the frame of the
 * request. The opcode alone decides the direction and the width of the address; the flags of the
 * frame do not. Whatever goes wrong is told in the ATA registers (status ERR and an error), never
 * as an AoE error, which the Linux driver ignores until it gives the disk up.
 */
export class AtaEngine {
  readonly #firmware: string;

  /** @param firmware at most eight characters, shown by IDENTIFY */
  constructor(firmware: string) {
    this.#firmware = firmware;
  }

  /** Executes the command and sees to it that it is answered exactly once, now or later. */
  execute(command: AtaCommand): void {
    const { bytes, frameOffset } = command;
    switch (ataCommand(bytes, frameOffset)) {
      case AtaOpcode.readSectors:
        return read(command, lba28(bytes, frameOffset));
      case AtaOpcode.readSectorsExt:
        return read(command, lba48(bytes, frameOffset));
      case AtaOpcode.writeSectors:
        return write(command, lba28(bytes, frameOffset));
      case AtaOpcode.writeSectorsExt:
        return write(command, lba48(bytes, frameOffset));
      case AtaOpcode.flushCache:
      case AtaOpcode.flushCacheExt:
        return flush(command);
      case AtaOpcode.identifyDevice:
        return this.#identify(command);
      case AtaOpcode.dataSetManagement:
        return dataSetManagement(command);
      case AtaOpcode.checkPowerMode:
        return replyWith(command, AtaStatus.ready, 0, ACTIVE_OR_IDLE);
      case AtaOpcode.setFeatures:
        return setFeatures(command);
      default:
        return abort(command);
    }
  }

  #identify(command: AtaCommand): void {
    const { bytes, frameOffset, target } = command;
    const identity = {
      shelf: target.shelf,
      slot: target.slot,
      firmware: this.#firmware,
      trimBlocks: command.frameSectors,
    };
    const data = frameOffset + ATA_DATA_OFFSET_BYTES;
    writeIdentify(bytes, data, identity, target.storage.info());
    writeAtaResult(bytes, frameOffset, AtaStatus.ready, 0, 0);
    command.reply(ATA_DATA_OFFSET_BYTES + IDENTIFY_BYTES);
  }
}

function read(command: AtaCommand, lba: number): void {
  if (!prepare(command, lba)) return;
  const { statistics } = command.target;
  statistics.reads++;
  statistics.readSectors += command.lengthSectors;
  command.operation = BlockOperation.read;
  command.target.read(command);
}

function write(command: AtaCommand, lba: number): void {
  if (command.target.storage.info().readOnly) return abort(command);
  if (!prepare(command, lba)) return;
  if (payloadBytes(command) < command.lengthSectors * SECTOR_BYTES) return abort(command);
  const { statistics } = command.target;
  statistics.writes++;
  statistics.writtenSectors += command.lengthSectors;
  command.operation = BlockOperation.write;
  command.target.write(command);
}

function flush(command: AtaCommand): void {
  command.target.statistics.flushes++;
  command.operation = BlockOperation.flush;
  command.lba = 0;
  command.lengthSectors = 0;
  command.target.flush(command);
}

/** Fills in the transfer, or answers why it cannot be. @returns whether to go on */
function prepare(command: AtaCommand, lba: number): boolean {
  const sectors = ataSectorCount(command.bytes, command.frameOffset);
  if (sectors === 0 || sectors > command.frameSectors) {
    abort(command);
    return false;
  }
  if (lba + sectors > command.target.storage.info().sectors) {
    fail(command, AtaError.idNotFound);
    return false;
  }
  command.lba = lba;
  command.lengthSectors = sectors;
  command.memoryOffset = command.frameOffset + ATA_DATA_OFFSET_BYTES;
  return true;
}

/**
 * A disk with a volatile cache can be told to use it, and one without can be told not to: both are
 * so already. Whoever asks for the opposite is refused, because how safe a write is, is the
 * administrator's choice (`durability`).
 */
function setFeatures(command: AtaCommand): void {
  const hasCache = command.target.storage.info().durability === "writeback";
  const feature = ataFeatures(command.bytes, command.frameOffset);
  if (feature === (hasCache ? ENABLE_WRITE_CACHE : DISABLE_WRITE_CACHE)) {
    return replyWith(command, AtaStatus.ready, 0, 0);
  }
  abort(command);
}

/** TRIM: all ranges are checked before the first is trimmed. */
function dataSetManagement(command: AtaCommand): void {
  const { bytes, frameOffset, target } = command;
  const info = target.storage.info();
  const blocks = ataSectorCount(bytes, frameOffset);
  const isTrim = ataFeatures(bytes, frameOffset) === FEATURE_TRIM;
  if (!isTrim || !info.canTrim || info.readOnly) return abort(command);
  if (blocks === 0 || payloadBytes(command) < blocks * SECTOR_BYTES) return abort(command);

  const first = frameOffset + ATA_DATA_OFFSET_BYTES;
  const parts: TrimPart[] = [];
  const trim = new TrimProgress(command);
  for (let index = 0; index < dataSetRangeCount(blocks); index++) {
    const range = dataSetRange(bytes, first, index);
    if (range.sectors === 0) continue;
    if (range.lba + range.sectors > info.sectors) return fail(command, AtaError.idNotFound);
    parts.push(new TrimPart(trim, range.lba, range.sectors));
  }
  target.statistics.trims++;
  trim.start(parts);
}

/** A TRIM command under way. It is rare and may have a thousand ranges: these are not pooled. */
class TrimProgress {
  readonly #command: AtaCommand;
  #remaining = 0;
  #status: BlockStatus = BlockStatus.ok;

  constructor(command: AtaCommand) {
    this.#command = command;
  }

  start(parts: readonly TrimPart[]): void {
    // One more than there are, so that parts that complete at once do not end it early.
    this.#remaining = parts.length + 1;
    for (const part of parts) this.#command.target.trim(part);
    this.partCompleted(BlockStatus.ok);
  }

  partCompleted(status: BlockStatus): void {
    if (status !== BlockStatus.ok) this.#status = status;
    if (--this.#remaining > 0) return;
    this.#command.operation = BlockOperation.trim;
    this.#command.status = this.#status;
    this.#command.completed();
  }
}

class TrimPart extends BlockRequest {
  readonly #progress: TrimProgress;

  constructor(progress: TrimProgress, lba: number, lengthSectors: number) {
    super();
    this.#progress = progress;
    this.operation = BlockOperation.trim;
    this.lba = lba;
    this.lengthSectors = lengthSectors;
  }

  override completed(): void {
    this.#progress.partCompleted(this.status);
  }
}

/** Answers a command whose storage request is done: `AtaCommand.completed` comes here. */
export function replyWithStorageResult(command: AtaCommand): void {
  if (command.status !== BlockStatus.ok) return replyWithFault(command);
  writeAtaResult(command.bytes, command.frameOffset, AtaStatus.ready, 0, 0);
  const dataBytes =
    command.operation === BlockOperation.read ? command.lengthSectors * SECTOR_BYTES : 0;
  command.reply(ATA_DATA_OFFSET_BYTES + dataBytes);
}

function replyWithFault(command: AtaCommand): void {
  if (command.status === BlockStatus.unreadable) {
    writeLba48(command.bytes, command.frameOffset, command.failedLba);
    return fail(command, AtaError.uncorrectable);
  }
  replyWithDeviceFault(command);
}

/** The disk has failed as a whole: initiators give the request up at once. */
export function replyWithDeviceFault(command: AtaCommand): void {
  command.target.statistics.ataErrors++;
  const status = AtaStatus.ready | AtaStatus.deviceFault | AtaStatus.error;
  replyWith(command, status, AtaError.aborted, 0);
}

function abort(command: AtaCommand): void {
  fail(command, AtaError.aborted);
}

function fail(command: AtaCommand, error: number): void {
  command.target.statistics.ataErrors++;
  replyWith(command, AtaStatus.ready | AtaStatus.error, error, 0);
}

function replyWith(command: AtaCommand, status: number, error: number, sectorCount: number): void {
  writeAtaResult(command.bytes, command.frameOffset, status, error, sectorCount);
  command.reply(ATA_DATA_OFFSET_BYTES);
}

function payloadBytes(command: AtaCommand): number {
  return command.frameLengthBytes - ATA_DATA_OFFSET_BYTES;
}
