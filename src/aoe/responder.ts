import type { FrameArena } from "../arena/frame-arena.ts";
import { ataCommand } from "../ata/registers.wire.ts";
import { type AtaEngine, AtaOpcode, replyWithDeviceFault } from "../ata/ata-engine.ts";
import { CommandKind } from "../metrics/command-kind.ts";
import { RequestMeter } from "../metrics/request-meter.ts";
import { type TargetManager } from "../target/target-manager.ts";
import type { Target } from "../target/target.ts";
import { answerConfig, type ConfigIdentity } from "./config-query.ts";
import type { DropReason } from "./drop-reason.ts";
import { Exchange, type ExchangeStatistics } from "./exchange.ts";
import {
  ALL_SHELVES,
  ALL_SLOTS,
  AOE_ETHER_TYPE,
  AOE_HEADER_BYTES,
  AOE_VERSION,
  AoeCommand,
  AoeError,
  AoeFlag,
  command as commandOf,
  etherType,
  flags,
  hasValidSource,
  isAddressedTo,
  shelf as shelfOf,
  slot as slotOf,
  sourceMac,
  version,
} from "./header.wire.ts";
import { answerMacMask } from "./mac-mask.ts";
import { frameSectors, type ReplyPort } from "./reply-port.ts";
import {
  aoeKind,
  ataKind,
  movesData,
  requestFingerprint,
  sourceHigh,
  sourceLow,
  tagWord,
  wordIndex,
} from "./request-metrics.ts";
import { answerReserve } from "./reserve.ts";

export interface ResponderOptions {
  readonly arena: FrameArena;
  readonly targets: TargetManager;
  readonly engine: AtaEngine;
  readonly identity: ConfigIdentity;
  /** Whether another thread of the server answers, or counts, what no target of ours is asked. */
  readonly isElsewhere?: ((shelf: number, slot: number) => boolean) | undefined;
  /** Told of every response that reaches us: `frameOffset` is in the arena. */
  readonly onResponse?: (port: ReplyPort, frameOffset: number, lengthBytes: number) => void;
}

/** Octets that a frame must have for each command: the header and its fixed arguments. */
const REQUEST_BYTES: Record<number, number> = {
  [AoeCommand.ata]: 36,
  [AoeCommand.config]: 32,
  [AoeCommand.macMask]: 28,
  [AoeCommand.reserve]: 26,
};

/**
 * Takes frames off the wire and sees to it that each is answered by every target that it addresses,
 * or counted with the reason why not. Nothing that a frame can hold makes it throw.
 */
export class Responder {
  readonly statistics: ExchangeStatistics = { started: 0, answered: 0, errors: 0, dropped: 0 };
  readonly meter: RequestMeter;
  readonly #arena: FrameArena;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #targets: TargetManager;
  readonly #engine: AtaEngine;
  readonly #identity: ConfigIdentity;
  readonly #isElsewhere: (shelf: number, slot: number) => boolean;
  readonly #onResponse: ResponderOptions["onResponse"];
  readonly #exchanges: Exchange[] = [];
  /**
   * ATA commands that one target may have under way: a disk that hangs leaves half of the frames to
   * the others.
   */
  readonly #commandsLimit: number;

  constructor(options: ResponderOptions) {
    this.#arena = options.arena;
    this.#bytes = options.arena.bytes;
    this.#words = new Int32Array(options.arena.memory);
    this.#targets = options.targets;
    this.#engine = options.engine;
    this.#identity = options.identity;
    this.#isElsewhere = options.isElsewhere ?? (() => false);
    this.#onResponse = options.onResponse;
    this.meter = new RequestMeter(options.arena.frameCount);
    this.#commandsLimit = Math.ceil(options.arena.frameCount / 2);
    for (let frame = 0; frame < options.arena.frameCount; frame++) {
      const offset = options.arena.frameOffset(frame);
      this.#exchanges.push(new Exchange(this.#bytes, frame, offset, this.statistics, this.meter));
    }
  }

  /** Requests that have not been answered yet. */
  get inFlight(): number {
    return this.statistics.started - this.statistics.answered - this.statistics.dropped;
  }

