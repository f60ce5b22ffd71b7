import {
  AOE_ETHER_TYPE,
  AOE_HEADER_BYTES,
  AoeFlag,
  command,
  errorCode,
  etherType,
  flags,
  MINIMUM_FRAME_BYTES,
  readMac,
  shelf,
  slot,
  sourceMac,
  tag,
  writeHeader,
} from "../aoe/header.wire.ts";
import type { FrameArena } from "../arena/frame-arena.ts";
import type { EthernetPort } from "../ethernet/ethernet-port.ts";
import { AoeReplyError, InitiatorError, NoAnswerError } from "./initiator-error.ts";
import type { Path } from "./path.ts";
import type { AoeRequest, ReplyFrame } from "./request.ts";

/** The Linux driver ignores answers with this bit in the tag, so both can share an interface. */
const OWN_TAGS = 0x80000000;
const TAG_MASK = 0x7fffffff;

const BATCH_FRAMES = 64;
const TICK_MS = 5;

export interface FrameHeader {
  /** Destination, 48 bits. */
  readonly mac: number;
  readonly shelf: number;
  readonly slot: number;
  readonly command: number;
  readonly tag: number;
}

/** Writes what follows the AoE header. @returns the length of the frame in octets */
export type WriteArguments = (bytes: Uint8Array, at: number) => number;

/** A broadcast whose answers are taken one by one. */
export interface Listener {
  heard(reply: ReplyFrame): void;
}

export interface TransportStatistics {
  sent: number;
  answered: number;
  retransmitted: number;
  /** Answers to copies that were not needed any more, or to nobody. */
  unexpected: number;
}

/**
 * Requests and their answers over one EthernetPort: a new tag for each copy sent, timeouts that
 * follow the round trip, a window for each path, and a deadline for each request.
 */
