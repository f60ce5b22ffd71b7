import { constants } from "node:os";
import { FRAME_CAPACITY_BYTES, type FrameArena } from "../arena/frame-arena.ts";
import { shim, type XdpHandle } from "../native/shim.ts";
import { errnoName } from "../system/libc.ts";
import { ETHERNET_HEADER_BYTES, type ReceivedFrames } from "./ethernet-port.ts";
import type { InterfaceState } from "./link-monitor.ts";
import type { TransmitRing } from "./transmit-ring.ts";

export interface XdpSocketsOptions {
  etherType: number;
  sendBufferBytes: number;
  /** Chunks for frames that have come and were not received yet, over all queues. */
  receiveChunks: number;
  /** Chunks for frames on their way out. */
  transmitChunks: number;
  /** What is not to be used although the kernel and the driver have it; for tests. */
  without: readonly XdpFeature[];
}

/** What not every kernel and driver has. */
export type XdpFeature = "native" | "multi-buffer";

/** Why an interface cannot be served through AF_XDP: a part of a sentence. */
export interface XdpObstacle {
  readonly obstacle: string;
}

/** A page, which is what the kernel takes at most. See shim/xdp.h. */
const CHUNK_BYTES = 4096;

/** The kernel leaves this much free at the start of a chunk (XDP_PACKET_HEADROOM). */
const CHUNK_HEADROOM_BYTES = 256;

/** The largest MTU that needs no frames in several parts. */
export const SINGLE_BUFFER_MTU_BYTES = CHUNK_BYTES - CHUNK_HEADROOM_BYTES - ETHERNET_HEADER_BYTES;

/** As many as shim/xdp.h has room for. */
const QUEUES_LIMIT = 64;

/** Of many queues, each still gets as many chunks as a NIC's own ring has. */
const QUEUE_CHUNKS_MINIMUM = 512;

/** linux/if_xdp.h: flags of a bind. */
const XDP_COPY = 1 << 1;
const XDP_ZEROCOPY = 1 << 2;
const XDP_USE_NEED_WAKEUP = 1 << 3;
const XDP_USE_SG = 1 << 4;

const { EBUSY, EEXIST, EINVAL, ENOBUFS, ENOSYS, EOPNOTSUPP, EPERM } = constants.errno;

/**
 * The AF_XDP sockets of one interface, one for each of its receive queues, and the program that
 * hands them its frames of one EtherType. All of it goes away with `close`, or with the process.
 */
export class XdpSockets {
  /** Becomes readable when frames have come. */
  readonly descriptor: number;
  /** Why the program does not run in the driver but after it; undefined when it does. */
  readonly nativeObstacle: string | undefined;
  /** The driver reads and writes the sockets' memory itself. */
  readonly zeroCopy: boolean;
  /** Frames may be longer than a chunk. */
  readonly multiBuffer: boolean;
  readonly queues: number;
  /** Frames received that were for somebody else, and frames too long for the arena. */
  readonly dropped = new Float64Array(2);
  readonly #handle: XdpHandle;
  readonly #waiting = new Int32Array(1);
  readonly #drops = new Float64Array(2);

  constructor(handle: XdpHandle, { nativeObstacle, multiBuffer }: XdpMode, queues: number) {
    this.#handle = handle;
    this.descriptor = shim.xdpDescriptor(handle);
    this.nativeObstacle = nativeObstacle;
    this.zeroCopy = shim.xdpIsZeroCopy(handle) === 1;
    this.multiBuffer = multiBuffer;
    this.queues = queues;
  }

  /** Frames of this MTU fit. */
  fits(mtuBytes: number): boolean {
    return this.multiBuffer || mtuBytes <= SINGLE_BUFFER_MTU_BYTES;
  }

  /** Parts of frames that the kernel had not taken after the last `send`: `kick` later. */
  get waitingParts(): number {
    return this.#waiting[0];
  }

  /** Fills frames of the arena at `offsets`. @returns how many */
  receive(
    arena: FrameArena,
    offsets: Float64Array,
    received: ReceivedFrames,
    count: number,
    mac: Uint8Array,
  ): number {
    return shim.xdpReceive(
      this.#handle,
      arena.bytes,
      offsets,
      received.lengths,
      count,
      FRAME_CAPACITY_BYTES,
      mac,
      this.dropped,
    );
  }

