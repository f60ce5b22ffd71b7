import { hostname } from "node:os";
import { FRAME_CAPACITY_BYTES, type FrameArena } from "../arena/frame-arena.ts";
import { systemErrorCode, UsageError } from "../errors.ts";
import { shim } from "../native/shim.ts";
import { limitTapSending, openTapDevice } from "../system/tap-device.ts";
import { DescriptorPort } from "./descriptor-port.ts";
import { ETHERNET_HEADER_BYTES, type LinkState } from "./ethernet-port.ts";
import {
  findInterface,
  type InterfaceState,
  type InterfaceWatch,
  watchInterface,
} from "./link-monitor.ts";
import { MAXIMUM_MTU_BYTES } from "./link-state.ts";
import { changeLink, type LinkChange, readLink } from "./netlink.ts";
import { stableMac } from "./stable-mac.ts";

export interface TapPortOptions {
  /** The TAP interface, created when there is none of that name. */
  name: string;
  etherType: number;
  arena: FrameArena;
  /** The bridge that it joins. */
  bridge?: string | undefined;
  /** What the administrator calls the port; by default the name. */
  portName?: string;
  /**
   * The MTU of the TAP interface. By default it is the largest on a bridge, so that the bridge's
   * own MTU decides, and that of the interface otherwise.
   */
  mtuBytes?: number;
  /** The port's own address; by default one that depends on the host and the bridge. */
  mac?: Uint8Array;
  sendBufferBytes?: number;
  /** Frames that one call to the kernel moves. */
  batchFrames?: number;
}

/** The interface's queue to us; a thousand, the kernel's own choice, is less than a burst. */
const RECEIVE_QUEUE_FRAMES = 8192;

/**
 * What may be on its way at once: less than the queue of a NIC under the bridge takes (a thousand
 * frames, each counted with more than a kilobyte of the kernel's), and enough for 10 Gbit/s.
 */
const SEND_BUFFER_BYTES = 1024 * 1024;

/** How soon a TAP interface that somebody deleted is made again. */
const REOPEN_MS = 1000;

/** Indexes of what tapReceive counts. */
const DROPPED_FOREIGN = 0;
const DROPPED_TRUNCATED = 1;

/**
 * Opens a TAP port, joined to its bridge and switched on.
 * @throws UsageError when the bridge is missing, the name is taken, or without permission
 */
export function openTapPort(options: TapPortOptions): TapPort {
  if (options.bridge !== undefined && findInterface(options.bridge)?.kind !== "bridge") {
    throw new UsageError(`there is no bridge '${options.bridge}'`);
  }
  const port = new TapPort(options);
  port.open();
  return port;
}

/**
 * A station of its own behind a TAP interface: it has its own address, which the bridge learns as
 * that of any other. What the kernel calls the interface's address is the other end of the cable.
 */
export class TapPort extends DescriptorPort {
  readonly #options: TapPortOptions;
  readonly #mac: Uint8Array;
  readonly #dropped = new Float64Array(2);
  #descriptor = -1;
  #tapWatch: InterfaceWatch | undefined;
  #bridgeWatch: InterfaceWatch | undefined;
  #tap: InterfaceState | undefined;
  #bridge: InterfaceState | undefined;
  /** Frames that the interface had dropped before we count. */
  #droppedBefore = 0;
  #countedTruncated = 0;
  #reopen: NodeJS.Timeout | undefined;

  constructor(options: TapPortOptions) {
    const mac = options.mac ?? stableMac(hostname(), options.bridge ?? options.name);
    super(options.portName ?? options.name, { mac, mtuBytes: 0, up: false }, options);
    this.#options = options;
    this.#mac = mac;
  }

  /** The name of the TAP interface. */
  get tapName(): string {
    return this.#options.name;
  }

  /** Creates or attaches to the interface. @throws UsageError */
  open(): void {
    this.#openDevice();
    const { name, bridge } = this.#options;
    this.#tapWatch = watchInterface(name, (state) => this.#followTap(state));
    this.#tap = this.#tapWatch.initial;
    if (bridge !== undefined) {
      this.#bridgeWatch = watchInterface(bridge, (state) => this.#followBridge(state));
      this.#bridge = this.#bridgeWatch.initial;
    }
    this.#updateLink();
  }

  override send(frame: number, lengthBytes: number): void {
    // A TAP takes everything, and the bridge would drop it silently.
    const { up, mtuBytes } = this.link;
    if (!up || lengthBytes > mtuBytes + ETHERNET_HEADER_BYTES) {
      this.counters.sendFailures++;
      this.arena.release(frame);
      return;
    }
    super.send(frame, lengthBytes);
  }

  protected override readBatch(count: number): number {
    return shim.tapReceive(
      this.#descriptor,
      this.arena.bytes,
      this.receiveOffsets,
      this.received.lengths,
      count,
      FRAME_CAPACITY_BYTES,
      this.#options.etherType,
      this.#mac,
      this.#dropped,
    );
  }

