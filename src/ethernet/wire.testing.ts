import type { FrameArena } from "../arena/frame-arena.ts";
import type { EthernetPort } from "./ethernet-port.ts";
import { formatMac } from "./mac-address.ts";

/** Sends and receives whole frames as byte arrays of their own, through any port. */
export class WireTester {
  readonly port: EthernetPort;
  readonly #arena: FrameArena;

  constructor(port: EthernetPort, arena: FrameArena) {
    this.port = port;
    this.#arena = arena;
  }

  /** Queues the frames and hands them to the port; throws when the arena has none left. */
  send(...frames: Uint8Array[]): void {
    for (const bytes of frames) {
      const frame = this.#arena.allocate();
      if (frame === -1) throw new Error("the arena has no free frame");
      this.#arena.bytes.set(bytes, this.#arena.frameOffset(frame));
      this.port.send(frame, bytes.length);
    }
    this.port.transmit();
  }

  /** All frames that wait now, as copies. */
  receiveAll(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    const { received } = this.port;
    for (;;) {
      const count = this.port.receive(received.frames.length);
      if (count === 0) return frames;
      for (let index = 0; index < count; index++) {
        const offset = this.#arena.frameOffset(received.frames[index]);
        frames.push(this.#arena.bytes.slice(offset, offset + received.lengths[index]));
        this.port.release(received.frames[index]);
      }
    }
  }

  /** Waits until `count` frames have come; gives up after `timeoutMs` and returns what came. */
  async receiveCount(count: number, timeoutMs = 30_000): Promise<Uint8Array[]> {
    const frames: Uint8Array[] = [];
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      frames.push(...this.receiveAll());
      if (frames.length >= count || performance.now() > deadline) return frames;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

/** A frame from its parts; `payload` is everything behind the EtherType. */
export function ethernetFrame(
  destination: Uint8Array,
  source: Uint8Array,
  etherType: number,
  payload: Uint8Array,
): Uint8Array {
  const frame = new Uint8Array(14 + payload.length);
  frame.set(destination, 0);
  frame.set(source, 6);
  frame[12] = etherType >>> 8;
  frame[13] = etherType & 0xff;
  frame.set(payload, 14);
  return frame;
}

/** A locally administered address that ends in `number`. */
export function testMac(number: number): Uint8Array {
  return Uint8Array.of(0x02, 0xae, 0, 0, (number >>> 8) & 0xff, number & 0xff);
}

/** "02:ae:… > ff:ff:… 88a2 60 octets": for messages of failing tests. */
export function describeFrame(frame: Uint8Array): string {
  const etherType = ((frame[12] << 8) | frame[13]).toString(16).padStart(4, "0");
  return `${formatMac(frame, 6)} > ${formatMac(frame)} ${etherType} ${frame.length} octets`;
}

/** Waits until the condition holds. @throws Error with `what` when it does not in time */
export async function waitUntil(
  condition: () => boolean,
  what: string,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
