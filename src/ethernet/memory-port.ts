import { FRAME_CAPACITY_BYTES, type FrameArena } from "../arena/frame-arena.ts";
import {
  emptyPortStatistics,
  ETHERNET_HEADER_BYTES,
  type EthernetPort,
  type LinkState,
  type PortStatistics,
  type ReceivedFrames,
} from "./ethernet-port.ts";
import { MAXIMUM_MTU_BYTES } from "./link-state.ts";
import type { CarriedFrame, MemorySegment } from "./memory-segment.ts";
import { TransmitRing } from "./transmit-ring.ts";

/** Longest batch of one `receive`. */
const MAXIMUM_BATCH_FRAMES = 64;

interface HeldFrame {
  carried: CarriedFrame;
  /** How many later frames still overtake it. */
  overtakers: number;
  /** It was already held when the last turn began: nothing overtook it in time. */
  old: boolean;
}

/** A station of a MemorySegment; made by `segment.attach`. */
export class MemoryPort implements EthernetPort {
  readonly name: string;
  readonly received: ReceivedFrames;
  readonly statistics: PortStatistics = emptyPortStatistics();
  onLinkChange: ((previous: LinkState) => void) | undefined;

  readonly #segment: MemorySegment;
  readonly #arena: FrameArena;
  readonly #transmitRing: TransmitRing;
  readonly #backlogFrames: number;
  #link: LinkState;
  /** What the wire carries, which may be more than a frame of the arena. */
  #wireMtuBytes: number;
  #onReadable: (() => void) | undefined;
  /** On their way: they arrive at the next turn of the segment. */
  #incoming: CarriedFrame[] = [];
  #held: HeldFrame[] = [];
  /** Arrived, from index #backlogHead on; before it is what `receive` has taken. */
  #backlog: CarriedFrame[] = [];
  #backlogHead = 0;
  #receiving = true;
  #starved = false;

  constructor(
    segment: MemorySegment,
    name: string,
    link: LinkState,
    arena: FrameArena,
    backlogFrames: number,
  ) {
    this.#segment = segment;
    this.name = name;
    this.#wireMtuBytes = link.mtuBytes;
    this.#link = clamped(link);
    this.#arena = arena;
    this.#backlogFrames = backlogFrames;
    this.#transmitRing = new TransmitRing(arena);
    this.received = {
      frames: new Int32Array(MAXIMUM_BATCH_FRAMES),
      lengths: new Int32Array(MAXIMUM_BATCH_FRAMES),
    };
  }

  get link(): LinkState {
    return this.#link;
  }

  get onReadable(): (() => void) | undefined {
    return this.#onReadable;
  }

  set onReadable(callback: (() => void) | undefined) {
    this.#onReadable = callback;
    if (callback !== undefined) this.#segment.schedule();
  }

  receive(maxFrames: number): number {
    const limit = Math.min(maxFrames, MAXIMUM_BATCH_FRAMES);
    let count = 0;
    while (count < limit && this.#backlogHead < this.#backlog.length) {
      const frame = this.#arena.allocate();
      if (frame === -1) {
        this.#waitForFrame();
        break;
      }
      const carried = this.#takeOldest();
      const offset = this.#arena.frameOffset(frame);
      this.#arena.bytes.set(carried.bytes.subarray(0, carried.lengthBytes), offset);
      this.received.frames[count] = frame;
      this.received.lengths[count] = carried.lengthBytes;
      count++;
      this.#segment.recycle(carried);
    }
    this.statistics.receivedFrames += count;
    return count;
  }

  send(frame: number, lengthBytes: number): void {
    this.#transmitRing.push(frame, lengthBytes);
  }

  transmit(): void {
    const ring = this.#transmitRing;
    while (ring.count > 0) {
      const lengthBytes = ring.lengths[ring.head];
      if (this.#link.up && lengthBytes <= this.#wireMtuBytes + ETHERNET_HEADER_BYTES) {
        this.#segment.carry(this.#arena.bytes, ring.offsets[ring.head], lengthBytes, this);
        this.statistics.sentFrames++;
      } else {
        this.statistics.sendFailures++;
      }
      ring.releaseOldest(1);
    }
  }

