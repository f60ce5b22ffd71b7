import { FRAME_CAPACITY_BYTES, type FrameArena } from "../arena/frame-arena.ts";
import { type PacketRingHandle, shim } from "../native/shim.ts";
import { ETHERNET_HEADER_BYTES, type ReceivedFrames } from "./ethernet-port.ts";

/** What the kernel writes before a frame in its slot (TPACKET_V2), with room for its alignment. */
const SLOT_HEAD_BYTES = 128;

/** A slot for MTU 1500, and one for the longest frame that the arena takes: 32 and 6 in a block. */
const SLOT_BYTES = [2048, 10_880];

/**
 * The memory that the kernel puts the frames of a raw socket into (shim/packet-ring.c): receiving
 * takes no system call, and no packet buffer for each frame. Its slots have one size, so a larger
 * MTU needs another ring.
 */
export class PacketRing {
  readonly #socket: number;
  readonly #ringBytes: number;
  #handle: PacketRingHandle | undefined;
  #slotBytes = 0;

  /** @param ringBytes memory for frames that were not received yet; the kernel takes all of it */
  constructor(socket: number, ringBytes: number) {
    this.#socket = socket;
    this.#ringBytes = ringBytes;
  }

  /**
   * Sees to it that frames of this MTU fit. What waits in the socket or the old ring may be lost.
   * @returns 0, or a negative errno: there is no ring, and the socket receives without one; or the
   *   ring is open as it was, where the kernel does not take it back just now
   */
  fit(mtuBytes: number): number {
    const needed = Math.min(mtuBytes + ETHERNET_HEADER_BYTES, FRAME_CAPACITY_BYTES);
    const slotBytes = SLOT_BYTES.find((bytes) => bytes - SLOT_HEAD_BYTES >= needed)!;
    if (slotBytes <= this.#slotBytes) return 0;
    const closed = this.close();
    if (closed < 0) return closed;
    const handle = shim.packetRingOpen(this.#socket, slotBytes, this.#ringBytes);
    if (typeof handle === "number") return handle;
    this.#handle = handle;
    this.#slotBytes = slotBytes;
    return 0;
  }

  get isOpen(): boolean {
    return this.#handle !== undefined;
  }

  /** As `shim.packetReceive`; the ring must be open. */
  receive(
    arena: FrameArena,
    offsets: Float64Array,
    { lengths }: ReceivedFrames,
    count: number,
    oldestMs: number,
  ): number {
    return shim.packetRingReceive(
      this.#handle!,
      arena.bytes,
      offsets,
      lengths,
      count,
      FRAME_CAPACITY_BYTES,
      oldestMs,
    );
  }

  /**
   * The memory would keep the socket open.
   * @returns 0, or a negative errno: the ring is open as it was
   */
  close(): number {
    const result =
      this.#handle === undefined ? 0 : shim.packetRingClose(this.#handle, this.#socket);
    if (result < 0) return result;
    this.#handle = undefined;
    this.#slotBytes = 0;
    return 0;
  }
}
