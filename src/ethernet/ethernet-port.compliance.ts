import { afterEach, describe, expect, test } from "vitest";
import { FRAME_CAPACITY_BYTES, FrameArena } from "../arena/frame-arena.ts";
import { ETHERNET_HEADER_BYTES, type EthernetPort, MINIMUM_FRAME_BYTES } from "./ethernet-port.ts";
import { BROADCAST_MAC } from "./mac-address.ts";
import { describeFrame, ethernetFrame, testMac, waitUntil, WireTester } from "./wire.testing.ts";

/** A port under test with a station on the other end of its wire. */
export interface PortLink {
  readonly port: EthernetPort;
  readonly arena: FrameArena;
  readonly peer: WireTester;
  /** Whether what is between the two passes frames; they themselves are asked separately. */
  isConnected: () => boolean;
  /** What an administrator does to the port's interface. */
  setMtu(mtuBytes: number): void;
  setUp(up: boolean): void;
  /** Undefined when the port's address is its own. */
  setMac: ((mac: Uint8Array) => void) | undefined;
  close(): Promise<void>;
}

export interface PortImplementation {
  name: string;
  /** Whether frames of other EtherTypes and with VLAN tags stay out. */
  filters: boolean;
  connect(arena: FrameArena, mtuBytes: number): Promise<PortLink>;
}

const ETHER_TYPE = 0x88a2;

/** What every EthernetPort promises, whatever is behind it. */
export function ethernetPortCompliance(implementation: PortImplementation): void {
  describe(`${implementation.name} as an EthernetPort`, () => {
    const open: PortLink[] = [];

    async function connect(arenaFrames = 256, mtuBytes = 1500): Promise<PortLink> {
      const arena = new FrameArena(arenaFrames);
      const link = await implementation.connect(arena, mtuBytes);
      open.push(link);
      await waitUntil(() => isUp(link), "both ends are up");
      return link;
    }

    afterEach(async () => {
      for (const link of open.splice(0)) await link.close();
    });

    describeExchange(implementation, connect);
    describeOwnership(connect);
    describeWaking(connect);
    describeLink(connect);
    describeEnd(connect);
  });
}

type Connect = (arenaFrames?: number, mtuBytes?: number) => Promise<PortLink>;

/** A frame with a number and a pattern that depends on it. */
function numbered(
  destination: Uint8Array,
  source: Uint8Array,
  number: number,
  lengthBytes = 100,
): Uint8Array {
  const payload = new Uint8Array(lengthBytes - ETHERNET_HEADER_BYTES);
  for (let at = 0; at < payload.length; at++) payload[at] = (at * 7 + number) & 0xff;
  new DataView(payload.buffer).setUint32(0, number);
  return ethernetFrame(destination, source, ETHER_TYPE, payload);
}

function numberOf(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset).getUint32(ETHERNET_HEADER_BYTES);
}

const counting = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

const isUp = ({ port, peer, isConnected }: PortLink): boolean =>
  port.link.up && peer.port.link.up && isConnected();

/** The station at the port itself. */
const near = (link: PortLink): WireTester => new WireTester(link.port, link.arena);

const macOf = (station: WireTester): Uint8Array => station.port.link.mac;

