import { constants } from "node:os";
import type { Log } from "../log/log.ts";
import { DescriptorPort } from "./descriptor-port.ts";
import { ETHERNET_HEADER_BYTES, type PortStatistics } from "./ethernet-port.ts";
import {
  type InterfaceState,
  type InterfaceWatch,
  listInterfaces,
  watchInterface,
} from "./link-monitor.ts";
import { linkOf } from "./link-state.ts";
import { openPacketPort, type PacketPort, type PacketPortOptions } from "./packet-port.ts";
import {
  openXdpSockets,
  type XdpFeature,
  type XdpObstacle,
  XdpSockets,
  type XdpSocketsOptions,
} from "./xdp-sockets.ts";

export interface XdpPortOptions extends PacketPortOptions {
  log?: Pick<Log, "info" | "warn"> | undefined;
  /** Chunks of 4 KiB for frames that have come and were not received yet. */
  receiveChunks?: number;
  /** Chunks of 4 KiB for frames on their way out. */
  transmitChunks?: number;
  /** What is not to be used although the kernel and the driver have it; for tests. */
  without?: readonly XdpFeature[];
}

/** As much as the packet port lets the kernel keep: 32 MiB. */
const RECEIVE_CHUNKS = 8192;
const TRANSMIT_CHUNKS = 2048;

/** What the kernel may have on its way to the wire at once. */
const SEND_BUFFER_BYTES = 8 * 1024 * 1024;

/** How soon the kernel is asked again to take what it had no room for. */
const KICK_MS = 1;

const CLOSE_TIMEOUT_MS = 1000;

/**
 * Opens an AF_XDP port on an interface that exists, or a packet port when AF_XDP is not to be had
 * there; the reason goes to the log.
 * @throws UsageError when there is no such interface or no permission for a packet port either
 */
export function openXdpPort(options: XdpPortOptions): XdpPort | PacketPort {
  // Beside the sockets it has little to do; as long as it serves alone it does without a ring too.
  const packet = openPacketPort({ ...options, ring: false });
  const port = new XdpPort(options, packet);
  if (port.isAttached) return port;
  port.abandon();
  if (options.ring === true) packet.useRing();
  return packet;
}

/**
 * Frames of one EtherType on one interface, through AF_XDP. A packet port is open beside it: for
 * frames that come in by a queue that has no socket, and for as long as the interface cannot be had
 * through AF_XDP (another one of its name, a larger MTU).
 */
export class XdpPort extends DescriptorPort {
  readonly #options: XdpPortOptions;
  readonly #socketsOptions: XdpSocketsOptions;
  readonly #packet: PacketPort;
  readonly #watch: InterfaceWatch;
  #sockets: XdpSockets | undefined;
  /** The interface for which the sockets were opened, or could not be. */
  #tried: InterfaceState | undefined;
  #kick: NodeJS.Timeout | undefined;
  /** The packet port has called: this turn is its. */
  #isPacketTurn = false;
  /** Drops of the present sockets that are counted. */
  #counted = { received: 0, sent: 0, foreign: 0, truncated: 0 };
  #closing: Promise<void> | undefined;

  constructor(options: XdpPortOptions, packet: PacketPort) {
    super(options.interfaceName, packet.link, options);
    this.#options = options;
    this.#socketsOptions = {
      etherType: options.etherType,
      sendBufferBytes: options.sendBufferBytes ?? SEND_BUFFER_BYTES,
      receiveChunks: options.receiveChunks ?? RECEIVE_CHUNKS,
      transmitChunks: options.transmitChunks ?? TRANSMIT_CHUNKS,
      without: options.without ?? [],
    };
    this.#packet = packet;
    // After that of the packet port, which therefore follows first.
    this.#watch = watchInterface(options.interfaceName, (state) => this.#follow(state));
    if (this.#watch.initial !== undefined) this.#open(this.#watch.initial);
  }

  /** Whether frames go through AF_XDP now; if not, through the packet port. */
  get isAttached(): boolean {
    return this.#sockets !== undefined;
  }

  /** How they do: for people. */
  get mode(): string {
    const sockets = this.#sockets;
    if (sockets === undefined) return "packet socket";
    const place = sockets.nativeObstacle === undefined ? "native" : "generic";
    return `${place}, ${sockets.zeroCopy ? "zero-copy" : "copy"}`;
  }

  override get onReadable(): (() => void) | undefined {
    return super.onReadable;
  }

  override set onReadable(callback: (() => void) | undefined) {
    super.onReadable = callback;
    this.#packet.onReadable = callback && (() => this.#onPacket(callback));
  }

  override get statistics(): PortStatistics {
    const own = super.statistics;
    const packet = this.#packet.statistics;
    return {
      receivedFrames: own.receivedFrames + packet.receivedFrames,
      sentFrames: own.sentFrames + packet.sentFrames,
      receiveOverruns: own.receiveOverruns + packet.receiveOverruns,
      truncatedFrames: own.truncatedFrames + packet.truncatedFrames,
      staleFrames: own.staleFrames + packet.staleFrames,
      foreignFrames: own.foreignFrames + packet.foreignFrames,
      sendFailures: own.sendFailures + packet.sendFailures,
      sendStalls: own.sendStalls + packet.sendStalls,
    };
  }

  override receive(maxFrames: number): number {
    const count = this.#isPacketTurn ? 0 : super.receive(maxFrames);
    return count > 0 ? count : this.#receivePassed(maxFrames);
  }

