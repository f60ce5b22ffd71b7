import { constants } from "node:os";
import { FRAME_CAPACITY_BYTES, type FrameArena } from "../arena/frame-arena.ts";
import { UsageError } from "../errors.ts";
import type { Log } from "../log/log.ts";
import { shim } from "../native/shim.ts";
import { errnoName } from "../system/libc.ts";
import { DescriptorPort } from "./descriptor-port.ts";
import { type InterfaceState, type InterfaceWatch, watchInterface } from "./link-monitor.ts";
import { linkOf } from "./link-state.ts";
import { closedFilter, packetFilter } from "./packet-filter.ts";
import { PacketRing } from "./packet-ring.ts";

export interface PacketPortOptions {
  interfaceName: string;
  etherType: number;
  arena: FrameArena;
  /** A socket filter (struct sock_filter[]), by default that of `packetFilter()`. */
  filter?: Uint8Array;
  receiveBufferBytes?: number;
  /**
   * Receive through a ring in memory, of `receiveBufferBytes` that are taken at once: for a server.
   * Without it the kernel takes memory for what waits, and receiving a system call for each batch.
   */
  ring?: boolean;
  sendBufferBytes?: number;
  /** Frames that one call to the kernel moves. */
  batchFrames?: number;
  /** Frames that waited in the socket for longer than this are dropped; by default none are. */
  oldestFrameMs?: number;
  log?: Pick<Log, "warn"> | undefined;
}

/** Longer than any frame waits. */
const NEVER_TOO_OLD_MS = 2 ** 31 - 1;

/** A lost frame costs an initiator at least 100 ms, so the buffers hold some thousand jumbo frames. */
const RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024;
const SEND_BUFFER_BYTES = 8 * 1024 * 1024;

/**
 * Opens an AF_PACKET port on an interface that exists.
 * @throws UsageError when there is no such interface or no permission
 */
export function openPacketPort(options: PacketPortOptions): PacketPort {
  const receiveBufferBytes = options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES;
  const socket = openSocket(receiveBufferBytes, options.sendBufferBytes ?? SEND_BUFFER_BYTES);
  let port: PacketPort | undefined;
  const watch = watchInterface(options.interfaceName, (state) => port?.follow(state));
  if (watch.initial === undefined) {
    watch.close();
    shim.closeDescriptor(socket);
    throw new UsageError(`there is no network interface '${options.interfaceName}'`);
  }
  const ring = new PacketRing(socket, receiveBufferBytes);
  port = new PacketPort(options, socket, ring, watch, watch.initial);
  return port;
}

/**
 * Raw frames of one EtherType on one interface. It follows the name: when the interface is removed
 * or renamed the port waits, and binds again to the next interface of that name. The socket stays
 * the same, because the privilege to open another may be gone by then.
 */
export class PacketPort extends DescriptorPort {
  readonly #etherType: number;
  readonly #oldestFrameMs: number;
  readonly #socket: number;
  /** Not open where each batch is received by a system call. */
  readonly #ring: PacketRing;
  readonly #watch: InterfaceWatch;
  readonly #log: PacketPortOptions["log"];
  #filter: Uint8Array;
  #hasWarned = false;
  /** Incarnation of the interface that the socket is bound to; 0 for none. */
  #bound = 0;

  constructor(
    options: PacketPortOptions,
    socket: number,
    ring: PacketRing,
    watch: InterfaceWatch,
    initial: InterfaceState,
  ) {
    super(options.interfaceName, linkOf(initial, undefined), options);
    this.#oldestFrameMs = options.oldestFrameMs ?? NEVER_TOO_OLD_MS;
    this.#etherType = options.etherType;
    this.#log = options.log;
    this.#filter = options.filter ?? packetFilter();
    this.#socket = socket;
    this.#ring = ring;
    this.#watch = watch;
    if (options.ring === true) this.useRing();
    else shim.packetTimestamp(socket);
    this.attach(socket);
    this.#bind(initial);
  }

  /** From now on the option `ring` holds. What waits in the socket may be lost. */
  useRing(): void {
    this.#fitRing(this.link.mtuBytes);
  }