function describeExchange(implementation: PortImplementation, connect: Connect): void {
  test.each([1500, 9000])(
    "carries frames of every length whole and in order, MTU %i",
    async (mtu) => {
      const link = await connect(256, mtu);
      const longest = mtu + ETHERNET_HEADER_BYTES;
      const lengths = [60, 61, 64, 576, 1066, longest - 1, longest];
      for (const [sender, receiver] of [
        [near(link), link.peer],
        [link.peer, near(link)],
      ]) {
        const frames = lengths.map((length, index) =>
          numbered(macOf(receiver), macOf(sender), index, length),
        );
        sender.send(...frames);
        const received = await receiver.receiveCount(frames.length);
        expect(received.map(describeFrame)).toEqual(frames.map(describeFrame));
        expect(received).toEqual(frames);
      }
    },
  );

  test("pads short frames with zeros, not with what was in memory", async () => {
    const link = await connect();
    link.arena.bytes.fill(0xee);
    const short = numbered(macOf(link.peer), link.port.link.mac, 1, 36);
    near(link).send(short);
    const [received] = await link.peer.receiveCount(1);
    const padded = new Uint8Array(MINIMUM_FRAME_BYTES);
    padded.set(short);
    expect(received).toEqual(padded);
  });

  test("receives broadcast and its own address, not others' and not multicast", async () => {
    const link = await connect();
    const from = macOf(link.peer);
    const multicast = Uint8Array.of(0x01, 0x00, 0x5e, 0, 0, 1);
    const destinations = [testMac(77), multicast, BROADCAST_MAC, link.port.link.mac];
    link.peer.send(...destinations.map((mac, index) => numbered(mac, from, index)));
    expect((await near(link).receiveCount(2)).map(numberOf)).toEqual([2, 3]);
    expect(await near(link).receiveCount(1, 50)).toEqual([]);
  });

  test("sends broadcast", async () => {
    const link = await connect();
    near(link).send(numbered(BROADCAST_MAC, link.port.link.mac, 5));
    expect((await link.peer.receiveCount(1)).map(numberOf)).toEqual([5]);
  });

  test.runIf(implementation.filters)("keeps other EtherTypes and VLAN tags out", async () => {
    const link = await connect();
    const [to, from] = [link.port.link.mac, macOf(link.peer)];
    const tagged = new Uint8Array(100);
    tagged.set([0x00, 0x05, 0x88, 0xa2]);
    link.peer.send(
      ethernetFrame(to, from, 0x88a3, new Uint8Array(80)),
      ethernetFrame(to, from, 0x0800, new Uint8Array(80)),
      ethernetFrame(to, from, 0x8100, tagged),
      numbered(to, from, 9),
    );
    expect((await near(link).receiveCount(1)).map(numberOf)).toEqual([9]);
    expect(await near(link).receiveCount(1, 50)).toEqual([]);
  });

  test("carries bursts of thousands of frames both ways without loss", async () => {
    const link = await connect(4096);
    const [to, from] = [link.port.link.mac, macOf(link.peer)];
    link.peer.send(...counting(3000).map((number) => numbered(to, from, number, 1066)));
    expect((await near(link).receiveCount(3000)).map(numberOf)).toEqual(counting(3000));
    near(link).send(...counting(3000).map((number) => numbered(from, to, number, 1066)));
    expect((await link.peer.receiveCount(3000)).map(numberOf)).toEqual(counting(3000));
    expect(link.port.statistics).toMatchObject({
      receivedFrames: 3000,
      sentFrames: 3000,
      receiveOverruns: 0,
      sendFailures: 0,
    });
  });
}

function describeOwnership(connect: Connect): void {
  test("every frame goes back to the arena", async () => {
    const link = await connect(64);
    const [to, from] = [link.port.link.mac, macOf(link.peer)];
    for (let round = 0; round < 50; round++) {
      link.peer.send(...counting(20).map((number) => numbered(to, from, number)));
      expect(await near(link).receiveCount(20)).toHaveLength(20);
      near(link).send(...counting(10).map((number) => numbered(from, to, number)));
      expect(await link.peer.receiveCount(10)).toHaveLength(10);
    }
    expect(link.arena.freeCount).toBe(64);
  });

  test("a received frame belongs to the receiver until it sends or releases it", async () => {
    const link = await connect(64);
    const { port, arena } = link;
    link.peer.send(
      ...counting(2).map((number) => numbered(port.link.mac, macOf(link.peer), number)),
    );
    const held: number[] = [];
    await waitUntil(() => {
      const count = port.receive(1);
      if (count === 1) held.push(port.received.frames[0]);
      return held.length === 2;
    }, "two frames come");
    expect(arena.freeCount).toBe(62);
    port.release(held[0]);
    expect(arena.freeCount).toBe(63);
    const offset = arena.frameOffset(held[1]);
    arena.bytes.set(macOf(link.peer), offset);
    arena.bytes.set(port.link.mac, offset + 6);
    port.send(held[1], 100);
    port.transmit();
    expect((await link.peer.receiveCount(1)).map(numberOf)).toEqual([1]);
    expect(arena.freeCount).toBe(64);
  });

  test("a frame longer than an arena frame is dropped and counted", async () => {
    const link = await connect(64, 12_000);
    const [to, from] = [link.port.link.mac, macOf(link.peer)];
    link.peer.send(
      numbered(to, from, 1),
      numbered(to, from, 2, FRAME_CAPACITY_BYTES + 1),
      numbered(to, from, 3, FRAME_CAPACITY_BYTES),
    );
    expect((await near(link).receiveCount(2)).map(numberOf)).toEqual([1, 3]);
    expect(link.port.statistics.truncatedFrames).toBe(1);
    expect(link.arena.freeCount).toBe(64);
    expect(link.port.link.mtuBytes).toBe(FRAME_CAPACITY_BYTES - ETHERNET_HEADER_BYTES);
  });

  test("a frame longer than the MTU fails alone", async () => {
    const link = await connect();
    const [to, from] = [macOf(link.peer), link.port.link.mac];
    near(link).send(numbered(to, from, 1), numbered(to, from, 2, 1515), numbered(to, from, 3));
    expect((await link.peer.receiveCount(2)).map(numberOf)).toEqual([1, 3]);
    expect(link.port.statistics).toMatchObject({ sentFrames: 2, sendFailures: 1 });
    expect(link.arena.freeCount).toBe(256);
  });
}

