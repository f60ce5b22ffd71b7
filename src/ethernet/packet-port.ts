import { closeSync } from "node:fs";
import { constants } from "node:os";
import { FRAME_CAPACITY_BYTES, type FrameArena } from "../arena/frame-arena.ts";
import { UsageError } from "../errors.ts";
import { POLL_READABLE, POLL_WRITABLE, type PollHandle, shim } from "../native/shim.ts";
import { errnoName } from "../system/libc.ts";
import {
  DEFAULT_BATCH_FRAMES,
  emptyPortStatistics,
  type EthernetPort,
  type LinkState,
  type PortStatistics,
  type ReceivedFrames,
} from "./ethernet-port.ts";
import { type InterfaceState, type InterfaceWatch, watchInterface } from "./link-monitor.ts";
import { linkOf, sameLink } from "./link-state.ts";
import { closedFilter, packetFilter } from "./packet-filter.ts";
import { TransmitRing } from "./transmit-ring.ts";

export interface PacketPortOptions {
  interfaceName: string;
  etherType: number;
  arena: FrameArena;
  /** A socket filter (struct sock_filter[]), by default that of `packetFilter()`. */
  filter?: Uint8Array;
  receiveBufferBytes?: number;
  /** Frames that one call to the kernel moves. */
  batchFrames?: number;
}

const { EAGAIN, ENOBUFS, ENOMEM, EPERM } = constants.errno;

/**
 * A lost frame costs an initiator at least 100 ms, so the buffers hold some thousand jumbo frames.
 * The kernel takes no more than is really used.
 */
const RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024;
const SEND_BUFFER_BYTES = 8 * 1024 * 1024;

/** How soon a full device queue is tried again: a queue of 256 full-size frames at 10 Gbit/s. */
const DEVICE_RETRY_MS = 1;

const CLOSE_TIMEOUT_MS = 1000;

/**
 * Opens an AF_PACKET port on an interface that exists.
 * @throws UsageError when there is no such interface or no permission
 */
export function openPacketPort(options: PacketPortOptions): PacketPort {
  return new PacketPort(options);
}

/**
 * Raw frames of one EtherType on one interface. It follows the name: when the interface is removed
 * or renamed the port waits, and binds again to the next interface of that name. The socket stays
 * the same, because the privilege to open another may be gone by then.
 */
export class PacketPort implements EthernetPort {
  readonly name: string;
  readonly received: ReceivedFrames;
  onLinkChange: ((previous: LinkState) => void) | undefined;

  readonly #arena: FrameArena;
  readonly #etherType: number;
  readonly #batchFrames: number;
  readonly #socket: number;
  readonly #poll: PollHandle;
  readonly #watch: InterfaceWatch;
  readonly #statistics: PortStatistics = emptyPortStatistics();
  readonly #receiveOffsets: Float64Array;
  readonly #transmitRing: TransmitRing;
  #filter: Uint8Array;
  #link: LinkState;
  /** Incarnation of the interface that the socket is bound to; 0 for none. */
  #bound = 0;
  #onReadable: (() => void) | undefined;
  #polledEvents = 0;
  #receiving = true;
  #starved = false;
  /** The socket's send buffer is full: the rest goes when the poll says writable. */
  #socketFull = false;
  /** The device's queue is full: the rest goes when the timer fires. */
  #deviceRetry: NodeJS.Timeout | undefined;
  #closed = false;
  #closing: Promise<void> | undefined;
  #onDrained: (() => void) | undefined;

