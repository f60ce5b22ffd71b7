import { constants } from "node:os";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { DescriptorPort } from "./descriptor-port.ts";

const { EAGAIN, ENOBUFS } = constants.errno;
/** Frames whose number is this or more are ones that the device never takes. */
const NEVER = 100;

/** A port with a device queue that the test fills and drains. */
class DevicePort extends DescriptorPort {
  /** Frames that there is room for. */
  room = 0;
  /** Called before each frame that is tried, with how many were tried until now. */
  beforeTry: (tries: number) => void = () => {};
  refusal = ENOBUFS;
  readonly left: number[] = [];
  #tries = 0;

  constructor(arena: FrameArena) {
    super("device0", { mac: new Uint8Array(6), mtuBytes: 1500, up: true }, { arena });
    this.isConnected = true;
  }

  queue(...numbers: number[]): void {
    for (const number of numbers) {
      const frame = this.arena.allocate();
      this.arena.bytes[this.arena.frameOffset(frame)] = number;
      this.send(frame, 60);
    }
    this.transmit();
  }

  protected override writeBatch(first: number): number {
    this.beforeTry(this.#tries++);
    const number = this.arena.bytes[this.transmitRing.offsets[first]];
    if (number >= NEVER) return -ENOBUFS;
    if (this.room === 0) return -this.refusal;
    this.room--;
    this.left.push(number);
    return 1;
  }

  protected override readBatch(): number {
    return 0;
  }
  protected override takeError(): void {}
  protected override stopKernel(): void {}
  protected override countKernelDrops(): void {}
  protected override closeDevice(): void {}
}

let arena: FrameArena;
let port: DevicePort;

beforeEach(() => {
  vi.useFakeTimers();
  arena = new FrameArena(64);
  port = new DevicePort(arena);
});
afterEach(() => {
  vi.useRealTimers();
});

const counting = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** One try at the start and one at each of four retries: at the fifth each frame is tried. */
const TRIES_BEFORE_TRIAL = 5;

test("a full queue that drains while each frame is tried loses none of them", () => {
  port.beforeTry = (tries) => {
    if (tries === TRIES_BEFORE_TRIAL + 3) port.room = 2;
  };
  port.queue(...counting(20));
  vi.advanceTimersByTime(5);
  expect(port.left).toHaveLength(2);
  expect(port.statistics).toMatchObject({ sentFrames: 2, sendFailures: 0 });
  port.room = 64;
  vi.advanceTimersByTime(5);
  expect(port.statistics).toMatchObject({ sentFrames: 20, sendFailures: 0 });
  const [one, other, ...rest] = port.left;
  expect(rest).toEqual(counting(20).filter((number) => number !== one && number !== other));
  expect(arena.freeCount).toBe(64);
});

test("a descriptor that becomes full while each frame is tried keeps the rest in order", () => {
  port.beforeTry = (tries) => {
    port.refusal = tries === TRIES_BEFORE_TRIAL + 3 ? EAGAIN : ENOBUFS;
  };
  port.queue(...counting(20));
  vi.advanceTimersByTime(10);
  expect(port.left).toEqual([]);
  port.room = 64;
  vi.advanceTimersByTime(10);
  expect(port.left).toEqual(counting(20));
});

test("what is passed again and again is given up while others leave", () => {
  port.room = 64;
  port.queue(NEVER, 1, NEVER + 1, 2);
  vi.advanceTimersByTime(10);
  expect(port.left).toEqual([1, 2]);
  expect(port.statistics.sendFailures, "once may be chance").toBe(0);
  port.queue(3, 4);
  vi.advanceTimersByTime(10);
  expect(port.left).toEqual([1, 2, 3, 4]);
  expect(port.statistics).toMatchObject({ sentFrames: 4, sendFailures: 2 });
  expect(arena.freeCount).toBe(64);
});
