import { FRAME_CAPACITY_BYTES, type FrameArena } from "../arena/frame-arena.ts";
import { ETHERNET_HEADER_BYTES } from "./ethernet-port.ts";
import { BROADCAST_MAC, isMac } from "./mac-address.ts";
import { MemoryPort } from "./memory-port.ts";
import { SeededRandom } from "./random.ts";

/**
 * An Ethernet segment in memory: what its ports send arrives at the port with the destination's
 * MAC, or at every other port when it is broadcast. Faults come from a seed, so a run with the same
 * seed and the same calls is the same run.
 */
export interface SegmentOptions {
  seed?: number;
  /** Probabilities, 0 to 1, for each frame and receiver. */
  lossRate?: number;
  duplicateRate?: number;
  /** A frame that is held back and overtaken by up to eight later ones. */
  reorderRate?: number;
  /** One bit flipped somewhere behind the Ethernet header. */
  corruptRate?: number;
  /**
   * "immediate": frames arrive by themselves on the next turn of the event loop.
   * "manual": only `deliver()` moves frames and calls `onReadable`.
   */
  delivery?: "immediate" | "manual";
  /** Frames that wait at one port for `receive`; more are overruns, as in a socket buffer. */
  backlogFrames?: number;
  /** The arena of ports that are attached without one of their own. */
  arena?: FrameArena;
}

export interface SegmentStatistics {
  lostFrames: number;
  duplicatedFrames: number;
  reorderedFrames: number;
  corruptedFrames: number;
}

const REORDER_DISTANCE_FRAMES = 8;
const DEFAULT_BACKLOG_FRAMES = 8192;

/** A frame on its way, as a copy of its own. */
export interface CarriedFrame {
  bytes: Uint8Array;
  lengthBytes: number;
}

export class MemorySegment {
  readonly statistics: SegmentStatistics = {
    lostFrames: 0,
    duplicatedFrames: 0,
    reorderedFrames: 0,
    corruptedFrames: 0,
  };
  readonly #options: SegmentOptions;
  readonly #random: SeededRandom;
  readonly #ports: MemoryPort[] = [];
  readonly #spare: CarriedFrame[] = [];
  #scheduled = false;

  constructor(options: SegmentOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed ?? 1);
  }

  /** @throws Error when there is neither an arena here nor one in the segment's options */
  attach(
    name: string,
    mac: Uint8Array,
    mtuBytes: number,
    arena: FrameArena | undefined = this.#options.arena,
  ): MemoryPort {
    if (arena === undefined) throw new Error(`port ${name} needs an arena`);
    const backlogFrames = this.#options.backlogFrames ?? DEFAULT_BACKLOG_FRAMES;
    const link = { mac: mac.slice(), mtuBytes, up: true };
    const port = new MemoryPort(this, name, link, arena, backlogFrames);
    this.#ports.push(port);
    return port;
  }

  /** Takes a port off the segment; what is on its way to it is lost. */
  detach(port: MemoryPort): void {
    const index = this.#ports.indexOf(port);
    if (index !== -1) this.#ports.splice(index, 1);
  }

  /** Puts a frame on the segment as if an unknown station had sent it. */
  inject(frame: Uint8Array): void {
    this.carry(frame, 0, frame.length, undefined);
  }

  /** Carries the frame at `offset` of `bytes` to whom it is addressed. Called by the ports. */
  carry(
    bytes: Uint8Array,
    offset: number,
    lengthBytes: number,
    from: MemoryPort | undefined,
  ): void {
    const broadcast = isMac(bytes, offset, BROADCAST_MAC);
    for (const port of this.#ports) {
      if (port === from || !port.link.up) continue;
      if (!broadcast && !isMac(bytes, offset, port.link.mac)) continue;
      this.#carryTo(port, bytes.subarray(offset, offset + lengthBytes));
    }
    this.schedule();
  }

  /**
   * One turn: what was sent before it arrives, and each port with frames in wait is told once.
   * @returns how many frames still wait at the ports or on the way
   */
  deliver(): number {
    for (const port of this.#ports) port.arrive();
    for (const port of this.#ports.slice()) port.wake();
    let waiting = 0;
    for (const port of this.#ports) waiting += port.waitingFrames;
    return waiting;
  }

  /** Arranges the next turn when delivery is not manual. Called by the ports. */
  schedule(): void {
    if (this.#scheduled || this.#options.delivery === "manual") return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.deliver();
      if (this.#ports.some((port) => port.needsTurn)) this.schedule();
    });
  }

  /** Takes back the copy of a frame that has arrived or was dropped. Called by the ports. */
  recycle(carried: CarriedFrame): void {
    if (carried.bytes.length === FRAME_CAPACITY_BYTES) this.#spare.push(carried);
  }

  #carryTo(port: MemoryPort, frame: Uint8Array): void {
    const { lossRate = 0, duplicateRate = 0, reorderRate = 0 } = this.#options;
    if (this.#random.chance(lossRate)) {
      this.statistics.lostFrames++;
      return;
    }
    const duplicate = this.#random.chance(duplicateRate);
    if (duplicate) this.statistics.duplicatedFrames++;
    for (let copy = 0; copy < (duplicate ? 2 : 1); copy++) {
      const carried = this.#copy(frame);
      if (this.#random.chance(reorderRate)) {
        this.statistics.reorderedFrames++;
        port.holdBack(carried, 1 + this.#random.below(REORDER_DISTANCE_FRAMES));
      } else {
        port.accept(carried);
      }
    }
  }

  #copy(frame: Uint8Array): CarriedFrame {
    const carried = this.#spare.pop() ?? {
      bytes: new Uint8Array(FRAME_CAPACITY_BYTES),
      lengthBytes: 0,
    };
    if (frame.length > carried.bytes.length) carried.bytes = new Uint8Array(frame.length);
    carried.bytes.set(frame);
    carried.lengthBytes = frame.length;
    const payloadBytes = frame.length - ETHERNET_HEADER_BYTES;
    if (payloadBytes > 0 && this.#random.chance(this.#options.corruptRate ?? 0)) {
      this.statistics.corruptedFrames++;
      const at = ETHERNET_HEADER_BYTES + this.#random.below(payloadBytes);
      carried.bytes[at] = (carried.bytes[at] ?? 0) ^ (1 << this.#random.below(8));
    }
    return carried;
  }
}

export function memorySegment(options: SegmentOptions = {}): MemorySegment {
  return new MemorySegment(options);
}