  /**
   * Replaces the socket filter; see `packetFilter` for what it should drop. Where the kernel has no
   * room for it, that one takes its place.
   */
  setFilter(program: Uint8Array): void {
    this.#filter = program;
    if (this.#bound !== 0 && this.isReceiving) this.#openFilter();
  }

  /** Takes over the new state of the interface. Called by the watch. */
  follow(state: InterfaceState | undefined): void {
    if (state !== undefined && this.#ring.isOpen) this.#fitRing(state.mtuBytes);
    if ((state?.incarnation ?? 0) !== this.#bound) {
      if (state === undefined) this.#unbind();
      else this.#bind(state);
    }
    // The socket keeps that its interface was down, and would refuse the next frame for it.
    shim.socketError(this.#socket);
    this.setLink(linkOf(state, this.link));
  }

  protected override readBatch(count: number): number {
    const { arena, receiveOffsets, received } = this;
    if (this.#ring.isOpen) {
      return this.#ring.receive(arena, receiveOffsets, received, count, this.#oldestFrameMs);
    }
    return shim.packetReceive(
      this.#socket,
      arena.bytes,
      receiveOffsets,
      received.lengths,
      count,
      FRAME_CAPACITY_BYTES,
      this.#oldestFrameMs,
    );
  }

  protected override writeBatch(first: number, count: number): number {
    const { offsets, lengths } = this.transmitRing;
    return shim.packetSend(this.#socket, this.arena.bytes, offsets, lengths, first, count);
  }

  protected override takeError(): void {
    shim.socketError(this.#socket);
  }

  protected override stopKernel(): void {
    this.#attachFilter(closedFilter());
  }

  protected override countKernelDrops(): void {
    this.counters.receiveOverruns += Math.max(shim.packetDrops(this.#socket), 0);
  }

  protected override closeDevice(): void {
    this.#watch.close();
    this.#ring.close();
    shim.closeDescriptor(this.#socket);
  }

  /** A ring saves work: where the kernel has no memory for it, it is done without. */
  #fitRing(mtuBytes: number): void {
    const result = this.#ring.fit(mtuBytes);
    if (result === 0) return;
    if (this.#ring.isOpen) {
      this.#log?.warn(
        { interface: this.name, reason: errnoName(result) },
        "the receive ring keeps its size until the interface changes again: longer frames are dropped",
      );
      return;
    }
    shim.packetTimestamp(this.#socket);
    this.#log?.warn(
      { interface: this.name, reason: errnoName(result) },
      "the kernel has no receive ring for this interface, so each batch costs a system call more",
    );
  }

  /** Binds with the filter closed, so that no frame gets in that the filter would have dropped. */
  #bind(state: InterfaceState): void {
    this.#attachFilter(closedFilter());
    const result = shim.packetBind(this.#socket, state.index, this.#etherType);
    if (result < 0) {
      // It is gone again already; the monitor tells when there is another.
      this.#bound = 0;
      this.disconnect();
      return;
    }
    this.#bound = state.incarnation;
    this.isConnected = true;
    if (this.isReceiving) this.#openFilter();
  }

  #unbind(): void {
    this.#bound = 0;
    this.#attachFilter(closedFilter());
    this.disconnect();
  }

  /**
   * A filter only saves work, and timers and the link monitor come by here: no reason to fail. The
   * kernel bounds what the old program and the new one take together (net.core.optmem_max).
   */
  #openFilter(): void {
    if (this.#attachFilter(this.#filter) === 0) return;
    this.#attachFilter(packetFilter());
    const result = this.#attachFilter(this.#filter);
    if (result === 0 || this.#hasWarned) return;
    this.#hasWarned = true;
    this.#log?.warn(
      { interface: this.name, reason: errnoName(result) },
      "the kernel refused a socket filter, so frames for other servers are dropped only here; " +
        "a larger net.core.optmem_max may help",
    );
  }

  /** @returns 0, or a negative errno: the filter is what it was */
  #attachFilter(program: Uint8Array): number {
    return shim.packetFilter(this.#socket, program);
  }
}

function openSocket(receiveBufferBytes: number, sendBufferBytes: number): number {
  const socket = shim.packetOpen(receiveBufferBytes, sendBufferBytes);
  if (socket >= 0) return socket;
  if (socket === -constants.errno.EPERM) {
    throw new UsageError(
      "no permission to use raw Ethernet: run with sudo, or give the process CAP_NET_RAW",
    );
  }
  throw new UsageError(`cannot open a raw Ethernet socket: ${errnoName(socket)}`);
}