  release(frame: number): void {
    this.#arena.release(frame);
  }

  stopReceiving(): void {
    this.#receiving = false;
    this.#dropWaiting();
  }

  close(): Promise<void> {
    this.transmit();
    this.stopReceiving();
    this.#onReadable = undefined;
    this.#segment.detach(this);
    this.#link = { ...this.#link, up: false };
    return Promise.resolve();
  }

  /** Changes the link as an administrator or a pulled cable would. */
  setLink(change: Partial<LinkState>): void {
    const previous = this.#link;
    this.#wireMtuBytes = change.mtuBytes ?? this.#wireMtuBytes;
    this.#link = clamped({ ...previous, ...change });
    if (!this.#link.up) this.#dropWaiting();
    this.onLinkChange?.(previous);
  }

  /** A frame is on its way to this port. Called by the segment, as all that follows. */
  accept(carried: CarriedFrame): void {
    const isTruncated = carried.lengthBytes > FRAME_CAPACITY_BYTES;
    const isTooLong = carried.lengthBytes > this.#wireMtuBytes + ETHERNET_HEADER_BYTES;
    if (!this.#receiving || isTooLong || isTruncated) {
      if (isTruncated && !isTooLong) this.statistics.truncatedFrames++;
      this.#segment.recycle(carried);
      return;
    }
    this.#incoming.push(carried);
    for (const held of this.#held) held.overtakers--;
    this.#releaseHeld((held) => held.overtakers <= 0);
  }

  /** As `accept`, but up to `overtakers` later frames arrive before this one. */
  holdBack(carried: CarriedFrame, overtakers: number): void {
    this.#held.push({ carried, overtakers, old: false });
  }

  /** What is on its way arrives. */
  arrive(): void {
    this.#releaseHeld((held) => held.old);
    for (const held of this.#held) held.old = true;
    this.#backlog.splice(0, this.#backlogHead);
    this.#backlogHead = 0;
    for (const carried of this.#incoming) {
      if (this.#backlog.length >= this.#backlogFrames) {
        this.statistics.receiveOverruns++;
        this.#segment.recycle(carried);
      } else {
        this.#backlog.push(carried);
      }
    }
    this.#incoming.length = 0;
  }

  /** Tells the owner that frames wait. */
  wake(): void {
    if (this.#backlogHead < this.#backlog.length && !this.#starved) this.#onReadable?.();
  }

  get waitingFrames(): number {
    return this.#incoming.length + this.#held.length + this.#backlog.length - this.#backlogHead;
  }

  /** Whether another turn would do something for this port. */
  get needsTurn(): boolean {
    if (this.#incoming.length + this.#held.length > 0) return true;
    return (
      this.#backlogHead < this.#backlog.length && !this.#starved && this.#onReadable !== undefined
    );
  }

  #takeOldest(): CarriedFrame {
    const carried = this.#backlog[this.#backlogHead++];
    if (this.#backlogHead === this.#backlog.length) {
      this.#backlog.length = 0;
      this.#backlogHead = 0;
    }
    return carried;
  }

  #releaseHeld(due: (held: HeldFrame) => boolean): void {
    if (this.#held.length === 0) return;
    for (const held of this.#held) {
      if (due(held)) this.#incoming.push(held.carried);
    }
    this.#held = this.#held.filter((held) => !due(held));
  }

  #waitForFrame(): void {
    if (this.#starved) return;
    this.#starved = true;
    this.#arena.whenReleased(() => {
      this.#starved = false;
      this.#segment.schedule();
    });
  }

  #dropWaiting(): void {
    for (const carried of this.#incoming) this.#segment.recycle(carried);
    for (const held of this.#held) this.#segment.recycle(held.carried);
    for (const carried of this.#backlog.slice(this.#backlogHead)) this.#segment.recycle(carried);
    this.#incoming.length = 0;
    this.#held.length = 0;
    this.#backlog.length = 0;
    this.#backlogHead = 0;
  }
}

function clamped(link: LinkState): LinkState {
  return { ...link, mtuBytes: Math.min(link.mtuBytes, MAXIMUM_MTU_BYTES) };
}