  /** Takes over one received frame of `lengthBytes` octets. */
  handle(port: ReplyPort, frame: number, lengthBytes: number): void {
    const at = this.#arena.frameOffset(frame);
    const reason = this.#reasonToDrop(port, at, lengthBytes);
    if (reason !== undefined) {
      port.drops[reason]++;
      port.release(frame);
      return;
    }
    const shelf = shelfOf(this.#bytes, at);
    const slot = slotOf(this.#bytes, at);
    if (shelf === ALL_SHELVES || slot === ALL_SLOTS) {
      this.#handleWildcard(port, frame, lengthBytes, this.#targets.matching(shelf, slot));
      return;
    }
    const target = this.#targets.get(shelf, slot) ?? this.#targets.removed(shelf, slot);
    if (target === undefined) this.#dropUnserved(port, frame, shelf, slot);
    else this.#start(port, frame, lengthBytes, target);
  }

  #dropUnserved(port: ReplyPort, frame: number, shelf: number, slot: number): void {
    port.drops[this.#isElsewhere(shelf, slot) ? "other_worker" : "no_target"]++;
    port.release(frame);
  }

  /** What makes a frame no request to us at all. */
  #reasonToDrop(port: ReplyPort, at: number, lengthBytes: number): DropReason | undefined {
    const bytes = this.#bytes;
    if (lengthBytes < AOE_HEADER_BYTES) return "short";
    if (etherType(bytes, at) !== AOE_ETHER_TYPE) return "not_aoe";
    if (!hasValidSource(bytes, at)) return "bad_source";
    if (!isAddressedTo(bytes, at, port.mac)) return "not_for_us";
    if ((flags(bytes, at) & AoeFlag.response) !== 0) {
      this.#onResponse?.(port, at, lengthBytes);
      return "response";
    }
    return undefined;
  }

  /** One reply from each target: all but the last get a copy of the request. */
  #handleWildcard(port: ReplyPort, frame: number, lengthBytes: number, targets: Target[]): void {
    const last = targets.pop();
    const from = this.#arena.frameOffset(frame);
    if (last === undefined) {
      this.#dropUnserved(port, frame, shelfOf(this.#bytes, from), slotOf(this.#bytes, from));
      return;
    }
    for (const target of targets) {
      const copy = this.#arena.allocate();
      if (copy === -1) {
        port.drops.no_frame++;
        continue;
      }
      this.#bytes.copyWithin(this.#arena.frameOffset(copy), from, from + lengthBytes);
      this.#start(port, copy, lengthBytes, target);
    }
    this.#start(port, frame, lengthBytes, last);
  }

  #start(port: ReplyPort, frame: number, lengthBytes: number, target: Target): void {
    const exchange = this.#exchanges[frame];
    exchange.port = port;
    exchange.target = target;
    exchange.frameLengthBytes = lengthBytes;
    exchange.kind = CommandKind.unknown;
    this.statistics.started++;
    this.#meet(exchange);
    if (target.isRestricted && !target.admits(sourceMac(this.#bytes, exchange.frameOffset))) {
      return exchange.drop("not_admitted");
    }
    if (target.isSuspended) return exchange.drop("suspended");
    if (version(this.#bytes, exchange.frameOffset) !== AOE_VERSION) {
      return exchange.replyError(AoeError.unsupportedVersion);
    }
    this.#dispatch(exchange);
  }

  #meet({ frame, frameOffset }: Exchange): void {
    const at = wordIndex(frameOffset);
    this.meter.arrive(frame, sourceHigh(this.#words, at), sourceLow(this.#words, at));
  }

  #dispatch(exchange: Exchange): void {
    const command = commandOf(this.#bytes, exchange.frameOffset);
    exchange.kind = aoeKind(command);
    const requestBytes = REQUEST_BYTES[command];
    if (requestBytes === undefined) return exchange.replyError(AoeError.unrecognizedCommand);
    if (exchange.frameLengthBytes < requestBytes) return exchange.drop("short");
    if (command === AoeCommand.ata) this.#meetAta(exchange);
    if (exchange.target.isRemoved) return answerForRemoved(exchange, command);
    switch (command) {
      case AoeCommand.ata:
        return this.#executeAta(exchange);
      case AoeCommand.config:
        return answerConfig(exchange, this.#identity);
      case AoeCommand.macMask:
        return answerMacMask(exchange);
      default:
        return answerReserve(exchange);
    }
  }

  #meetAta(exchange: Exchange): void {
    const { bytes, frame, frameOffset } = exchange;
    exchange.kind = ataKind(ataCommand(bytes, frameOffset));
    if (!movesData(exchange.kind)) return;
    const at = wordIndex(frameOffset);
    const fingerprint = requestFingerprint(this.#words, at);
    this.meter.recognise(frame, fingerprint, tagWord(this.#words, at));
  }

  /** A reservation keeps others from everything but looking (AoEr11 §3.4). */
  #executeAta(exchange: Exchange): void {
    const { bytes, frameOffset, target } = exchange;
    if (target.state.reservation.length > 0) {
      const isIdentify = ataCommand(bytes, frameOffset) === AtaOpcode.identifyDevice;
      if (!isIdentify && target.isReservedAgainst(sourceMac(bytes, frameOffset))) {
        return exchange.replyError(AoeError.targetReserved);
      }
    }
    if (!exchange.enter(this.#commandsLimit)) return exchange.drop("overloaded");
    exchange.frameSectors = frameSectors(exchange.port.mtuBytes);
    this.#engine.execute(exchange);
  }
}

/**
 * Whoever still uses a removed target gets an ATA device fault, so that its requests fail at once
 * and not after minutes of silence. Nobody new finds it: everything else stays unanswered.
 */
function answerForRemoved(exchange: Exchange, command: number): void {
  if (command === AoeCommand.ata) replyWithDeviceFault(exchange);
  else exchange.drop("no_target");
}