  protected override writeBatch(first: number, count: number): number {
    const { offsets, lengths } = this.transmitRing;
    return shim.tapSend(this.#descriptor, this.arena.bytes, offsets, lengths, first, count);
  }

  /** A TAP reports an error only when its interface is gone. */
  protected override takeError(): void {
    this.#lose();
  }

  protected override stopKernel(): void {
    // Nothing to tell the kernel: what is not read is dropped when the queue is full.
  }

  protected override countKernelDrops(): void {
    this.counters.foreignFrames = this.#dropped[DROPPED_FOREIGN];
    const truncated = this.#dropped[DROPPED_TRUNCATED];
    this.counters.truncatedFrames += truncated - this.#countedTruncated;
    this.#countedTruncated = truncated;
    if (this.#tap === undefined || !this.isReceiving) return;
    const dropped = readLink(this.#tap.index)?.transmitDroppedFrames ?? this.#droppedBefore;
    this.counters.receiveOverruns += dropped - this.#droppedBefore;
    this.#droppedBefore = dropped;
  }

  protected override closeDevice(): void {
    clearTimeout(this.#reopen);
    this.#tapWatch?.close();
    this.#bridgeWatch?.close();
    if (this.#descriptor !== -1) shim.closeDescriptor(this.#descriptor);
    this.#descriptor = -1;
  }

  #openDevice(): void {
    const { name, bridge } = this.#options;
    const existed = findInterface(name) !== undefined;
    const descriptor = openTapDevice(name);
    try {
      const state = findInterface(name);
      const bridgeState = bridge === undefined ? undefined : findInterface(bridge);
      if (state === undefined) throw new UsageError(`the TAP interface '${name}' has gone again`);
      limitTapSending(descriptor, this.#options.sendBufferBytes ?? SEND_BUFFER_BYTES);
      prepareInterface(state, bridgeState, existed, this.#options, this.#mac);
      this.#droppedBefore = readLink(state.index)?.transmitDroppedFrames ?? 0;
    } catch (error) {
      shim.closeDescriptor(descriptor);
      throw error;
    }
    this.#descriptor = descriptor;
    this.attach(descriptor);
  }

  #followTap(state: InterfaceState | undefined): void {
    this.#tap = state;
    if (state === undefined) this.#lose();
    else this.#updateLink();
  }

  #followBridge(state: InterfaceState | undefined): void {
    const isNew = state !== undefined && state.index !== this.#bridge?.index;
    this.#bridge = state;
    if (isNew && this.#tap !== undefined) {
      try {
        changeLink(this.#tap.index, { masterIndex: state.index, up: true });
      } catch (error) {
        // Without the privilege, or with the bridge gone again, the link just stays down.
        if (systemErrorCode(error) === undefined) throw error;
      }
    }
    this.#updateLink();
  }

  #updateLink(): void {
    const tap = this.#tap;
    const bridged = this.#options.bridge !== undefined;
    const bridge = bridged ? this.#bridge : tap;
    if (tap === undefined || bridge === undefined || this.#descriptor === -1) {
      this.setLink({ ...this.link, up: false });
      return;
    }
    const joined = !bridged || (tap.masterIndex === bridge.index && tap.isForwarding);
    const link: LinkState = {
      mac: this.#mac,
      mtuBytes: Math.min(tap.mtuBytes, bridge.mtuBytes, MAXIMUM_MTU_BYTES),
      // The bridge's carrier is that of its ports, of which this is one.
      up: tap.up && bridge.switchedOn && joined,
    };
    this.setLink(link);
  }

  /** The interface was deleted. The administrator may have meant it, but the server is to serve. */
  #lose(): void {
    if (this.#descriptor === -1) return;
    this.detach();
    shim.closeDescriptor(this.#descriptor);
    this.#descriptor = -1;
    this.#tap = undefined;
    this.#updateLink();
    this.#reopenLater();
  }

  #reopenLater(): void {
    clearTimeout(this.#reopen);
    this.#reopen = setTimeout(() => {
      try {
        this.#openDevice();
      } catch (error) {
        if (!(error instanceof UsageError) && systemErrorCode(error) === undefined) throw error;
        this.#reopenLater();
        return;
      }
      this.#tap = findInterface(this.#options.name);
      this.#updateLink();
    }, REOPEN_MS);
  }
}

function prepareInterface(
  state: InterfaceState,
  bridge: InterfaceState | undefined,
  existed: boolean,
  options: TapPortOptions,
  mac: Uint8Array,
): void {
  const change: LinkChange = {};
  const mtuBytes = options.mtuBytes ?? (bridge === undefined ? undefined : MAXIMUM_MTU_BYTES);
  if (mtuBytes !== undefined && mtuBytes !== state.mtuBytes) change.mtuBytes = mtuBytes;
  if (bridge !== undefined && state.masterIndex !== bridge.index) change.masterIndex = bridge.index;
  if (!state.switchedOn) change.up = true;
  if (!existed) {
    change.transmitQueueFrames = RECEIVE_QUEUE_FRAMES;
    change.mac = kernelMac(mac);
  }
  if (Object.keys(change).length === 0) return;
  try {
    changeLink(state.index, change);
  } catch (error) {
    const code = systemErrorCode(error) ?? String(error);
    const remedy =
      code === "EPERM" ? ": run with sudo, or give the process CAP_NET_ADMIN" : ` (${code})`;
    throw new UsageError(`cannot set up the TAP interface '${state.name}'${remedy}`, {
      cause: error,
    });
  }
}

/**
 * The address of the kernel's end. A bridge without one of its own takes the lowest of its ports, so
 * this is as high as a station's address can be: a random one that begins with fe alone (one in 64
 * does) could still be higher. It must not be the port's either, or the bridge would keep our frames.
 */
function kernelMac(mac: Uint8Array): Uint8Array {
  const other = mac.slice();
  other.set([0xfe, 0xff, 0xff]);
  if (mac[0] === 0xfe && mac[1] === 0xff && mac[2] === 0xff) other[5] ^= 1;
  return other;
}
