import { AtaCommand } from "../ata/ata-command.ts";
import { replyWithStorageResult } from "../ata/ata-engine.ts";
import { CommandKind, ErrorReason } from "../metrics/command-kind.ts";
import type { RequestMeter } from "../metrics/request-meter.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import type { DropReason } from "./drop-reason.ts";
import {
  AOE_HEADER_BYTES,
  type AoeError,
  MINIMUM_FRAME_BYTES,
  writeReplyHeader,
} from "./header.wire.ts";
import type { ReplyPort } from "./reply-port.ts";
import { errorReason, movesData } from "./request-metrics.ts";

/** Figures over all ports: `started` is `answered` + dropped + in flight. */
export interface ExchangeStatistics {
  started: number;
  answered: number;
  /** Of those answered: with the error flag of the header. */
  errors: number;
  dropped: number;
}

/**
 * One request from the moment a target has been found for it until its reply is handed to the port.
 * There is one for each frame of the arena, made once and used again: to the storage it is a
 * BlockRequest, to the engine an AtaCommand.
 */
export class Exchange extends AtaCommand {
  readonly frame: number;
  readonly #statistics: ExchangeStatistics;
  readonly #meter: RequestMeter;
  port!: ReplyPort;
  kind: CommandKind = CommandKind.unknown;
  #isCounted = false;

  constructor(
    bytes: Uint8Array,
    frame: number,
    frameOffset: number,
    statistics: ExchangeStatistics,
    meter: RequestMeter,
  ) {
    super(bytes, frameOffset);
    this.frame = frame;
    this.#statistics = statistics;
    this.#meter = meter;
  }

  override completed(): void {
    replyWithStorageResult(this);
  }

  /** @param lengthBytes octets of the reply; what is missing to a whole frame is zeroed */
  override reply(lengthBytes: number): void {
    this.#send(lengthBytes, 0);
  }

  /**
   * Answers with the error flag.
   * @param lengthBytes octets of the reply that mean something; by default only the header
   */
  replyError(error: AoeError, lengthBytes = AOE_HEADER_BYTES): void {
    this.#statistics.errors++;
    this.#send(lengthBytes, error);
  }

  /**
   * Counts the command among those that its target has under way, until it is answered.
   * @returns false when there are `limit` already
   */
  enter(limit: number): boolean {
    if (this.target.commandsUnderWay >= limit) return false;
    this.target.commandsUnderWay++;
    this.#isCounted = true;
    return true;
  }

  #leave(): void {
    if (!this.#isCounted) return;
    this.#isCounted = false;
    this.target.commandsUnderWay--;
  }

  drop(reason: DropReason): void {
    this.#leave();
    this.#statistics.dropped++;
    this.#meter.drop(this.frame);
    this.port.drops[reason]++;
    this.port.release(this.frame);
  }

  #send(lengthBytes: number, error: number): void {
    const { bytes, frameOffset, target, port } = this;
    writeReplyHeader(bytes, frameOffset, port.mac, target.shelf, target.slot, error);
    let frameBytes = lengthBytes;
    if (frameBytes < MINIMUM_FRAME_BYTES) {
      // Zeros, and not what an earlier frame left here.
      bytes.fill(0, frameOffset + frameBytes, frameOffset + MINIMUM_FRAME_BYTES);
      frameBytes = MINIMUM_FRAME_BYTES;
    }
    this.#leave();
    this.#statistics.answered++;
    this.#count(error);
    port.send(this.frame, frameBytes);
  }

  #count(error: number): void {
    const { frame, kind, target } = this;
    const reason = errorReason(this.bytes, this.frameOffset, kind, error);
    const isDone = reason === ErrorReason.none && movesData(kind);
    this.#meter.answer(frame, target.metrics, kind, isDone ? this.lengthSectors * SECTOR_BYTES : 0);
    if (reason !== ErrorReason.none) this.#meter.fail(frame, target.metrics, kind, reason);
  }
}
