import type { FrameArena } from "../../src/arena/frame-arena.ts";
import {
  emptyPortStatistics,
  type EthernetPort,
  type LinkState,
} from "../../src/ethernet/ethernet-port.ts";

/** Frames of a batch; a turn of the FrameService takes eight. */
export const BATCH_FRAMES = 16;

/**
 * A wire in memory that costs next to nothing, so that what is measured is the server: it receives
 * copies of one request, each for the next sectors, and forgets the replies.
 */
export class LoopPort implements EthernetPort {
  readonly name = "loop";
  readonly link: LinkState = { mac: new Uint8Array(6).fill(2), mtuBytes: 9000, up: true };
  readonly received = {
    frames: new Int32Array(BATCH_FRAMES),
    lengths: new Int32Array(BATCH_FRAMES),
  };
  readonly statistics = emptyPortStatistics();
  onReadable: (() => void) | undefined;
  onLinkChange: undefined;
  /** Frames that are still to be received. */
  waiting = 0;
  replies = 0;
  /** Replies whose status is not "ready, no error". */
  faults = 0;
  request: Uint8Array = new Uint8Array(0);
  readonly #arena: FrameArena;
  readonly #queued = new Int32Array(4 * BATCH_FRAMES);
  #queuedCount = 0;
  #tag = 0;

  constructor(arena: FrameArena) {
    this.#arena = arena;
  }

  receive(maxFrames: number): number {
    const count = Math.min(maxFrames, BATCH_FRAMES, this.waiting);
    const { bytes } = this.#arena;
    for (let index = 0; index < count; index++) {
      const frame = this.#arena.allocate();
      const offset = this.#arena.frameOffset(frame);
      bytes.set(this.request, offset);
      // A tag of its own, and sectors that follow those of the frame before: 16 times 8.
      this.#tag = (this.#tag + 1) & 0xff_ffff;
      bytes[offset + 21] = this.#tag >> 16;
      bytes[offset + 22] = this.#tag >> 8;
      bytes[offset + 23] = this.#tag;
      bytes[offset + 28] = index << 3;
      this.received.frames[index] = frame;
      this.received.lengths[index] = this.request.length;
    }
    this.waiting -= count;
    return count;
  }

  send(frame: number): void {
    this.#queued[this.#queuedCount++] = frame;
  }

  transmit(): void {
    for (let index = 0; index < this.#queuedCount; index++) {
      const frame = this.#queued[index];
      if (this.#arena.bytes[this.#arena.frameOffset(frame) + 27] !== 0x40) this.faults++;
      this.#arena.release(frame);
    }
    this.replies += this.#queuedCount;
    this.#queuedCount = 0;
  }

  release(frame: number): void {
    this.#arena.release(frame);
  }

  stopReceiving(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }
}