function describeWaking(connect: Connect): void {
  test("calls onReadable again while frames wait", async () => {
    const link = await connect();
    const { port } = link;
    const numbers: number[] = [];
    port.onReadable = () => {
      if (port.receive(1) === 0) return;
      const frame = port.received.frames[0];
      const offset = link.arena.frameOffset(frame);
      numbers.push(numberOf(link.arena.bytes.subarray(offset, offset + 100)));
      port.release(frame);
    };
    const to = port.link.mac;
    link.peer.send(...counting(30).map((number) => numbered(to, macOf(link.peer), number)));
    await waitUntil(() => numbers.length >= 30, "30 frames come");
    expect(numbers).toEqual(counting(30));
  });

  test("without onReadable it waits, and wakes when that is set again", async () => {
    const link = await connect();
    const { port } = link;
    link.peer.send(numbered(port.link.mac, macOf(link.peer), 1));
    await new Promise((resolve) => setTimeout(resolve, 20));
    let frames: Uint8Array[] = [];
    port.onReadable = () => {
      frames = [...frames, ...near(link).receiveAll()];
      port.onReadable = undefined;
    };
    await waitUntil(() => frames.length === 1, "the frame comes");
    link.peer.send(numbered(port.link.mac, macOf(link.peer), 2));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(frames.map(numberOf)).toEqual([1]);
  });

  test("sleeps while the arena is empty and goes on when a frame is released", async () => {
    const link = await connect(8);
    const { port } = link;
    const held: number[] = [];
    const numbers: number[] = [];
    let calls = 0;
    port.onReadable = () => {
      calls++;
      const count = port.receive(4);
      for (let index = 0; index < count; index++) {
        const frame = port.received.frames[index];
        const offset = link.arena.frameOffset(frame);
        numbers.push(numberOf(link.arena.bytes.subarray(offset, offset + 100)));
        held.push(frame);
      }
    };
    const to = port.link.mac;
    link.peer.send(...counting(40).map((number) => numbered(to, macOf(link.peer), number)));
    await waitUntil(() => held.length === 8, "the arena is empty");
    await new Promise((resolve) => setTimeout(resolve, 20));
    const callsWhenEmpty = calls;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(calls).toBe(callsWhenEmpty);
    await waitUntil(() => {
      for (const frame of held.splice(0)) port.release(frame);
      return numbers.length >= 40;
    }, "all frames come");
    for (const frame of held.splice(0)) port.release(frame);
    expect(numbers).toEqual(counting(40));
    expect(link.arena.freeCount).toBe(8);
  });
}

