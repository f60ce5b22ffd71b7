import { closeSync, readFileSync, readSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { openTapDevice } from "../system/tap-device.ts";
import { drop, jumpIfEqual, loadWord } from "./bpf.ts";
import { ethernetPortCompliance } from "./ethernet-port.compliance.ts";
import { STALE_AFTER_MS } from "./ethernet-port.ts";
import { formatMac } from "./mac-address.ts";
import { canMakeTap, ip, isIsolated, makePair, run, uniqueName } from "./namespace.testing.ts";
import { packetFilter } from "./packet-filter.ts";
import { openPacketPort, type PacketPort, type PacketPortOptions } from "./packet-port.ts";
import { ethernetFrame, testMac, waitUntil, WireTester } from "./wire.testing.ts";

const ETHER_TYPE = 0x88a2;

describe.runIf(isIsolated).each([false, true])("on a veth pair, with a ring: %s", (ring) => {
  ethernetPortCompliance({
    name: "a packet port",
    filters: true,
    connect(arena, mtuBytes) {
      const [name, peerName] = makePair(mtuBytes);
      const port = openPacketPort({ interfaceName: name, etherType: ETHER_TYPE, arena, ring });
      const peer = openStation(peerName);
      return Promise.resolve({
        port,
        arena,
        peer,
        isConnected: () => true,
        setMtu: (mtu) => ip(`link set ${name} mtu ${mtu}`),
        setUp: (up) => ip(`link set ${name} ${up ? "up" : "down"}`),
        setMac: (mac) => ip(`link set ${name} address ${formatMac(mac)}`),
        async close() {
          await port.close();
          await peer.port.close();
          ip(`link delete ${name}`);
        },
      });
    },
  });
});

const stations: WireTester[] = [];
const interfaces: string[] = [];

function openStation(interfaceName: string, options: Partial<PacketPortOptions> = {}): WireTester {
  const arena = options.arena ?? new FrameArena(4096);
  const port = openPacketPort({ interfaceName, etherType: ETHER_TYPE, ...options, arena });
  return new WireTester(port, arena);
}

/** Whether the stations of the present tests receive through a ring. */
let hasRing = false;

/** A station that is closed after the test. */
function station(interfaceName: string, options: Partial<PacketPortOptions> = {}): WireTester {
  const opened = openStation(interfaceName, { ring: hasRing, ...options });
  stations.push(opened);
  return opened;
}

function pair(): [string, string] {
  const names = makePair();
  interfaces.push(names[0]);
  return names;
}

afterEach(async () => {
  for (const opened of stations.splice(0)) await opened.port.close();
  for (const name of interfaces.splice(0)) {
    try {
      ip(`link delete ${name}`);
    } catch {
      // The test has deleted it.
    }
  }
});

function numbered(to: WireTester, from: WireTester, number: number, lengthBytes = 100): Uint8Array {
  const payload = new Uint8Array(lengthBytes - 14);
  new DataView(payload.buffer).setUint32(0, number);
  return ethernetFrame(to.port.link.mac, from.port.link.mac, ETHER_TYPE, payload);
}

const numberOf = (frame: Uint8Array): number => new DataView(frame.buffer).getUint32(14);
const counting = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

const onlyNumber = (number: number): Uint8Array =>
  packetFilter([loadWord(14), jumpIfEqual(number, "accept"), drop()]);

/** Waits for this frame; others from before may come first. */
async function receiveNumber(end: WireTester, number: number): Promise<void> {
  await waitUntil(() => end.receiveAll().some((frame) => numberOf(frame) === number), "it comes");
}

const bothUp = (...ends: WireTester[]): Promise<void> =>
  waitUntil(() => ends.every((end) => end.port.link.up), "both ends are up");

describe.runIf(isIsolated).each([false, true])("a packet port, with a ring: %s", (ring) => {
  beforeEach(() => {
    hasRing = ring;
  });

  test("a frame that waited too long in the socket is dropped and counted", async () => {
    const [name, peerName] = pair();
    const server = station(name, { oldestFrameMs: STALE_AFTER_MS });
    const peer = station(peerName);
    await bothUp(server, peer);
    const send = (): void => {
      const to = server.port.link.mac;
      peer.send(ethernetFrame(to, peer.port.link.mac, ETHER_TYPE, new Uint8Array(46)));
    };
    let sent = 0;
    let received = 0;
    const sendAndWait = async (waitMs: number): Promise<void> => {
      send();
      sent++;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      received += server.receiveAll().length;
    };
    // The kernel begins to note arrivals a moment after the first socket has asked for it.
    while (server.port.statistics.staleFrames === 0) await sendAndWait(STALE_AFTER_MS + 100);
    const late = server.port.statistics.receivedFrames;
    while (server.port.statistics.receivedFrames === late) await sendAndWait(0);
    await waitUntil(() => {
      received += server.receiveAll().length;
      return received + server.port.statistics.staleFrames >= sent;
    }, "every frame is received or counted");
    const { receivedFrames, staleFrames } = server.port.statistics;
    expect(receivedFrames).toBe(received);
    expect(receivedFrames + staleFrames).toBe(sent);
  });

  test("applies a filter of the caller from the first frame, and another one later", async () => {
    const [name, peerName] = pair();
    const receiver = station(name, { filter: onlyNumber(1) });
    const sender = station(peerName);
    await bothUp(receiver, sender);
    const sendAll = (): void =>
      sender.send(...counting(4).map((n) => numbered(receiver, sender, n)));
    sendAll();
    expect((await receiver.receiveCount(1)).map(numberOf)).toEqual([1]);
    (receiver.port as PacketPort).setFilter(onlyNumber(3));
    sendAll();
    expect((await receiver.receiveCount(1)).map(numberOf)).toEqual([3]);
    expect(await receiver.receiveCount(1, 30)).toEqual([]);
  });

  test("a filter that the kernel has no room for is left away, which is said once", async () => {
    const [name, peerName] = pair();
    const warnings: object[] = [];
    const log = { warn: (fields: object) => warnings.push(fields) };
    const receiver = station(name, { filter: onlyNumber(1), log });
    const sender = station(peerName);
    await bothUp(receiver, sender);
    const port = receiver.port as PacketPort;
    const huge = packetFilter(Array.from({ length: 4000 }, () => loadWord(0)));
    const sendAll = (): void =>
      sender.send(...counting(4).map((n) => numbered(receiver, sender, n)));
    for (let time = 0; time < 2; time++) {
      port.setFilter(huge);
      sendAll();
      expect((await receiver.receiveCount(4)).map(numberOf)).toEqual(counting(4));
    }
    expect(warnings).toEqual([{ interface: name, reason: "ENOMEM" }]);

    port.setFilter(onlyNumber(3));
    sendAll();
    expect((await receiver.receiveCount(1)).map(numberOf)).toEqual([3]);
    expect(await receiver.receiveCount(1, 30)).toEqual([]);
  });

  test.runIf(canMakeTap)("waits for a full device queue and loses nothing", async () => {
    const name = uniqueName("vt");
    const descriptor = openTapDevice(name);
    ip(`link set ${name} txqueuelen 8`);
    ip(`link set ${name} up`);
    try {
      const sender = station(name, { arena: new FrameArena(256) });
      await bothUp(sender);
      const to = testMac(9);
      const frames = counting(200).map((n) => {
        const payload = new Uint8Array(86);
        new DataView(payload.buffer).setUint32(0, n);
        return ethernetFrame(to, sender.port.link.mac, ETHER_TYPE, payload);
      });
      sender.send(...frames);
      expect(sender.port.statistics.sendStalls).toBeGreaterThan(0);
      const received: Uint8Array[] = [];
      await waitUntil(() => {
        received.push(...readFrames(descriptor).filter((frame) => frame[0] === to[0]));
        return received.length >= 200;
      }, "all frames come");
      expect(received).toEqual(frames);
      expect(sender.port.statistics).toMatchObject({ sentFrames: 200, sendFailures: 0 });
    } finally {
      closeSync(descriptor);
    }
  });

  test("a frame that the device never takes does not hold up the others", async () => {
    const [name, peerName] = pair();
    ip(`link set ${name} mtu 9000`);
    const arena = new FrameArena(256);
    const sender = station(name, { arena });
    const receiver = station(peerName);
    await bothUp(sender, receiver);
    await waitUntil(() => sender.port.link.mtuBytes === 9000, "the larger MTU is seen");
    // veth refuses what is longer than the MTU of the other end, as it refuses a full queue.
    const tooLong = (n: number): Uint8Array => numbered(receiver, sender, n, 8000);
    const frames = counting(40).map((n) =>
      n % 2 === 0 ? tooLong(n) : numbered(receiver, sender, n),
    );
    sender.send(...frames);
    const received = await receiver.receiveCount(20);
    expect(received.map(numberOf)).toEqual(counting(40).filter((n) => n % 2 !== 0));
    sender.send(tooLong(1), numbered(receiver, sender, 2));
    expect((await receiver.receiveCount(1)).map(numberOf)).toEqual([2]);
    await waitUntil(() => arena.freeCount === arena.frameCount, "none is queued");
    expect(sender.port.statistics.sentFrames).toBe(21);
    expect(sender.port.statistics.sendFailures).toBe(21);
  });

  test("waits for a full send buffer and loses nothing", async () => {
    const [name, peerName] = pair();
    const bridge = uniqueName("br");
    interfaces.push(bridge);
    ip(`link add ${bridge} type bridge`);
    ip(`link set ${name} master ${bridge}`);
    ip(`link set ${bridge} up`);
    // What the port sends stays in its buffer until the slow queue behind the bridge lets it go.
    run("tc", `qdisc add dev ${name} root tbf rate 10mbit burst 2000 limit 10000000`);
    const sender = station(bridge, { sendBufferBytes: 16_384 });
    const receiver = station(peerName);
    await bothUp(sender, receiver);
    sender.send(...counting(100).map((n) => numbered(receiver, sender, n, 1066)));
    expect(sender.port.statistics.sendStalls).toBeGreaterThan(0);
    expect((await receiver.receiveCount(100)).map(numberOf)).toEqual(counting(100));
    expect(sender.port.statistics).toMatchObject({ sentFrames: 100, sendFailures: 0 });
  });

  test.runIf(canMakeTap)("close gives a full device queue a second, and no longer", async () => {
    const name = uniqueName("vt");
    const descriptor = openTapDevice(name);
    ip(`link set ${name} txqueuelen 8`);
    ip(`link set ${name} up`);
    try {
      const arena = new FrameArena(64);
      const sender = openStation(name, { arena });
      await bothUp(sender);
      sender.send(...counting(60).map((n) => numbered(sender, sender, n)));
      await sender.port.close();
      expect(arena.freeCount).toBe(64);
      const { sentFrames, sendFailures } = sender.port.statistics;
      expect(sentFrames + sendFailures).toBe(60);
      expect(sendFailures).toBeGreaterThan(0);
    } finally {
      closeSync(descriptor);
    }
  });

  test("counts what the kernel dropped because nobody received", async () => {
    const [name, peerName] = pair();
    const receiver = station(name, { receiveBufferBytes: 16_384 });
    const sender = station(peerName);
    await bothUp(receiver, sender);
    sender.send(...counting(500).map((n) => numbered(receiver, sender, n)));
    // The kernel may hand over what was sent a little later.
    await waitUntil(() => receiver.port.statistics.receiveOverruns > 0, "some are dropped");
    let received = 0;
    await waitUntil(() => {
      received += receiver.receiveAll().length;
      return received + receiver.port.statistics.receiveOverruns >= 500;
    }, "all are received or counted");
    expect(received).toBeGreaterThan(0);
    expect(received + receiver.port.statistics.receiveOverruns).toBe(500);
  });

  test("binds again when its interface was deleted and another has its name", async () => {
    const [name, peerName] = pair();
    const end = station(name);
    const peer = station(peerName);
    await bothUp(end, peer);
    end.port.onReadable = () => {};
    ip(`link delete ${name}`);
    await waitUntil(() => !end.port.link.up, "the link is down");
    end.send(numbered(peer, end, 1));
    expect(end.port.statistics.sendFailures).toBe(1);
    ip(`link add ${name} mtu 4000 type veth peer name ${peerName} mtu 4000`);
    ip(`link set ${name} up`);
    ip(`link set ${peerName} up`);
    await waitUntil(() => end.port.link.up && peer.port.link.up, "both ends are up again");
    expect(end.port.link.mtuBytes).toBe(4000);
    end.port.onReadable = undefined;
    peer.send(numbered(end, peer, 2, 3000));
    end.send(numbered(peer, end, 3, 3000));
    expect((await end.receiveCount(1)).map(numberOf)).toEqual([2]);
    expect((await peer.receiveCount(1)).map(numberOf)).toEqual([3]);
  });

  test("follows its name, not the interface that once had it", async () => {
    const [name, peerName] = pair();
    const renamed = uniqueName("vr");
    const end = station(name);
    const peer = station(peerName);
    await bothUp(end, peer);
    const oldFrame = numbered(end, peer, 1);
    ip(`link set ${name} down`);
    ip(`link set ${name} name ${renamed}`);
    ip(`link set ${renamed} up`);
    interfaces.push(renamed);
    await waitUntil(() => !end.port.link.up && peer.port.link.up, "the name is gone");
    peer.send(oldFrame);
    expect(await end.receiveCount(1, 30)).toEqual([]);
    ip(`link set ${renamed} down`);
    ip(`link set ${renamed} name ${name}`);
    ip(`link set ${name} up`);
    await waitUntil(() => end.port.link.up && peer.port.link.up, "the name is back");
    peer.send(numbered(end, peer, 2));
    expect((await end.receiveCount(1)).map(numberOf)).toEqual([2]);
  });

  test("goes through many changes of its interface under load without an error", async () => {
    const [name, peerName] = pair();
    const end = station(name, { arena: new FrameArena(64) });
    const peer = station(peerName);
    await bothUp(end, peer);
    end.port.onReadable = () => {
      const count = end.port.receive(16);
      for (let index = 0; index < count; index++) {
        end.port.send(end.port.received.frames[index], end.port.received.lengths[index]);
      }
      end.port.transmit();
    };
    const changes = ["down", "up", "mtu 1400", "mtu 2000", "down", "mtu 1500", "up"];
    for (const change of [...changes, ...changes, ...changes]) {
      peer.send(...counting(50).map((n) => numbered(end, peer, n)));
      ip(`link set ${name} ${change}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
      peer.receiveAll();
    }
    end.port.onReadable = undefined;
    await bothUp(end, peer);
    peer.send(numbered(end, peer, 77));
    await receiveNumber(end, 77);
    end.send(numbered(peer, end, 88));
    await receiveNumber(peer, 88);
  });

  test("works in a worker thread, which may be ended while the port is open", async () => {
    const [name, peerName] = pair();
    const peer = station(peerName);
    const mac = new Uint8Array(new SharedArrayBuffer(6));
    const worker = new Worker(new URL("./packet-port.worker.testing.ts", import.meta.url), {
      workerData: { interfaceName: name, etherType: ETHER_TYPE, mac },
      execArgv: [],
    });
    await waitUntil(() => mac.some((octet) => octet !== 0), "the thread serves");
    await bothUp(peer);
    peer.send(ethernetFrame(mac, peer.port.link.mac, ETHER_TYPE, new Uint8Array(86).fill(3)));
    const [echo] = await peer.receiveCount(1);
    expect(echo.subarray(14)).toEqual(new Uint8Array(86).fill(3));
    expect(await worker.terminate()).toBe(1);
    const openSockets = (): number =>
      readFileSync("/proc/net/packet", "utf8").trim().split("\n").length;
    await waitUntil(() => openSockets() === 2, "only the peer's socket is left");
  });
});

describe.runIf(isIsolated)("the ring of a packet port", () => {
  test.each([
    { mtuBytes: 1500, frameBytes: 1514 },
    { mtuBytes: 9000, frameBytes: 9014 },
  ])("comes round, with slots for an MTU of $mtuBytes", async ({ mtuBytes, frameBytes }) => {
    const names = makePair(mtuBytes);
    interfaces.push(names[0]);
    // Two blocks: 64 slots, or 12.
    const receiver = station(names[0], { ring: true, receiveBufferBytes: 131_072 });
    const sender = station(names[1], { ring: false });
    await bothUp(receiver, sender);
    for (let round = 0; round < 15; round++) {
      const numbers = counting(10).map((n) => 10 * round + n);
      const frames = numbers.map((n) => numbered(receiver, sender, n, frameBytes));
      sender.send(...frames);
      const received = await receiver.receiveCount(10);
      expect(received.toSorted((one, other) => numberOf(one) - numberOf(other))).toEqual(frames);
    }
    expect(receiver.port.statistics).toMatchObject({ receivedFrames: 150, receiveOverruns: 0 });
  });

  test("is not given to children: the kernel takes none back that somebody has", async () => {
    const [name] = pair();
    const rings = (): string[] =>
      readFileSync("/proc/self/smaps", "utf8")
        .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
        .filter((mapping) => /^.* socket:\[\d+\]$/m.test(mapping));
    expect(rings()).toEqual([]);
    const end = station(name, { ring: true });
    expect(rings()).toEqual([expect.stringMatching(/^VmFlags:.* dc( |$)/m)]);
    await end.port.close();
    stations.splice(stations.indexOf(end), 1);
    expect(rings()).toEqual([]);
  });
});

/** Frames that wait at a TAP's descriptor. */
function readFrames(descriptor: number): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const buffer = new Uint8Array(2048);
  for (;;) {
    try {
      frames.push(buffer.slice(0, readSync(descriptor, buffer)));
    } catch {
      return frames;
    }
  }
}
