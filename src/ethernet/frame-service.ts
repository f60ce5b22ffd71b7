import { type DropCounts, type DropReason, noDrops } from "../aoe/drop-reason.ts";
import type { ReplyPort } from "../aoe/reply-port.ts";
import type { Responder } from "../aoe/responder.ts";
import type { TargetManager } from "../target/target-manager.ts";
import { type EthernetPort, STALE_AFTER_MS } from "./ethernet-port.ts";

/**
 * Frames taken, executed and answered at a time. Small, so that the initiator works on the first
 * replies while the next requests are executed: a whole window answered at once makes both sides
 * wait for each other in turn.
 */
export const BATCH_FRAMES = 16;

/** Batches in one turn of the event loop; then timers and other ports have theirs. */
const BATCHES_IN_TURN = 8;

const HEARTBEAT_MS = 100;

/** Bounds how many stale frames are thrown away at once. */
const STALE_FRAMES_LIMIT = 65_536;

const DRAIN_POLL_MS = 5;

/** An EthernetPort in service: the queue of its replies and why its frames were dropped. */
export class ServedPort implements ReplyPort {
  readonly port: EthernetPort;
  readonly drops: DropCounts = noDrops();
  /** Frames wait for `transmit`. */
  isDirty = false;
  readonly #onDirty: (served: ServedPort) => void;

  constructor(port: EthernetPort, onDirty: (served: ServedPort) => void) {
    this.port = port;
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
  readonly targets: TargetManager;
  readonly responder: Responder;
  readonly ports: readonly EthernetPort[];
  /** Milliseconds that only grow. */
  readonly clock?: (() => number) | undefined;
}

/**
 * Moves batches: ports → responder → storages → ports. In a batch each of these is called once;
 * replies that complete later leave together at the end of the callback that completed them.
 */
export class FrameService {
  readonly ports: readonly ServedPort[];
  readonly #targets: TargetManager;
  readonly #responder: Responder;
  readonly #clock: () => number;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #dirtyPorts: ServedPort[] = [];
  readonly #flush: () => void;
  #isFlushScheduled = false;
  #isInBatch = false;
  #heartbeatAtMs: number;

  constructor(options: FrameServiceOptions) {
    this.#targets = options.targets;
    this.#responder = options.responder;
    this.#clock = options.clock ?? (() => performance.now());
    this.#heartbeatAtMs = this.#clock();
    this.#heartbeat = setInterval(() => {
      this.#discardAfterStall();
    }, HEARTBEAT_MS);
    this.#heartbeat.unref();
    this.#flush = () => {
      this.#isFlushScheduled = false;
      this.#submitAndTransmit();
    };
    const onDirty = (served: ServedPort): void => this.#noteDirty(served);
    this.ports = options.ports.map((port) => new ServedPort(port, onDirty));
  }

  /** Begins to receive. */
  start(): void {
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
      if (this.#receiveBatch(served) < BATCH_FRAMES) return;
    }
  }

  /** @returns how many frames there were */
  #receiveBatch(served: ServedPort): number {
    const { port } = served;
    const count = port.receive(BATCH_FRAMES);
    if (count === 0) return 0;
    const { frames, lengths } = port.received;
    this.#responder.meter.beginBatch(this.#clock());
    this.#isInBatch = true;
    for (let index = 0; index < count; index++) {
      this.#responder.handle(served, frames[index], lengths[index]);
    }
    this.#isInBatch = false;
    this.#submitAndTransmit();
    return count;
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
    const { port } = served;
    for (let discarded = 0; discarded < STALE_FRAMES_LIMIT;) {
      const count = port.receive(BATCH_FRAMES);
      if (count === 0) return;
      for (let index = 0; index < count; index++) port.release(port.received.frames[index]);
      served.drops.stale += count;
      discarded += count;
    }
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
