import { constants } from "node:os";
import type { FrameArena } from "../arena/frame-arena.ts";
import { POLL_READABLE, POLL_WRITABLE, type PollHandle, shim } from "../native/shim.ts";
import {
  DEFAULT_BATCH_FRAMES,
  emptyPortStatistics,
  type EthernetPort,
  type LinkState,
  type PortStatistics,
  type ReceivedFrames,
} from "./ethernet-port.ts";
import { sameLink } from "./link-state.ts";
import { TransmitRing } from "./transmit-ring.ts";

/** What the shim writes for a frame that waited too long in the kernel (shim/packet.h). */
const STALE_LENGTH = -2;

const { EAGAIN, ENOBUFS, ENOMEM } = constants.errno;

/** How soon a full device queue is tried again: a queue of 256 full-size frames at 10 Gbit/s. */
const DEVICE_RETRY_MS = 1;

/**
 * After so many retries in which nothing left, each queued frame is tried by itself: a device says
 * the same of a queue that is full as of a frame that it will never take.
 */
const RETRIES_BEFORE_TRIALS = 5;

/** Frames that a device does not take for so long are of no use any more: they were asked for again. */
const DEVICE_PATIENCE_MS = 1000;

const CLOSE_TIMEOUT_MS = 1000;

export interface DescriptorPortOptions {
  arena: FrameArena;
  /** Frames that one call to the kernel moves. */
  batchFrames?: number | undefined;
}

/**
 * What the ports on a kernel descriptor have in common: taking frames from the arena, waking, and
 * the queue to the kernel with its back-pressure. A port says how a batch is read and written, and
 * when it is connected to its interface.
 */
export abstract class DescriptorPort implements EthernetPort {
  readonly name: string;
  readonly received: ReceivedFrames;
  onLinkChange: ((previous: LinkState) => void) | undefined;