  override send(frame: number, lengthBytes: number): void {
    if (this.#sockets === undefined) {
      this.#packet.send(frame, lengthBytes);
      return;
    }
    // A socket takes everything, and some drivers drop it silently.
    const { up, mtuBytes } = this.link;
    if (!up || lengthBytes > mtuBytes + ETHERNET_HEADER_BYTES) {
      this.counters.sendFailures++;
      this.arena.release(frame);
      return;
    }
    super.send(frame, lengthBytes);
  }

  override transmit(): void {
    super.transmit();
    const sockets = this.#sockets;
    if (sockets === undefined) {
      this.#packet.transmit();
    } else if (sockets.waitingParts > 0 && this.#kick === undefined) {
      if (!sockets.zeroCopy) this.counters.sendStalls++;
      this.#kickLater(sockets);
    }
  }

  override stopReceiving(): void {
    this.#packet.stopReceiving();
    super.stopReceiving();
  }

  override close(): Promise<void> {
    return (this.#closing ??= this.#closeBoth());
  }

  /** Undoes the constructor, and leaves the packet port to the caller. */
  abandon(): void {
    this.#watch.close();
  }

  protected override readBatch(count: number): number {
    const { received, arena, link } = this;
    return this.#sockets?.receive(arena, this.receiveOffsets, received, count, link.mac) ?? 0;
  }

  protected override writeBatch(first: number, count: number): number {
    if (this.#sockets === undefined || !this.link.up) return -constants.errno.ENETDOWN;
    return this.#sockets.send(this.arena, this.transmitRing, first, count);
  }

  protected override takeError(): void {
    // What is polled stands for several sockets, and has no errors of its own.
  }

  protected override stopKernel(): void {
    this.#sockets?.stopReceiving();
  }

  protected override countKernelDrops(): void {
    const sockets = this.#sockets;
    if (sockets === undefined) return;
    const [foreign, truncated] = sockets.dropped;
    const now = { ...sockets.drops, foreign, truncated };
    this.counters.receiveOverruns += now.received - this.#counted.received;
    this.counters.foreignFrames += now.foreign - this.#counted.foreign;
    this.counters.truncatedFrames += now.truncated - this.#counted.truncated;
    this.#countUnsent(now.sent - this.#counted.sent);
    this.#counted = now;
  }

  protected override closeDevice(): void {
    this.#watch.close();
    this.#closeSockets();
  }

  #onPacket(callback: () => void): void {
    this.#isPacketTurn = true;
    callback();
    this.#isPacketTurn = false;
  }

  #receivePassed(maxFrames: number): number {
    const { received } = this.#packet;
    const count = this.#packet.receive(Math.min(maxFrames, this.batchFrames));
    for (let index = 0; index < count; index++) {
      this.received.frames[index] = received.frames[index];
      this.received.lengths[index] = received.lengths[index];
    }
    return count;
  }

  #follow(state: InterfaceState | undefined): void {
    const isOther = state?.incarnation !== this.#tried?.incarnation;
    const isOtherMtu = state?.mtuBytes !== this.#tried?.mtuBytes;
    const isUsable = state !== undefined && this.#sockets?.fits(state.mtuBytes) === true;
    if (isOther || (isOtherMtu && !isUsable)) {
      this.#closeSockets();
      if (state !== undefined && this.isReceiving) this.#open(state);
    }
    this.#tried = state;
    this.setLink(linkOf(state, this.link));
    this.transmit();
  }

  #open(state: InterfaceState): void {
    const { interfaceName, log } = this.#options;
    this.#tried = state;
    const hasVlans = listInterfaces().some(
      ({ kind, lowerIndex }) => kind === "vlan" && lowerIndex === state.index,
    );
    const opened: XdpSockets | XdpObstacle = openXdpSockets(state, hasVlans, this.#socketsOptions);
    if (!(opened instanceof XdpSockets)) {
      log?.warn(
        { interface: interfaceName, reason: opened.obstacle },
        "AF_XDP is not to be had on this interface: serving through a raw socket",
      );
      return;
    }
    this.#sockets = opened;
    this.#counted = { received: 0, sent: 0, foreign: 0, truncated: 0 };
    this.attach(opened.descriptor);
    const { queues, nativeObstacle: reason } = opened;
    log?.info(
      { interface: interfaceName, mode: this.mode, queues, ...(reason && { reason }) },
      "serving through AF_XDP sockets",
    );
  }

  #closeSockets(): void {
    const sockets = this.#sockets;
    if (sockets === undefined) return;
    this.countKernelDrops();
    this.#countUnsent(sockets.kick());
    clearTimeout(this.#kick);
    this.#kick = undefined;
    this.#sockets = undefined;
    this.detach();
    sockets.close();
  }

  /** Frames that the sockets had taken, and that did not get to the wire. */
  #countUnsent(frames: number): void {
    this.counters.sentFrames -= frames;
    this.counters.sendFailures += frames;
  }

  #kickLater(sockets: XdpSockets): void {
    this.#kick = setTimeout(() => {
      this.#kick = undefined;
      // While the link is down nothing is taken; `#follow` asks again when it is up.
      if (this.link.up && sockets.kick() > 0) this.#kickLater(sockets);
    }, KICK_MS);
  }

  async #closeBoth(): Promise<void> {
    this.stopReceiving();
    this.transmit();
    const deadlineMs = performance.now() + CLOSE_TIMEOUT_MS;
    while (this.#unsent() > 0 && performance.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, KICK_MS));
    }
    // What the interface has not taken by now fails.
    this.disconnect();
    await Promise.all([super.close(), this.#packet.close()]);
  }

  #unsent(): number {
    if (this.#sockets === undefined || !this.link.up) return 0;
    return this.transmitRing.count + this.#sockets.kick();
  }
}
