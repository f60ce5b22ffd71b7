import * as fc from "fast-check";
import { expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { BROADCAST_MAC } from "./mac-address.ts";
import { memorySegment, type SegmentOptions } from "./memory-segment.ts";
import { ethernetFrame, testMac, WireTester } from "./wire.testing.ts";

const alice = testMac(1);
const bob = testMac(2);
const carol = testMac(3);

function numbered(destination: Uint8Array, number: number): Uint8Array {
  const payload = new Uint8Array(100);
  new DataView(payload.buffer).setUint32(0, number);
  return ethernetFrame(destination, alice, 0x88a2, payload);
}

function numberOf(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset).getUint32(14);
}

function station(segment: ReturnType<typeof memorySegment>, mac: Uint8Array, frames = 256) {
  const arena = new FrameArena(frames);
  return new WireTester(segment.attach(`port-${mac[5]}`, mac, 1500, arena), arena);
}

/** What arrives of 200 numbered frames, sent one each turn. */
function deliveredNumbers(options: SegmentOptions): number[] {
  const segment = memorySegment({ ...options, delivery: "manual" });
  const sender = station(segment, alice);
  const receiver = station(segment, bob);
  const numbers: number[] = [];
  for (let number = 0; number < 200; number++) {
    sender.send(numbered(bob, number));
    segment.deliver();
    numbers.push(...receiver.receiveAll().map(numberOf));
  }
  for (let turn = 0; turn < 3; turn++) segment.deliver();
  return [...numbers, ...receiver.receiveAll().map(numberOf)];
}

test("unicast reaches its port, broadcast every other port, unknown addresses nobody", () => {
  const segment = memorySegment({ delivery: "manual" });
  const [a, b, c] = [station(segment, alice), station(segment, bob), station(segment, carol)];
  a.send(numbered(bob, 1), numbered(BROADCAST_MAC, 2), numbered(testMac(99), 3));
  segment.deliver();
  expect(a.receiveAll()).toEqual([]);
  expect(b.receiveAll().map(numberOf)).toEqual([1, 2]);
  expect(c.receiveAll().map(numberOf)).toEqual([2]);
});

test("nothing arrives before its turn, and manual delivery says what still waits", () => {
  const segment = memorySegment({ delivery: "manual" });
  const [a, b] = [station(segment, alice), station(segment, bob)];
  a.send(numbered(bob, 1));
  expect(b.receiveAll()).toEqual([]);
  expect(segment.deliver()).toBe(1);
  expect(b.receiveAll()).toHaveLength(1);
  expect(segment.deliver()).toBe(0);
});

test("a fault rate of one hits every frame", () => {
  expect(deliveredNumbers({ lossRate: 1 })).toEqual([]);
  expect(deliveredNumbers({ duplicateRate: 1 })).toHaveLength(400);
});

test("without faults every frame arrives once and in order", () => {
  expect(deliveredNumbers({})).toEqual(Array.from({ length: 200 }, (_, number) => number));
});

test("reordering loses and repeats nothing, whatever the seed", () => {
  fc.assert(
    fc.property(fc.integer(), fc.double({ min: 0, max: 1, noNaN: true }), (seed, reorderRate) => {
      const numbers = deliveredNumbers({ seed, reorderRate });
      expect(numbers.toSorted((one, other) => one - other)).toEqual(
        Array.from({ length: 200 }, (_, number) => number),
      );
    }),
    { numRuns: 20 },
  );
  const shuffled = deliveredNumbers({ seed: 7, reorderRate: 0.3 });
  expect(shuffled).not.toEqual(shuffled.toSorted((one, other) => one - other));
});

test("the same seed gives the same run, another seed another", () => {
  const rates = { lossRate: 0.2, duplicateRate: 0.2, reorderRate: 0.2 };
  expect(deliveredNumbers({ seed: 5, ...rates })).toEqual(deliveredNumbers({ seed: 5, ...rates }));
  expect(deliveredNumbers({ seed: 5, ...rates })).not.toEqual(
    deliveredNumbers({ seed: 6, ...rates }),
  );
});

test("corruption flips one bit behind the Ethernet header and never the sender's own frame", () => {
  const segment = memorySegment({ delivery: "manual", corruptRate: 1 });
  const [a, b, c] = [station(segment, alice), station(segment, bob), station(segment, carol)];
  const sent = numbered(BROADCAST_MAC, 1);
  a.send(sent);
  segment.deliver();
  for (const [frame] of [b.receiveAll(), c.receiveAll()]) {
    const flipped = sent.map((octet, index) => octet ^ frame[index]);
    const bits = flipped.reduce(
      (sum, octet) => sum + octet.toString(2).replaceAll("0", "").length,
      0,
    );
    expect(bits).toBe(1);
    expect(flipped.subarray(0, 14).every((octet) => octet === 0)).toBe(true);
  }
});

test("the backlog is bounded and what does not fit is counted", () => {
  const segment = memorySegment({ delivery: "manual", backlogFrames: 10 });
  const [a, b] = [station(segment, alice), station(segment, bob)];
  for (let number = 0; number < 25; number++) a.send(numbered(bob, number));
  segment.deliver();
  expect(b.receiveAll().map(numberOf)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(b.port.statistics.receiveOverruns).toBe(15);
});