function describeLink(connect: Connect): void {
  test("follows the MTU", async () => {
    const link = await connect(64, 9000);
    const { port } = link;
    expect(port.link.mtuBytes).toBe(9000);
    const changes: number[] = [];
    port.onLinkChange = (previous) => changes.push(previous.mtuBytes, port.link.mtuBytes);
    link.setMtu(1500);
    await waitUntil(() => port.link.mtuBytes === 1500, "the MTU is 1500");
    expect(changes).toEqual([9000, 1500]);
    near(link).send(numbered(macOf(link.peer), port.link.mac, 1, 1515));
    await waitUntil(() => port.statistics.sendFailures === 1, "the long frame fails");
    near(link).send(numbered(macOf(link.peer), port.link.mac, 2, 1514));
    expect((await link.peer.receiveCount(1)).map(numberOf)).toEqual([2]);
  });

  test("survives that the link goes down, and serves when it is up again", async () => {
    const link = await connect(64);
    const { port } = link;
    const states: boolean[] = [];
    port.onReadable = () => {};
    port.onLinkChange = () => states.push(port.link.up);
    const to = macOf(link.peer);
    link.setUp(false);
    await waitUntil(() => !port.link.up, "the link is down");
    near(link).send(numbered(to, port.link.mac, 1));
    expect(port.statistics.sendFailures).toBe(1);
    expect(link.arena.freeCount).toBe(64);
    link.setUp(true);
    await waitUntil(() => isUp(link), "the link is up");
    port.onReadable = undefined;
    near(link).send(numbered(to, port.link.mac, 2));
    expect((await link.peer.receiveCount(1)).map(numberOf)).toEqual([2]);
    link.peer.send(numbered(port.link.mac, to, 3));
    expect((await near(link).receiveCount(1)).map(numberOf)).toEqual([3]);
    expect(states).toEqual([false, true]);
  });

  test("follows the MAC where the interface has one", async () => {
    const link = await connect(64);
    if (link.setMac === undefined) return;
    const old = link.port.link;
    let previousLink = link.port.link;
    link.port.onLinkChange = (previous) => {
      previousLink = previous;
    };
    link.setMac(testMac(55));
    await waitUntil(() => link.port.link !== old, "the MAC changes");
    expect(link.port.link.mac).toEqual(testMac(55));
    expect(previousLink).toBe(old);
    const from = macOf(link.peer);
    link.peer.send(numbered(old.mac, from, 1), numbered(testMac(55), from, 2));
    expect((await near(link).receiveCount(1)).map(numberOf)).toEqual([2]);
  });
}

function describeEnd(connect: Connect): void {
  test("after stopReceiving it still sends", async () => {
    const link = await connect();
    const { port } = link;
    link.peer.send(numbered(port.link.mac, macOf(link.peer), 1));
    expect(await near(link).receiveCount(1)).toHaveLength(1);
    let calls = 0;
    port.onReadable = () => calls++;
    port.stopReceiving();
    link.peer.send(numbered(port.link.mac, macOf(link.peer), 2));
    expect(await near(link).receiveCount(1, 50)).toEqual([]);
    expect(calls).toBe(0);
    near(link).send(numbered(macOf(link.peer), port.link.mac, 3));
    expect((await link.peer.receiveCount(1)).map(numberOf)).toEqual([3]);
  });

  test("close sends what is queued, takes late frames back, and can be repeated", async () => {
    const link = await connect(64);
    const { port, arena } = link;
    link.peer.send(
      ...counting(2).map((number) => numbered(port.link.mac, macOf(link.peer), number)),
    );
    const held: number[] = [];
    await waitUntil(() => {
      if (port.receive(1) === 1) held.push(port.received.frames[0]);
      return held.length === 2;
    }, "two frames come");
    const queued = arena.allocate();
    arena.bytes.set(numbered(macOf(link.peer), port.link.mac, 7), arena.frameOffset(queued));
    port.send(queued, 100);
    await Promise.all([port.close(), port.close()]);
    expect((await link.peer.receiveCount(1)).map(numberOf)).toEqual([7]);
    port.release(held[0]);
    port.send(held[1], 100);
    port.transmit();
    expect(port.receive(8)).toBe(0);
    expect(port.statistics.sendFailures).toBe(1);
    expect(arena.freeCount).toBe(64);
  });
}