  constructor(options: PacketPortOptions) {
    this.name = options.interfaceName;
    this.#arena = options.arena;
    this.#etherType = options.etherType;
    this.#filter = options.filter ?? packetFilter();
    this.#batchFrames = options.batchFrames ?? DEFAULT_BATCH_FRAMES;
    this.received = {
      frames: new Int32Array(this.#batchFrames),
      lengths: new Int32Array(this.#batchFrames),
    };
    this.#receiveOffsets = new Float64Array(this.#batchFrames);
    this.#transmitRing = new TransmitRing(options.arena);

    this.#watch = watchInterface(this.name, (state) => this.#onInterface(state));
    const initial = this.#watch.initial;
    if (initial === undefined) {
      this.#watch.close();
      throw new UsageError(`there is no network interface '${this.name}'`);
    }
    this.#link = linkOf(initial, undefined);
    this.#socket = openSocket(options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES, () =>
      this.#watch.close(),
    );
    this.#poll = shim.pollOpen(this.#socket, (status, events) => this.#onPoll(status, events));
    this.#bind(initial);
  }

  get link(): LinkState {
    return this.#link;
  }

  get statistics(): PortStatistics {
    if (!this.#closed) {
      this.#statistics.receiveOverruns += Math.max(shim.packetDrops(this.#socket), 0);
    }
    return this.#statistics;
  }

  get onReadable(): (() => void) | undefined {
    return this.#onReadable;
  }

  set onReadable(callback: (() => void) | undefined) {
    this.#onReadable = callback;
    this.#updatePoll();
  }

  /** Replaces the socket filter; see `packetFilter` for what it should drop. */
  setFilter(program: Uint8Array): void {
    this.#filter = program;
    if (this.#bound !== 0) this.#attachFilter(program);
  }

  receive(maxFrames: number): number {
    if (!this.#receiving || this.#closed) return 0;
    const { frames, lengths } = this.received;
    const wanted = this.#takeFrames(Math.min(maxFrames, this.#batchFrames));
    if (wanted === 0) return 0;
    const result = shim.packetReceive(
      this.#socket,
      this.#arena.bytes,
      this.#receiveOffsets,
      lengths,
      wanted,
      FRAME_CAPACITY_BYTES,
    );
    const filled = result > 0 ? result : 0;
    // In reverse, so that the frame used last is the first to be used again: it is in cache.
    for (let index = wanted - 1; index >= filled; index--) this.#arena.release(frames[index]);
    const count = this.#dropTruncated(filled);
    this.#statistics.receivedFrames += count;
    return count;
  }

  send(frame: number, lengthBytes: number): void {
    this.#transmitRing.push(frame, lengthBytes);
  }

  transmit(): void {
    const ring = this.#transmitRing;
    if (this.#closed || this.#bound === 0) {
      this.#failQueued();
      return;
    }
    if (this.#socketFull || this.#deviceRetry !== undefined) return;
    while (ring.count > 0) {
      const sent = shim.packetSend(
        this.#socket,
        this.#arena.bytes,
        ring.offsets,
        ring.lengths,
        ring.head,
        ring.runLength(this.#batchFrames),
      );
      if (sent > 0) {
        this.#statistics.sentFrames += sent;
        ring.releaseOldest(sent);
      } else if (!this.#handleSendError(-sent)) {
        return;
      }
    }
    this.#onDrained?.();
  }

  release(frame: number): void {
    this.#arena.release(frame);
  }

  stopReceiving(): void {
    if (!this.#receiving || this.#closed) return;
    this.#receiving = false;
    this.#attachFilter(closedFilter());
    this.#updatePoll();
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.stopReceiving();
    this.transmit();
    if (this.#transmitRing.count > 0) await this.#drained();
    this.#statistics.receiveOverruns += Math.max(shim.packetDrops(this.#socket), 0);
    this.#closed = true;
    clearTimeout(this.#deviceRetry);
    this.#watch.close();
    this.#failQueued();
    shim.pollClose(this.#poll);
    closeSync(this.#socket);
  }

  /** Moves up to `limit` free frames into `received`. @returns how many there were */
  #takeFrames(limit: number): number {
    const { frames } = this.received;
    let wanted = 0;
    while (wanted < limit) {
      const frame = this.#arena.allocate();
      if (frame === -1) break;
      frames[wanted] = frame;
      this.#receiveOffsets[wanted] = this.#arena.frameOffset(frame);
      wanted++;
    }
    if (wanted === 0 && limit > 0) this.#waitForFrame();
    return wanted;
  }

  /** Closes the gaps that frames longer than the arena's leave. */
  #dropTruncated(filled: number): number {
    const { frames, lengths } = this.received;
    let kept = 0;
    for (let index = 0; index < filled; index++) {
      if (lengths[index] < 0) {
        this.#statistics.truncatedFrames++;
        this.#arena.release(frames[index]);
        continue;
      }
      frames[kept] = frames[index];
      lengths[kept] = lengths[index];
      kept++;
    }
    return kept;
  }

  #waitForFrame(): void {
    if (this.#starved) return;
    this.#starved = true;
    this.#updatePoll();
    this.#arena.whenReleased(() => {
      this.#starved = false;
      this.#updatePoll();
    });
  }

  /** @returns whether to go on with the next frame */
  #handleSendError(errno: number): boolean {
    if (errno === EAGAIN) {
      this.#statistics.sendStalls++;
      this.#socketFull = true;
      this.#updatePoll();
      return false;
    }
    if ((errno === ENOBUFS || errno === ENOMEM) && this.#link.up) {
      this.#statistics.sendStalls++;
      this.#deviceRetry = setTimeout(() => {
        this.#deviceRetry = undefined;
        this.transmit();
      }, DEVICE_RETRY_MS);
      return false;
    }
    // Of this frame alone: too long for the MTU of now, or the interface is down or gone.
    this.#statistics.sendFailures++;
    this.#transmitRing.releaseOldest(1);
    return true;
  }

  #failQueued(): void {
    this.#statistics.sendFailures += this.#transmitRing.count;
    this.#transmitRing.releaseOldest(this.#transmitRing.count);
    this.#onDrained?.();
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

  /** What waits for a device without a carrier would wait for good: it fails instead. */
  #retryNow(): void {
    clearTimeout(this.#deviceRetry);
    this.#deviceRetry = undefined;
    this.#socketFull = false;
    this.transmit();
    this.#updatePoll();
  }

  #updatePoll(): void {
    if (this.#closed) return;
    const reads = this.#onReadable !== undefined && this.#receiving && !this.#starved;
    const events = (reads ? POLL_READABLE : 0) | (this.#socketFull ? POLL_WRITABLE : 0);
    if (events === this.#polledEvents) return;
    this.#polledEvents = events;
    shim.pollSet(this.#poll, events);
  }

  #onPoll(status: number, events: number): void {
    if (status < 0) {
      // The interface went down or away. Taking the error is what makes the socket usable again;
      // libuv has stopped polling, and the link monitor tells what has become of the interface.
      shim.socketError(this.#socket);
      this.#polledEvents = 0;
      this.#retryNow();
      return;
    }
    if ((events & POLL_WRITABLE) !== 0) {
      this.#socketFull = false;
      this.transmit();
      this.#updatePoll();
    }
    if ((events & POLL_READABLE) !== 0) this.#onReadable?.();
  }

  #onInterface(state: InterfaceState | undefined): void {
    if ((state?.incarnation ?? 0) !== this.#bound) {
      if (state === undefined) this.#unbind();
      else this.#bind(state);
    }
    const previous = this.#link;
    const link = linkOf(state, previous);
    if (sameLink(previous, link)) return;
    this.#link = link;
    if (!link.up) this.#retryNow();
    this.onLinkChange?.(previous);
  }

  /** Binds with the filter closed, so that no frame gets in that the filter would have dropped. */
  #bind(state: InterfaceState): void {
    this.#attachFilter(closedFilter());
    const result = shim.packetBind(this.#socket, state.index, this.#etherType);
    // It may be gone again already; the monitor tells when there is another.
    this.#bound = result === 0 ? state.incarnation : 0;
    if (this.#bound !== 0 && this.#receiving) this.#attachFilter(this.#filter);
  }

  #unbind(): void {
    this.#bound = 0;
    this.#attachFilter(closedFilter());
    this.#failQueued();
  }

  #attachFilter(program: Uint8Array): void {
    const result = shim.packetFilter(this.#socket, program);
    if (result < 0) throw new Error(`the kernel refused a socket filter: ${errnoName(result)}`);
  }
}

function openSocket(receiveBufferBytes: number, onFailure: () => void): number {
  const socket = shim.packetOpen(receiveBufferBytes, SEND_BUFFER_BYTES);
  if (socket >= 0) return socket;
  onFailure();
  if (socket === -EPERM) {
    throw new UsageError(
      "no permission to use raw Ethernet: run with sudo, or give the process CAP_NET_RAW",
    );
  }
  throw new UsageError(`cannot open a raw Ethernet socket: ${errnoName(socket)}`);
}
