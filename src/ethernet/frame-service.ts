import type { FrameArena } from "../arena/frame-arena.ts";
import { type DropCounts, type DropReason, noDrops } from "../aoe/drop-reason.ts";
import type { ReplyPort } from "../aoe/reply-port.ts";
import type { Responder } from "../aoe/responder.ts";
import type { TargetManager } from "../target/target-manager.ts";
import { type EthernetPort, STALE_AFTER_MS } from "./ethernet-port.ts";
import { FairQueue } from "./fair-queue.ts";

/**
 * Frames taken, executed and answered at a time. Small, so that the initiator works on the first
 * replies while the next requests are executed: a whole window answered at once makes both sides
 * wait for each other in turn.
 */
export const BATCH_FRAMES = 16;

/** Batches in one turn of the event loop; then timers and other ports have theirs. */
const BATCHES_IN_TURN = 8;

/**
 * Batches that are taken off a crowded port for each one that is executed: what a host sends beyond
 * its share is thrown away here, and not by the kernel together with the rest.
 */
const BATCHES_AHEAD = 16;

/** What waits is no crowd when one turn is enough for it: an initiator with a wide window, say. */
const CALM_FRAMES = BATCHES_IN_TURN * BATCH_FRAMES;

/** Turns, after no crowd was found, in which none is looked for: looking costs something. */
const CALM_TURNS = 8;

/** An initiator may have `buffer_count` requests outstanding at each target; some do not count well. */
const SOURCE_LATITUDE = 4;

/** How long one turn may look for further frames. */
const LINGER_MS = 1;

const HEARTBEAT_MS = 100;

/** Bounds how many stale frames are thrown away at once. */
const STALE_FRAMES_LIMIT = 65_536;

const DRAIN_POLL_MS = 5;

/** An EthernetPort in service: the queue of its replies and why its frames were dropped. */
export class ServedPort implements ReplyPort {
  readonly port: EthernetPort;
  readonly drops: DropCounts = noDrops();
  /** A whole turn did not suffice: sources have turns of their own until one does. */
  isCrowded = false;
  /** For so many further turns it is not crowded even if they do not suffice. */
  calmTurns = 0;
  /** Frames that were received while it was crowded, and wait for their execution. */
  readonly waiting: FairQueue;
  /** Frames wait for `transmit`. */
  isDirty = false;
  /** Another turn is due though the port may have nothing more. */
  isTurnScheduled = false;
  /** Drops for want of a share, as they were when somebody was last told. */
  toldOverShare = 0;
  readonly #onDirty: (served: ServedPort) => void;

  constructor(port: EthernetPort, waiting: FairQueue, onDirty: (served: ServedPort) => void) {
    this.port = port;
    this.waiting = waiting;
    this.#onDirty = onDirty;
  }

  get name(): string {
    return this.port.name;
  }

  get mac(): Uint8Array {
    return this.port.link.mac;
  }

  get mtuBytes(): number {
    return this.port.link.mtuBytes;
  }

  send(frame: number, lengthBytes: number): void {
    this.port.send(frame, lengthBytes);
    if (this.isDirty) return;
    this.isDirty = true;
    this.#onDirty(this);
  }

  release(frame: number): void {
    this.port.release(frame);
  }
}

export interface FrameServiceOptions {
  readonly arena: FrameArena;
  /** Requests that an initiator is told it may have outstanding. */
  readonly bufferCount: number;
  /** For how long the next frame is looked for before the event loop sleeps; undefined: not at all. */
  readonly busyPollMs?: number | undefined;
  readonly targets: TargetManager;
  readonly responder: Responder;
  readonly ports: readonly EthernetPort[];
  /** Milliseconds that only grow. */
  readonly clock?: (() => number) | undefined;
  /**
   * Told, ten times a second, of a host (a 48-bit number) that sends more than its share, and how many
   * of its own frames were dropped for it since, at the least.
   */
  readonly onFlood?: (served: ServedPort, mac: number, excessFrames: number) => void;
}

/**
 * Moves batches: ports → responder → storages → ports. In a batch each of these is called once;
 * replies that complete later leave together at the end of the callback that completed them.
 */