export class Transport {
  readonly port: EthernetPort;
  readonly statistics: TransportStatistics = {
    sent: 0,
    answered: 0,
    retransmitted: 0,
    unexpected: 0,
  };
  readonly #arena: FrameArena;
  readonly #byTag = new Map<number, AoeRequest>();
  readonly #active = new Set<AoeRequest>();
  readonly #listeners = new Map<number, Listener>();
  readonly #reply: ReplyFrame;
  /** Paths with requests that have not been sent. */
  readonly #waitingPaths = new Set<Path>();
  #nextTag = Math.floor(Math.random() * TAG_MASK);
  /** What an answer makes its owner ask next leaves with the rest of the batch. */
  #isReceiving = false;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(port: EthernetPort, arena: FrameArena) {
    this.port = port;
    this.#arena = arena;
    this.#reply = { bytes: arena.bytes, at: 0, lengthBytes: 0 };
    port.onReadable = () => this.#receive();
  }

  /** Sends the request as soon as its path has room; it ends with `answered` or `failed`. */
  submit(request: AoeRequest, timeoutMs: number): void {
    if (this.#isClosed) {
      request.failed(new InitiatorError("the initiator is closed"));
      return;
    }
    request.deadlineMs = performance.now() + timeoutMs;
    request.path.waiting.push(request);
    this.#waitingPaths.add(request.path);
    if (!this.#isReceiving) this.#sendWaiting();
    this.#startTimer();
  }

  /** A new tag; answers to it go to `listener` until `unlisten`. */
  listen(listener: Listener): number {
    const own = this.#newTag();
    this.#listeners.set(own, listener);
    return own;
  }

  unlisten(own: number): void {
    this.#listeners.delete(own);
  }

  /** Sends one frame that is not repeated; answers go to the listener of its tag. */
  sendOnce(header: FrameHeader, writeArguments: WriteArguments): void {
    this.#queueFrame(header, writeArguments);
    this.port.transmit();
  }

  /** @returns false when no frame is free */
  #queueFrame(header: FrameHeader, writeArguments: WriteArguments): boolean {
    const frame = this.#arena.allocate();
    if (frame === -1) return false;
    const at = this.#arena.frameOffset(frame);
    const { bytes } = this.#arena;
    bytes.fill(0, at, at + MINIMUM_FRAME_BYTES);
    writeHeader(bytes, at, {
      destinationMac: header.mac,
      sourceMac: readMac(this.port.link.mac, 0),
      flags: 0,
      shelf: header.shelf,
      slot: header.slot,
      command: header.command,
      tag: header.tag,
    });
    const lengthBytes = writeArguments(bytes, at);
    this.port.send(frame, Math.max(lengthBytes, MINIMUM_FRAME_BYTES));
    this.statistics.sent++;
    return true;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#timer = undefined;
    const error = new InitiatorError("the initiator was closed before the answer came");
    const waiting = [...this.#waitingPaths].flatMap((path) => path.waiting.splice(0));
    for (const request of [...this.#active, ...waiting]) this.#fail(request, error);
    this.port.onReadable = undefined;
    await this.port.close();
  }

  #newTag(): number {
    for (;;) {
      this.#nextTag = (this.#nextTag + 1) & TAG_MASK;
      const own = (OWN_TAGS | this.#nextTag) >>> 0;
      if (!this.#byTag.has(own) && !this.#listeners.has(own)) return own;
    }
  }

  #sendWaiting(): void {
    if (this.#waitingPaths.size === 0) return;
    for (const path of this.#waitingPaths) {
      while (path.hasRoom && path.waiting.length > 0) {
        if (!this.#send(path.waiting[0])) break;
        this.#active.add(path.waiting[0]);
        path.waiting.shift();
        path.outstanding++;
      }
      if (path.waiting.length === 0) this.#waitingPaths.delete(path);
    }
    this.port.transmit();
  }

  #send(request: AoeRequest): boolean {
    const { mac, shelf: shelfAddress, slot: slotAddress } = request.path;
    const own = this.#newTag();
    const header = {
      mac,
      shelf: shelfAddress,
      slot: slotAddress,
      command: request.command,
      tag: own,
    };
    if (!this.#queueFrame(header, (bytes, at) => request.writeArguments(bytes, at))) return false;
    request.tags.push(own);
    request.sentAtMs = performance.now();
    this.#byTag.set(own, request);
    return true;
  }

  #receive(): void {
    const { port } = this;
    const { frames, lengths } = port.received;
    const count = port.receive(BATCH_FRAMES);
    this.#isReceiving = true;
    for (let index = 0; index < count; index++) {
      this.#take(this.#arena.frameOffset(frames[index]), lengths[index]);
      port.release(frames[index]);
    }
    this.#isReceiving = false;
    this.#sendWaiting();
  }

  #take(at: number, lengthBytes: number): void {
    const { bytes } = this.#arena;
    if (lengthBytes < AOE_HEADER_BYTES || etherType(bytes, at) !== AOE_ETHER_TYPE) return;
    if ((flags(bytes, at) & AoeFlag.response) === 0) return;
    const own = tag(bytes, at);
    this.#reply.at = at;
    this.#reply.lengthBytes = lengthBytes;
    const listener = this.#listeners.get(own);
    if (listener !== undefined) return listener.heard(this.#reply);
    const request = this.#byTag.get(own);
    if (request === undefined || !isReplyOf(request, bytes, at)) {
      if (own >= OWN_TAGS) this.statistics.unexpected++;
      return;
    }
    this.#answer(request, own);
  }

  #answer(request: AoeRequest, own: number): void {
    const isNewest = own === request.tags.at(-1);
    if (!isNewest && request.needsNewest) {
      this.statistics.unexpected++;
      return;
    }
    const roundTripMs = performance.now() - request.sentAtMs;
    if (isNewest) request.path.noteAnswer(roundTripMs);
    this.#forget(request);
    this.statistics.answered++;
    const { bytes, at } = this.#reply;
    if ((flags(bytes, at) & AoeFlag.error) === 0) request.answered(this.#reply, roundTripMs);
    else request.failed(new AoeReplyError(request.path.name, errorCode(bytes, at)));
  }

  #fail(request: AoeRequest, error: Error): void {
    this.#forget(request);
    request.failed(error);
  }

  #forget(request: AoeRequest): void {
    if (this.#active.delete(request)) request.path.outstanding--;
    for (const own of request.tags) this.#byTag.delete(own);
  }

  #startTimer(): void {
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  #tick(): void {
    const nowMs = performance.now();
    for (const request of this.#active) {
      if (nowMs > request.deadlineMs) {
        this.#fail(request, noAnswer(request));
      } else if (isOverdue(request, nowMs)) {
        request.path.noteLoss(nowMs);
        if (this.#send(request)) this.statistics.retransmitted++;
      }
    }
    for (const path of this.#waitingPaths) {
      for (const request of path.waiting) {
        if (nowMs > request.deadlineMs) request.failed(noAnswer(request));
      }
      path.waiting = path.waiting.filter((request) => nowMs <= request.deadlineMs);
    }
    this.#sendWaiting();
    this.port.transmit();
    if (this.#active.size > 0 || this.#waitingPaths.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function isReplyOf({ path, command: own }: AoeRequest, bytes: Uint8Array, at: number): boolean {
  return (
    shelf(bytes, at) === path.shelf &&
    slot(bytes, at) === path.slot &&
    command(bytes, at) === own &&
    sourceMac(bytes, at) === path.mac
  );
}

function isOverdue({ isRepeated, path, sentAtMs, tags }: AoeRequest, nowMs: number): boolean {
  return isRepeated && nowMs - sentAtMs > path.roundTrip.timeoutMs(tags.length);
}

function noAnswer({ path, tags }: AoeRequest): NoAnswerError {
  const times = tags.length === 1 ? "once" : `${tags.length} times`;
  if (tags.length === 0) return new NoAnswerError(`${path.name}: no room to send in time`);
  return new NoAnswerError(`${path.name}: no answer (asked ${times})`);
}
