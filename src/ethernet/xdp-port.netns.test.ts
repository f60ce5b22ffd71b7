import { afterEach, describe, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { ethernetPortCompliance } from "./ethernet-port.compliance.ts";
import { formatMac } from "./mac-address.ts";
import { ip, makePair, run, uniqueName } from "./namespace.testing.ts";
import { PacketPort } from "./packet-port.ts";
import { ethernetFrame, testMac, waitUntil } from "./wire.testing.ts";
import { XdpPort } from "./xdp-port.ts";
import {
  bothUp,
  canOpenXdpPorts,
  counting,
  ETHER_TYPE,
  expectExchange,
  hasEthtool,
  numbered,
  numberOf,
  openPeer,
  openPort,
  Place,
} from "./xdp-port.testing.ts";
import type { XdpFeature } from "./xdp-sockets.ts";

const canUseXdp = await canOpenXdpPorts();

const kinds: [where: string, without: XdpFeature[]][] = [
  ["in the driver", []],
  ["after the driver", ["native"]],
  ["without frames in parts", ["multi-buffer"]],
];

describe.runIf(canUseXdp).each(kinds)("on a veth pair, %s", (where, without) => {
  ethernetPortCompliance({
    name: `an XDP port ${where}`,
    filters: true,
    connect(arena, mtuBytes) {
      const [name, peerName] = makePair(mtuBytes);
      const port = openPort(name, { without, arena });
      const fits = mtuBytes === 1500 || !without.includes("multi-buffer");
      expect(port).toBeInstanceOf(fits ? XdpPort : PacketPort);
      const peer = openPeer(peerName);
      return Promise.resolve({
        port,
        arena,
        peer,
        setMtu: (mtu) => ip(`link set ${name} mtu ${mtu}`),
        setUp: (up) => ip(`link set ${name} ${up ? "up" : "down"}`),
        setMac: (mac) => ip(`link set ${name} address ${formatMac(mac)}`),
        isConnected: () => true,
        async close() {
          await port.close();
          await peer.port.close();
          ip(`link delete ${name}`);
        },
      });
    },
  });
});

const place = new Place();
afterEach(() => place.clear());

describe.runIf(canUseXdp)("the frames of an XDP port", () => {
  test("for others are dropped and counted", async () => {
    const [name, peerName] = place.pair();
    const [end, peer] = [place.station(name), place.peerStation(peerName)];
    await bothUp(end, peer);
    const multicast = Uint8Array.of(0x01, 0x00, 0x5e, 0, 0, 1);
    const frameTo = (mac: Uint8Array): Uint8Array =>
      ethernetFrame(mac, peer.port.link.mac, ETHER_TYPE, new Uint8Array(86));
    peer.send(
      frameTo(testMac(9)),
      frameTo(multicast),
      frameTo(testMac(10)),
      numbered(end, peer, 4),
    );
    expect((await end.receiveCount(1)).map(numberOf)).toEqual([4]);
    expect(end.port.statistics).toMatchObject({ receivedFrames: 1, foreignFrames: 3 });
  });

  test("that nobody received in time are counted", async () => {
    const [name, peerName] = place.pair();
    const end = place.station(name, { receiveChunks: 64 });
    const peer = place.peerStation(peerName);
    await bothUp(end, peer);
    peer.send(...counting(2000).map((n) => numbered(end, peer, n)));
    // The kernel may hand over what was sent a little later.
    await waitUntil(() => end.port.statistics.receiveOverruns > 0, "some are dropped");
    let received = 0;
    await waitUntil(() => {
      received += end.receiveAll().length;
      return received + end.port.statistics.receiveOverruns >= 2000;
    }, "all are received or counted");
    expect(received).toBeGreaterThan(0);
    expect(received + end.port.statistics.receiveOverruns).toBe(2000);
    await expectExchange(end, peer);
  });

  test("wait for room on the way out, and none is lost", async () => {
    const [name, far] = place.slowPair("50mbit", 9000);
    const end = place.station(name, { transmitChunks: 16 });
    const receiver = place.peerStation(far);
    await bothUp(end, receiver);
    end.send(...counting(200).map((n) => numbered(receiver, end, n, n % 2 === 0 ? 1066 : 8228)));
    expect(end.port.statistics.sendStalls).toBeGreaterThan(0);
    expect((await receiver.receiveCount(200)).map(numberOf)).toEqual(counting(200));
    expect(end.port.statistics).toMatchObject({ sentFrames: 200, sendFailures: 0 });
  });

  test("that a small send buffer holds up follow by themselves", async () => {
    const [name, far] = place.slowPair("10mbit");
    const end = place.station(name, { sendBufferBytes: 16_384 });
    const receiver = place.peerStation(far);
    await bothUp(end, receiver);
    end.send(...counting(100).map((n) => numbered(receiver, end, n, 1066)));
    expect(end.port.statistics.sendStalls).toBeGreaterThan(0);
    expect((await receiver.receiveCount(100)).map(numberOf)).toEqual(counting(100));
    // The same again, and this time close has to wait for it.
    end.send(...counting(50).map((n) => numbered(receiver, end, n, 1066)));
    await end.port.close();
    expect((await receiver.receiveCount(50)).map(numberOf)).toEqual(counting(50));
    expect(end.port.statistics).toMatchObject({ sentFrames: 150, sendFailures: 0 });
  });

  test("that close could not get rid of in a second are failures", async () => {
    const [name, far] = place.slowPair("100kbit");
    const arena = new FrameArena(256);
    const end = place.station(name, { sendBufferBytes: 16_384, transmitChunks: 64, arena });
    const receiver = place.peerStation(far);
    await bothUp(end, receiver);
    end.send(...counting(200).map((n) => numbered(receiver, end, n, 1066)));
    await end.port.close();
    expect(arena.freeCount).toBe(256);
    const { sentFrames, sendFailures } = end.port.statistics;
    expect(sentFrames + sendFailures).toBe(200);
    expect(sendFailures).toBeGreaterThan(0);
    const arrived = await receiver.receiveCount(sentFrames);
    expect(arrived.map(numberOf)).toEqual(counting(sentFrames));
    expect(await receiver.receiveCount(1, 500)).toEqual([]);
  });

  test.runIf(hasEthtool)("come in by every queue, and by one that was added later", async () => {
    const [name, peerName] = [uniqueName("va"), uniqueName("vb")];
    place.interfaces.push(name);
    const queues = "numtxqueues 4 numrxqueues 4";
    ip(`link add ${name} ${queues} type veth peer name ${peerName} ${queues}`);
    ip(`link set ${name} up`);
    ip(`link set ${peerName} up`);
    run("ethtool", `-L ${name} rx 2`);
    run("ethtool", `-L ${peerName} tx 2`);
    const end = place.station(name);
    const peer = place.peerStation(peerName);
    await bothUp(end, peer);
    // The kernel sends by the queue of the processor that the sender runs on.
    const sendByEveryQueue = (processors: number): void => {
      for (let processor = 0; processor < processors; processor++) {
        run("taskset", `-p -c ${processor} ${process.pid}`);
        peer.send(...counting(20).map((n) => numbered(end, peer, processor * 20 + n)));
      }
    };
    sendByEveryQueue(2);
    const numbers = (await end.receiveCount(40)).map(numberOf);
    expect(numbers.toSorted((one, other) => one - other)).toEqual(counting(40));
    await end.port.close();

    run("ethtool", `-L ${peerName} tx 1`);
    run("ethtool", `-L ${name} rx 1`);
    const later = place.station(name);
    run("ethtool", `-L ${name} rx 2`);
    run("ethtool", `-L ${peerName} tx 2`);
    const frames: Uint8Array[] = [];
    later.port.onReadable = () => frames.push(...later.receiveAll());
    sendByEveryQueue(2);
    await waitUntil(() => frames.length >= 40, "frames come by both queues");
    const sorted = frames.map(numberOf).toSorted((one, other) => one - other);
    expect(sorted).toEqual(counting(40));
  });
});
