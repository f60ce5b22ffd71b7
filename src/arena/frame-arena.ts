import { shim } from "../native/shim.ts";

/**
 * Every Ethernet frame that the server holds lives in one mapping that JavaScript, the kernel and
 * the disk share, so a payload is never copied by us:
 *
 * ```
 *   arena   | frame 0                 | frame 1                 | …
 *             ^ stride 16 KiB           ^
 *   frame   | gap | Ethernet 14 | AoE 10 | ATA 12 | payload …   |
 *           ^ frameOffset(i)              payload is 512-aligned ^
 * ```
 *
 * A frame has exactly one owner at a time: free → port (receive) → engine → storage →
 * port (transmit) → free. Memory that no frame has used yet costs nothing: pages are mapped when
 * they are first touched, so the stride can always fit a jumbo frame and a change of the MTU while
 * the server runs needs no new arena.
 */
const FRAME_STRIDE_BYTES = 16384;

/** The largest Ethernet frame that fits: MTU 9216 and its header, with the gap at its widest. */
export const FRAME_CAPACITY_BYTES = 9216 + 14;

/** Offset of the ATA payload in an AoE frame (AoEr11 §3.1). */
const PAYLOAD_OFFSET_BYTES = 36;
const ALIGNMENT_BYTES = 512;

/**
 * Frames start at eight different offsets within their stride: with one power-of-two stride the
 * headers of all frames would share the same few cache sets and evict each other.
 */
const COLOURS = 8;

export class FrameArena {
  readonly frameCount: number;
  readonly memory: ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly #free: Int32Array;
  #freeCount: number;
  #waiting: (() => void)[] = [];

  /** @param frameCount how many frames can be held at once, over all ports and initiators */
  constructor(frameCount: number) {
    this.frameCount = frameCount;
    this.memory = shim.mapMemory(frameCount * FRAME_STRIDE_BYTES);
    this.bytes = new Uint8Array(this.memory);
    this.#free = new Int32Array(frameCount);
    for (let index = 0; index < frameCount; index++) {
      this.#free[index] = frameCount - 1 - index;
    }
    this.#freeCount = frameCount;
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  /** Takes a free frame; -1 when there is none. The last one released comes first: it is in cache. */
  allocate(): number {
    if (this.#freeCount === 0) return -1;
    return this.#free[--this.#freeCount];
  }

  /** Gives a frame back. The caller owned it and must not touch it afterwards. */
  release(frame: number): void {
    if (this.#freeCount === this.frameCount) throw new Error(`frame ${frame} was released twice`);
    this.#free[this.#freeCount++] = frame;
    if (this.#waiting.length !== 0) this.#wake();
  }

  /**
   * Calls `wake` once, when the next frame is released: for a port that has to receive but found no
   * free frame. The call comes from inside `release`, so it only notes or arms something.
   */
  whenReleased(wake: () => void): void {
    this.#waiting.push(wake);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** Byte offset in the arena of the first octet of the frame (its destination MAC). */
  frameOffset(frame: number): number {
    return (
      frame * FRAME_STRIDE_BYTES +
      (frame % COLOURS) * ALIGNMENT_BYTES +
      (ALIGNMENT_BYTES - PAYLOAD_OFFSET_BYTES)
    );
  }
}
