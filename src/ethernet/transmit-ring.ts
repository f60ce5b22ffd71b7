import type { FrameArena } from "../arena/frame-arena.ts";
import { MINIMUM_FRAME_BYTES } from "./ethernet-port.ts";

/**
 * The frames that a port has taken over and the kernel has not: a ring of descriptors.
 *
 * ```
 *   frames  | 7 | 3 | . | . | . | 9 | 4 |      head ──► oldest, goes first
 *   lengths |60 |..                ^ head      runs wrap at the end of the arrays
 *   offsets |of the frame's first octet in the arena: what the shim reads
 * ```
 *
 * A frame has one owner, so no ring can hold more than the arena has: it never overflows.
 */
export class TransmitRing {
  readonly frames: Int32Array;
  readonly lengths: Int32Array;
  readonly offsets: Float64Array;
  readonly #arena: FrameArena;
  readonly #capacity: number;
  head = 0;
  count = 0;

  constructor(arena: FrameArena) {
    this.#arena = arena;
    this.#capacity = arena.frameCount;
    this.frames = new Int32Array(this.#capacity);
    this.lengths = new Int32Array(this.#capacity);
    this.offsets = new Float64Array(this.#capacity);
  }

  /** Appends a frame; one shorter than Ethernet allows is padded with zeros first. */
  push(frame: number, lengthBytes: number): void {
    if (this.count === this.#capacity) throw new Error(`frame ${frame} was sent twice`);
    const offset = this.#arena.frameOffset(frame);
    let length = lengthBytes;
    if (length < MINIMUM_FRAME_BYTES) {
      this.#arena.bytes.fill(0, offset + length, offset + MINIMUM_FRAME_BYTES);
      length = MINIMUM_FRAME_BYTES;
    }
    let tail = this.head + this.count;
    if (tail >= this.#capacity) tail -= this.#capacity;
    this.frames[tail] = frame;
    this.lengths[tail] = length;
    this.offsets[tail] = offset;
    this.count++;
  }

  /** How many of the oldest frames lie side by side in the arrays, at most `maxFrames`. */
  runLength(maxFrames: number): number {
    return Math.min(this.count, this.#capacity - this.head, maxFrames);
  }

  /** Makes the oldest frame the newest. */
  rotate(): void {
    const { head } = this;
    let tail = head + this.count;
    if (tail >= this.#capacity) tail -= this.#capacity;
    this.frames[tail] = this.frames[head];
    this.lengths[tail] = this.lengths[head];
    this.offsets[tail] = this.offsets[head];
    this.head = head + 1 === this.#capacity ? 0 : head + 1;
  }

  /** Removes the oldest `count` frames and gives them back to the arena. */
  releaseOldest(count: number): void {
    for (let index = 0; index < count; index++) {
      this.#arena.release(this.frames[this.head]);
      this.head++;
      if (this.head === this.#capacity) this.head = 0;
    }
    this.count -= count;
  }
}