  protected readonly arena: FrameArena;
  protected readonly receiveOffsets: Float64Array;
  protected readonly transmitRing: TransmitRing;
  protected readonly counters: PortStatistics = emptyPortStatistics();
  protected readonly batchFrames: number;
  protected isReceiving = true;
  protected isClosed = false;
  /** Whether frames can go out at all; when not, they fail at once. */
  protected isConnected = false;
  #link: LinkState;
  #poll: PollHandle | undefined;
  #polledEvents = 0;
  #onReadable: (() => void) | undefined;
  /** The arena had no free frame: polling goes on when one is released. */
  #isStarved = false;
  /** The descriptor takes no more: the rest goes when the poll says writable. */
  #isDescriptorFull = false;
  /** The device's queue is full: the rest goes when the timer fires. */
  #deviceRetry: NodeJS.Timeout | undefined;
  /** Retries since a frame last left, and when the first was. */
  #deviceRetries = 0;
  #deviceFullSinceMs = 0;
  /** So many of the oldest frames were passed by others when each was tried by itself. */
  #passed = 0;
  #onDrained: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(name: string, link: LinkState, options: DescriptorPortOptions) {
    this.name = name;
    this.#link = link;
    this.arena = options.arena;
    this.batchFrames = options.batchFrames ?? DEFAULT_BATCH_FRAMES;
    this.received = {
      frames: new Int32Array(this.batchFrames),
      lengths: new Int32Array(this.batchFrames),
    };
    this.receiveOffsets = new Float64Array(this.batchFrames);
    this.transmitRing = new TransmitRing(options.arena);
  }

  /**
   * Reads up to `count` frames to `receiveOffsets` and their lengths (-1: too long for the arena)
   * to `received.lengths`.
   * @returns how many, or a negative errno
   */
  protected abstract readBatch(count: number): number;

  /**
   * Writes the frames `first` … `first + count - 1` of `transmitRing`.
   * @returns how many the kernel took, or the negative errno that the first met
   */
  protected abstract writeBatch(first: number, count: number): number;

  /** The poll reported an error: take it from the descriptor. */
  protected abstract takeError(): void;

  /** Makes the kernel keep further frames to itself. */
  protected abstract stopKernel(): void;

  /** Adds to `counters` what the kernel has counted since. */
  protected abstract countKernelDrops(): void;

  /** Closes the descriptor, after its poll. */
  protected abstract closeDevice(): void;

  get link(): LinkState {
    return this.#link;
  }

  get statistics(): PortStatistics {
    if (!this.isClosed) this.countKernelDrops();
    return this.counters;
  }

  get onReadable(): (() => void) | undefined {
    return this.#onReadable;
  }

  set onReadable(callback: (() => void) | undefined) {
    this.#onReadable = callback;
    this.#updatePoll();
  }

  receive(maxFrames: number): number {
    if (!this.isReceiving || this.#poll === undefined) return 0;
    const { frames } = this.received;
    const wanted = this.#takeFrames(Math.min(maxFrames, this.batchFrames));
    if (wanted === 0) return 0;
    const result = this.readBatch(wanted);
    const filled = result > 0 ? result : 0;
    // In reverse, so that the frame used last is the first to be used again: it is in cache.
    for (let index = wanted - 1; index >= filled; index--) this.arena.release(frames[index]);
    const count = this.#dropUnusable(filled);
    this.counters.receivedFrames += count;
    return count;
  }

  send(frame: number, lengthBytes: number): void {
    this.transmitRing.push(frame, lengthBytes);
  }

  transmit(): void {
    if (!this.isConnected) {
      this.#failQueued();
      return;
    }
    if (this.#isDescriptorFull || this.#deviceRetry !== undefined) return;
    const ring = this.transmitRing;
    while (ring.count > 0) {
      const sent = this.writeBatch(ring.head, ring.runLength(this.batchFrames));
      if (sent > 0) {
        this.#deviceRetries = 0;
        this.#passed = 0;
        this.counters.sentFrames += sent;
        ring.releaseOldest(sent);
      } else if (!this.#handleWriteError(-sent)) {
        return;
      }
    }
    this.#onDrained?.();
  }

  release(frame: number): void {
    this.arena.release(frame);
  }

  stopReceiving(): void {
    if (!this.isReceiving || this.isClosed) return;
    this.isReceiving = false;
    this.stopKernel();
    this.#updatePoll();
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  /** Begins to wait on the descriptor. */
  protected attach(descriptor: number): void {
    this.#poll = shim.pollOpen(descriptor, (status, events) => this.#onPoll(status, events));
    this.isConnected = true;
    this.#updatePoll();
  }

  /** Stops waiting, before the descriptor is closed; what is queued fails. */
  protected detach(): void {
    if (this.#poll !== undefined) shim.pollClose(this.#poll);
    this.#poll = undefined;
    this.#polledEvents = 0;
    this.disconnect();
  }

  /** There is no interface to send to: what is queued fails, and so does what comes. */
  protected disconnect(): void {
    this.isConnected = false;
    this.#retryNow();
  }

  protected setLink(link: LinkState): void {
    const previous = this.#link;
    if (sameLink(previous, link)) return;
    this.#link = link;
    // What waits for a device without a carrier would wait for good: it fails instead.
    if (!link.up) this.#retryNow();
    this.onLinkChange?.(previous);
  }

  async #close(): Promise<void> {
    this.stopReceiving();
    this.transmit();
    if (this.transmitRing.count > 0) await this.#drained();
    this.countKernelDrops();
    this.isClosed = true;
    this.detach();
    this.closeDevice();
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const timeout = setTimeout(resolve, CLOSE_TIMEOUT_MS);
      this.#onDrained = () => {
        clearTimeout(timeout);
        resolve();
      };
    });
  }

  /** Moves up to `limit` free frames into `received`. @returns how many there were */
  #takeFrames(limit: number): number {
    const { frames } = this.received;
    let wanted = 0;
    while (wanted < limit) {
      const frame = this.arena.allocate();
      if (frame === -1) break;
      frames[wanted] = frame;
      this.receiveOffsets[wanted] = this.arena.frameOffset(frame);
      wanted++;
    }
    if (wanted === 0 && limit > 0) this.#waitForFrame();
    return wanted;
  }

  /** Closes the gaps that frames too long or too old leave. @returns how many remain */
  #dropUnusable(filled: number): number {
    const { frames, lengths } = this.received;
    let kept = 0;
    for (let index = 0; index < filled; index++) {
      if (lengths[index] < 0) {
        if (lengths[index] === STALE_LENGTH) this.counters.staleFrames++;
        else this.counters.truncatedFrames++;
        this.arena.release(frames[index]);
        continue;
      }
      frames[kept] = frames[index];
      lengths[kept] = lengths[index];
      kept++;
    }
    return kept;
  }

  #waitForFrame(): void {
    if (this.#isStarved) return;
    this.#isStarved = true;
    this.#updatePoll();
    this.arena.whenReleased(() => {
      this.#isStarved = false;
      this.#updatePoll();
    });
  }

  /** @returns whether to go on with the next frame */
  #handleWriteError(errno: number): boolean {
    if (errno === EAGAIN) {
      this.counters.sendStalls++;
      this.#isDescriptorFull = true;
      this.#updatePoll();
      return false;
    }
    if ((errno === ENOBUFS || errno === ENOMEM) && this.#link.up) {
      this.counters.sendStalls++;
      if (this.#deviceRetries++ === 0) this.#deviceFullSinceMs = performance.now();
      this.#deviceRetry = setTimeout(() => this.#retryDevice(), DEVICE_RETRY_MS);
      return false;
    }
    // Of this frame alone: too long for the MTU of now, or the interface is down or gone.
    this.#failOldest();
    return true;
  }

  #retryDevice(): void {
    this.#deviceRetry = undefined;
    if (this.#deviceRetries >= RETRIES_BEFORE_TRIALS) this.#tryEachQueued();
    this.transmit();
  }

  /**
   * Lets the frames that the device takes pass those that it does not (on veth, one that is longer
   * than the peer's MTU). What is passed in two such trials is given up: once may be chance, when a
   * full queue drains meanwhile. What stays keeps its order.
   */
  #tryEachQueued(): void {
    const ring = this.transmitRing;
    const queued = ring.count;
    let sent = 0;
    let refused = 0;
    let refusedBefore = 0;
    let passed = 0;
    let isFull = false;
    for (let index = 0; index < queued; index++) {
      const result: number = isFull ? -EAGAIN : this.writeBatch(ring.head, 1);
      if (result === 1) {
        sent++;
        passed = refused;
        ring.releaseOldest(1);
        continue;
      }
      isFull = result === -EAGAIN;
      if (!isFull) refused++;
      if (!isFull && index < this.#passed) refusedBefore++;
      ring.rotate();
    }
    this.counters.sentFrames += sent;
    const givenUp = Math.min(refusedBefore, passed);
    for (let count = 0; count < givenUp; count++) this.#failOldest();
    if (sent > 0) {
      this.#deviceRetries = 0;
      this.#passed = passed - givenUp;
    } else if (performance.now() - this.#deviceFullSinceMs > DEVICE_PATIENCE_MS) {
      this.#deviceRetries = 0;
      this.#failQueued();
    }
  }

  #failOldest(): void {
    this.counters.sendFailures++;
    this.transmitRing.releaseOldest(1);
    this.#passed = 0;
  }

  #failQueued(): void {
    this.counters.sendFailures += this.transmitRing.count;
    this.transmitRing.releaseOldest(this.transmitRing.count);
    this.#passed = 0;
    this.#onDrained?.();
  }

  #retryNow(): void {
    clearTimeout(this.#deviceRetry);
    this.#deviceRetry = undefined;
    this.#isDescriptorFull = false;
    this.transmit();
    this.#updatePoll();
  }

  #updatePoll(): void {
    if (this.#poll === undefined) return;
    const reads = this.#onReadable !== undefined && this.isReceiving && !this.#isStarved;
    const events = (reads ? POLL_READABLE : 0) | (this.#isDescriptorFull ? POLL_WRITABLE : 0);
    if (events === this.#polledEvents) return;
    this.#polledEvents = events;
    shim.pollSet(this.#poll, events);
  }

  #onPoll(status: number, events: number): void {
    if (status < 0) {
      // libuv stops a poll that met an error; the error is about the interface, which the link
      // monitor follows, so polling goes on as soon as the descriptor has given it away.
      this.#polledEvents = 0;
      this.takeError();
      this.#retryNow();
      return;
    }
    if ((events & POLL_WRITABLE) !== 0) {
      this.#isDescriptorFull = false;
      this.transmit();
      this.#updatePoll();
    }
    if ((events & POLL_READABLE) !== 0) this.#onReadable?.();
  }
}
