import { FRAME_CAPACITY_BYTES } from "../arena/frame-arena.ts";
import type { FrameArena } from "../arena/frame-arena.ts";
import { emptyPortStatistics } from "../ethernet/ethernet-port.ts";
import type { EthernetPort, LinkState } from "../ethernet/ethernet-port.ts";

/** What a received frame is followed by in its place in the arena, as if by an earlier frame. */
export const POISON = 0xa5;

/**
 * The server's end of a wire that hides nothing: like a promiscuous interface it delivers what is
 * for others too, frames of any length, and each in memory that is full of poison, so that an octet
 * of an earlier frame in a reply is seen. What the server sends counts only after `transmit`.
 */
export class HarnessPort implements EthernetPort {
  readonly name: string;
  readonly received = { frames: new Int32Array(64), lengths: new Int32Array(64) };
  readonly statistics = emptyPortStatistics();
  link: LinkState;
  onReadable: (() => void) | undefined;
  onLinkChange: ((previous: LinkState) => void) | undefined;
  /** Given each frame that leaves, as a copy of its own. */
  onSent: (frame: Uint8Array) => void = () => {};
  /** Frames that the server sent though they exceed the MTU or are below the minimum. */
  badLengths = 0;
  readonly #arena: FrameArena;
  #waiting: Uint8Array[] = [];
  readonly #queued: [frame: number, lengthBytes: number][] = [];
  #isScheduled = false;
  #isReceiving = true;

  constructor(name: string, mac: Uint8Array, mtuBytes: number, arena: FrameArena) {
    this.name = name;
    this.link = { mac, mtuBytes, up: true };
    this.#arena = arena;
  }

  /** Puts a frame on the wire; the server is told on the next turn of the event loop. */
  inject(frame: Uint8Array): void {
    if (!this.link.up || !this.#isReceiving) return;
    this.#waiting.push(frame);
    this.#schedule();
  }

  get waitingFrames(): number {
    return this.#waiting.length;
  }

  receive(maxFrames: number): number {
    const taken = this.#waiting.splice(0, Math.min(maxFrames, 64));
    let count = 0;
    for (const [index, octets] of taken.entries()) {
      if (octets.length > FRAME_CAPACITY_BYTES) {
        this.statistics.truncatedFrames++;
        continue;
      }
      const frame = this.#arena.allocate();
      if (frame === -1) {
        this.#waiting = [...taken.slice(index), ...this.#waiting];
        break;
      }
      const offset = this.#arena.frameOffset(frame);
      const place = this.#arena.bytes.subarray(offset, offset + FRAME_CAPACITY_BYTES);
      place.fill(POISON, octets.length);
      place.set(octets);
      this.received.frames[count] = frame;
      this.received.lengths[count] = octets.length;
      count++;
    }
    this.statistics.receivedFrames += count;
    return count;
  }

  send(frame: number, lengthBytes: number): void {
    this.#queued.push([frame, lengthBytes]);
  }

  transmit(): void {
    for (const [frame, lengthBytes] of this.#queued.splice(0)) {
      const offset = this.#arena.frameOffset(frame);
      if (lengthBytes < 60 || lengthBytes > this.link.mtuBytes + 14) this.badLengths++;
      if (this.link.up) {
        this.statistics.sentFrames++;
        this.onSent(this.#arena.bytes.slice(offset, offset + lengthBytes));
      } else {
        this.statistics.sendFailures++;
      }
      this.#arena.release(frame);
    }
  }

  release(frame: number): void {
    this.#arena.release(frame);
  }

  stopReceiving(): void {
    this.#isReceiving = false;
    this.#waiting = [];
  }

  close(): Promise<void> {
    this.stopReceiving();
    this.transmit();
    this.onReadable = undefined;
    return Promise.resolve();
  }

  change(change: Partial<LinkState>): void {
    const previous = this.link;
    this.link = { ...previous, ...change };
    if (!this.link.up) this.#waiting = [];
    this.onLinkChange?.(previous);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (this.#waiting.length > 0) this.onReadable?.();
      if (this.#waiting.length > 0 && this.#isReceiving) this.#schedule();
    });
  }
}