export class FrameService {
  readonly ports: readonly ServedPort[];
  readonly #targets: TargetManager;
  readonly #responder: Responder;
  readonly #bufferCount: number;
  readonly #busyPollMs: number;
  readonly #onFlood: FrameServiceOptions["onFlood"];
  readonly #clock: () => number;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #dirtyPorts: ServedPort[] = [];
  readonly #flush: () => void;
  readonly #laterTurn: (served: ServedPort) => void;
  #isFlushScheduled = false;
  #isInBatch = false;
  #heartbeatAtMs: number;

  constructor(options: FrameServiceOptions) {
    this.#targets = options.targets;
    this.#responder = options.responder;
    this.#clock = options.clock ?? (() => performance.now());
    this.#heartbeatAtMs = this.#clock();
    this.#bufferCount = options.bufferCount;
    this.#busyPollMs = options.busyPollMs ?? 0;
    this.#onFlood = options.onFlood;
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    this.#heartbeat.unref();
    this.#laterTurn = (served) => {
      served.isTurnScheduled = false;
      this.#turn(served);
    };
    this.#flush = () => {
      this.#isFlushScheduled = false;
      this.#submitAndTransmit();
    };
    const onDirty = (served: ServedPort): void => this.#noteDirty(served);
    // The rest is for what is being executed, of which one hanging disk may have half of the arena.
    const waitingLimit = Math.floor(options.arena.frameCount / 4 / options.ports.length);
    this.ports = options.ports.map(
      (port) => new ServedPort(port, new FairQueue(options.arena, waitingLimit), onDirty),
    );
  }

  /** Begins to receive. */
  start(): void {
    this.#setShares();
    for (const served of this.ports) {
      served.port.onReadable = () => this.#turn(served);
    }
  }

  /** Frames dropped over all ports, by reason. */
  dropCount(reason: DropReason): number {
    return this.ports.reduce((sum, served) => sum + served.drops[reason], 0);
  }

  /**
   * Stops receiving, answers what is in flight and closes the ports.
   * @param timeoutMs how long storages may take; what is not answered then stays unanswered
   */
  async stop(timeoutMs: number): Promise<void> {
    for (const served of this.ports) served.port.stopReceiving();
    const deadlineMs = this.#clock() + timeoutMs;
    for (const served of this.ports) while (served.waiting.count > 0) this.#executeBatch(served);
    this.#submitAndTransmit();
    while (this.#responder.inFlight > 0 && this.#clock() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
    clearInterval(this.#heartbeat);
    this.#submitAndTransmit();
    await Promise.all(this.ports.map(async (served) => served.port.close()));
  }

  #turn(served: ServedPort): void {
    if (this.#discardAfterStall()) return;
    for (let batch = 0; batch < BATCHES_IN_TURN; batch++) {
      if (!this.#receiveAndExecute(served)) {
        if (this.#busyPollMs > 0) this.#linger(served);
        return;
      }
    }
    if (served.calmTurns > 0) served.calmTurns--;
    else served.isCrowded = true;
    if (served.waiting.count > 0) this.#scheduleTurn(served);
  }

  /**
   * Looks for the next frames instead of sleeping, until none has come for `busyPollMs`. Whatever
   * else needs the event loop has its turn: a disk that is waited for at once, the rest each
   * millisecond.
   */
  #linger(first: ServedPort): void {
    const startMs = performance.now();
    let untilMs = startMs + this.#busyPollMs;
    for (let nowMs = startMs; nowMs < untilMs; nowMs = performance.now()) {
      if (this.#responder.inFlight > 0) return;
      if (nowMs > startMs + LINGER_MS) return this.#scheduleTurn(first);
      for (const served of this.ports) {
        if (served.isCrowded || served.waiting.count > 0) return;
        if (served.port.onReadable === undefined) return;
        if (this.#executeReceived(served) > 0) untilMs = nowMs + this.#busyPollMs;
      }
    }
  }

  /** One batch. @returns whether there may be more */
  #receiveAndExecute(served: ServedPort): boolean {
    const { port, waiting } = served;
    if (!served.isCrowded) {
      if (waiting.count === 0) return this.#executeReceived(served) === BATCH_FRAMES;
      this.#executeBatch(served);
      return true;
    }
    let count = BATCH_FRAMES;
    for (let ahead = 0; ahead < BATCHES_AHEAD && count === BATCH_FRAMES; ahead++) {
      if (waiting.hasNoRoomFor(BATCH_FRAMES)) break;
      count = port.receive(BATCH_FRAMES);
      this.#queueReceived(served, count);
    }
    this.#executeBatch(served);
    served.isCrowded = count === BATCH_FRAMES || waiting.count > CALM_FRAMES;
    if (served.isCrowded) return true;
    served.calmTurns = CALM_TURNS;
    return waiting.count > 0;
  }

  /** In the order of their arrival. @returns how many frames there were */
  #executeReceived(served: ServedPort): number {
    const count = served.port.receive(BATCH_FRAMES);
    if (count === 0) return 0;
    const { frames, lengths } = served.port.received;
    this.#responder.meter.beginBatch(this.#clock());
    this.#isInBatch = true;
    for (let index = 0; index < count; index++) {
      this.#responder.handle(served, frames[index], lengths[index]);
    }
    this.#isInBatch = false;
    this.#submitAndTransmit();
    return count;
  }

  #queueReceived(served: ServedPort, count: number): void {
    const { frames, lengths } = served.port.received;
    for (let index = 0; index < count; index++) {
      const displaced = served.waiting.push(frames[index], lengths[index]);
      if (displaced === -1) continue;
      served.drops.over_share++;
      served.release(displaced);
    }
  }

  /** Executes a batch of those that wait, in the order of their turns. */
  #executeBatch(served: ServedPort): void {
    const { waiting } = served;
    this.#responder.meter.beginBatch(this.#clock());
    this.#isInBatch = true;
    for (let index = 0; index < BATCH_FRAMES; index++) {
      const frame = waiting.take();
      if (frame === -1) break;
      if (waiting.isStale(frame)) this.#discard(served, frame);
      else this.#responder.handle(served, frame, waiting.lengthOf(frame));
    }
    this.#isInBatch = false;
    this.#submitAndTransmit();
  }

  #scheduleTurn(served: ServedPort): void {
    if (served.isTurnScheduled) return;
    served.isTurnScheduled = true;
    setImmediate(this.#laterTurn, served);
  }

  #setShares(): void {
    const targets = Math.max(1, this.#targets.count);
    const frames = SOURCE_LATITUDE * this.#bufferCount * targets;
    for (const served of this.ports) served.waiting.limitSources(frames);
  }

  #beat(): void {
    this.#discardAfterStall();
    this.#setShares();
    for (const served of this.ports) {
      served.waiting.tick();
      if (served.drops.over_share === served.toldOverShare) continue;
      served.toldOverShare = served.drops.over_share;
      const { culprit, culpritFrames } = served.waiting;
      served.waiting.forgetCulprit();
      this.#onFlood?.(served, culprit, culpritFrames);
    }
  }

  /**
   * When the event loop stood still (the process was stopped, a call blocked), what waits may be
   * old, and not every port can tell the age of a frame.
   * @returns whether it stood still
   */
  #discardAfterStall(): boolean {
    const nowMs = this.#clock();
    const hasStalled = nowMs - this.#heartbeatAtMs > STALE_AFTER_MS;
    this.#heartbeatAtMs = nowMs;
    if (hasStalled) for (const served of this.ports) this.#discardStale(served);
    return hasStalled;
  }

  #discardStale(served: ServedPort): void {
    const { port, waiting } = served;
    for (let frame = waiting.take(); frame !== -1; frame = waiting.take()) {
      this.#discard(served, frame);
    }
    for (let discarded = 0; discarded < STALE_FRAMES_LIMIT;) {
      const count = port.receive(BATCH_FRAMES);
      if (count === 0) return;
      for (let index = 0; index < count; index++) port.release(port.received.frames[index]);
      served.drops.stale += count;
      discarded += count;
    }
  }

  #discard(served: ServedPort, frame: number): void {
    served.drops.stale++;
    served.release(frame);
  }

  #submitAndTransmit(): void {
    this.#isInBatch = true;
    this.#targets.submit();
    this.#isInBatch = false;
    const { meter } = this.#responder;
    if (meter.hasLeaving) meter.leave(this.#clock());
    for (;;) {
      const served = this.#dirtyPorts.pop();
      if (served === undefined) return;
      served.isDirty = false;
      served.port.transmit();
    }
  }

  #noteDirty(served: ServedPort): void {
    this.#dirtyPorts.push(served);
    if (this.#isInBatch || this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    queueMicrotask(this.#flush);
  }
}