  /** Copies frames of the ring and has them sent. @returns how many, or a negative errno */
  send(
    arena: FrameArena,
    { offsets, lengths }: TransmitRing,
    first: number,
    count: number,
  ): number {
    return shim.xdpSend(this.#handle, arena.bytes, offsets, lengths, first, count, this.#waiting);
  }

  /** Tries again to have sent what waits. @returns how many frames still do */
  kick(): number {
    const frames = shim.xdpKick(this.#handle);
    if (frames === 0) this.#waiting[0] = 0;
    return frames;
  }

  /** What was dropped for want of chunks, and what the interface dropped instead of sending it. */
  get drops(): { received: number; sent: number } {
    shim.xdpDrops(this.#handle, this.#drops);
    return { received: this.#drops[0], sent: this.#drops[1] };
  }

  /** From now on the kernel gets the frames; sending goes on. */
  stopReceiving(): void {
    shim.xdpStopReceiving(this.#handle);
  }

  close(): void {
    shim.xdpClose(this.#handle);
    shim.closeDescriptor(this.descriptor);
  }
}

/**
 * Opens the sockets of an interface, in the best way that the kernel and the driver have: the
 * program in the driver before the kernel's own place for it, no copy before a copy.
 * @param hasVlans whether the interface has VLAN interfaces
 */
export function openXdpSockets(
  state: InterfaceState,
  hasVlans: boolean,
  options: XdpSocketsOptions,
): XdpSockets | XdpObstacle {
  if (hasVlans && shim.xdpStripsVlanTags(state.name) === 1) {
    return {
      obstacle:
        "it takes the tags off its VLANs' frames, so that they would look like its own " +
        `(ethtool -K ${state.name} rxvlan off)`,
    };
  }
  const queues = shim.xdpQueueCount(state.name);
  if (queues > QUEUES_LIMIT) {
    return {
      obstacle: `it has ${queues} receive queues (ethtool -L ${state.name} combined ${QUEUES_LIMIT})`,
    };
  }
  const chunks = Math.max(QUEUE_CHUNKS_MINIMUM, Math.floor(options.receiveChunks / queues));
  const handle = shim.xdpOpen(queues, chunks, options.transmitChunks);
  const opened = openSteps(handle, state, queues, options);
  if (!("obstacle" in opened)) return new XdpSockets(handle, opened, queues);
  const descriptor = shim.xdpDescriptor(handle);
  shim.xdpClose(handle);
  shim.closeDescriptor(descriptor);
  return opened;
}

interface XdpMode {
  nativeObstacle: string | undefined;
  multiBuffer: boolean;
}

function openSteps(
  handle: XdpHandle,
  state: InterfaceState,
  queues: number,
  options: XdpSocketsOptions,
): XdpMode | XdpObstacle {
  const { etherType, without, sendBufferBytes } = options;
  let multiBuffer = !without.includes("multi-buffer");
  let result = shim.xdpLoad(handle, queues, etherType, Number(multiBuffer));
  if (result === -EINVAL && multiBuffer) {
    // Before Linux 5.18 a program could not say that it takes frames in parts.
    multiBuffer = false;
    result = shim.xdpLoad(handle, queues, etherType, 0);
  }
  if (result < 0) return { obstacle: loadObstacle(result) };

  let nativeObstacle: string | undefined;
  // A bond would run it in the drivers of its cards, whose frames do not belong to its sockets.
  const hasDriver = state.kind !== "bond" && !without.includes("native");
  result = hasDriver ? shim.xdpAttach(handle, state.index, 1) : -EOPNOTSUPP;
  if (result < 0 && result !== -EBUSY && result !== -EEXIST && result !== -EPERM) {
    nativeObstacle = `the driver takes no program (${errnoName(result)})`;
    result = shim.xdpAttach(handle, state.index, 0);
  }
  if (result < 0) return { obstacle: attachObstacle(result) };

  const fitsOneChunk = state.mtuBytes <= SINGLE_BUFFER_MTU_BYTES;
  for (const flags of bindFlags(nativeObstacle === undefined, multiBuffer, fitsOneChunk)) {
    result = shim.xdpBind(handle, state.index, flags, sendBufferBytes);
    multiBuffer = (flags & XDP_USE_SG) !== 0;
    if (result === 0) break;
  }
  if (!fitsOneChunk && !multiBuffer) {
    return {
      obstacle: `its MTU of ${state.mtuBytes} needs frames in several parts (Linux 6.6)`,
    };
  }
  for (let bound = 1; bound < queues && result === 0; bound++) {
    result = shim.xdpBind(handle, state.index, 0, sendBufferBytes);
  }
  return result < 0 ? { obstacle: bindObstacle(result) } : { nativeObstacle, multiBuffer };
}

/** What to try in turn. Some drivers have zero-copy, but not for frames in several parts. */
function bindFlags(native: boolean, multiBuffer: boolean, fitsOneChunk: boolean): number[] {
  const ways = native ? [XDP_ZEROCOPY, XDP_COPY] : [XDP_COPY];
  const parts = [...(multiBuffer ? [XDP_USE_SG] : []), ...(fitsOneChunk ? [0] : [])];
  return ways.flatMap((way) => parts.map((part) => XDP_USE_NEED_WAKEUP | way | part));
}

function loadObstacle(result: number): string {
  switch (-result) {
    case EPERM:
      return "no permission to load a program: run with sudo, or give the process CAP_BPF and CAP_NET_ADMIN";
    case ENOSYS:
    case EINVAL:
      return "this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)";
    default:
      return `the kernel does not load the program (${errnoName(result)})`;
  }
}

function attachObstacle(result: number): string {
  switch (-result) {
    case EPERM:
      return "no permission to attach a program: run with sudo, or give the process CAP_NET_ADMIN";
    case EBUSY:
    case EEXIST:
      return "it has an XDP program of somebody else's";
    default:
      return `the kernel does not attach a program to it (${errnoName(result)})`;
  }
}

function bindObstacle(result: number): string {
  switch (-result) {
    case EPERM:
      return "no permission for AF_XDP sockets: run with sudo, or give the process CAP_NET_RAW";
    case EBUSY:
      return "another program has an AF_XDP socket on it";
    case ENOBUFS:
      return "the process may not lock enough memory (LimitMEMLOCK=, or CAP_IPC_LOCK)";
    default:
      return `the kernel does not bind a socket to it (${errnoName(result)})`;
  }
}
