import { afterEach, describe, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import type { EthernetPort } from "./ethernet-port.ts";
import { ethernetPortCompliance } from "./ethernet-port.compliance.ts";
import { findInterface } from "./link-monitor.ts";
import { BROADCAST_MAC } from "./mac-address.ts";
import { canMakeTap, ip, makePair, run, uniqueName } from "./namespace.testing.ts";
import { openPacketPort } from "./packet-port.ts";
import { openTapPort, type TapPort, type TapPortOptions } from "./tap-port.ts";
import { ethernetFrame, waitUntil, WireTester } from "./wire.testing.ts";

const ETHER_TYPE = 0x88a2;

/** A bridge over one end of a veth pair. */
function makeBridge(mtuBytes = 1500): { bridge: string; nic: string; peerName: string } {
  const [nic, peerName] = makePair(mtuBytes);
  const bridge = uniqueName("br");
  ip(`link add ${bridge} type bridge`);
  ip(`link set ${nic} master ${bridge}`);
  ip(`link set ${bridge} up`);
  return { bridge, nic, peerName };
}

function openPeer(peerName: string): WireTester {
  const arena = new FrameArena(4096);
  return new WireTester(
    openPacketPort({ interfaceName: peerName, etherType: ETHER_TYPE, arena }),
    arena,
  );
}

describe.runIf(canMakeTap)("on a bridge", () => {
  ethernetPortCompliance({
    name: "a TAP port",
    filters: true,
    connect(arena, mtuBytes) {
      const { bridge, nic, peerName } = makeBridge(mtuBytes);
      const port = openTapPort({
        name: uniqueName("tp"),
        bridge,
        etherType: ETHER_TYPE,
        arena,
        mtuBytes: 12_000,
      });
      const peer = openPeer(peerName);
      return Promise.resolve({
        port,
        arena,
        peer,
        isConnected: () => findInterface(nic)?.isForwarding ?? false,
        setMtu: (mtu) => ip(`link set ${nic} mtu ${mtu}`),
        setUp: (up) => ip(`link set ${bridge} ${up ? "up" : "down"}`),
        setMac: undefined,
        async close() {
          await port.close();
          await peer.port.close();
          ip(`link delete ${nic}`);
          ip(`link delete ${bridge}`);
        },
      });
    },
  });
});

const ports: EthernetPort[] = [];
const interfaces: string[] = [];

function open(options: Partial<TapPortOptions> & { name: string }): TapPort {
  const arena = new FrameArena(64);
  const port = openTapPort({ etherType: ETHER_TYPE, arena, ...options });
  ports.push(port);
  return port;
}

afterEach(async () => {
  for (const port of ports.splice(0)) await port.close();
  for (const name of interfaces.splice(0)) {
    try {
      ip(`link delete ${name}`);
    } catch {
      // The test has deleted it.
    }
  }
});

/** Waits until frames pass between the port and the peer of the NIC. */
const connected = (port: EthernetPort, peer: WireTester, nic: string): Promise<void> =>
  waitUntil(
    () => port.link.up && peer.port.link.up && (findInterface(nic)?.isForwarding ?? false),
    "both ends are up",
  );

const master = (name: string): number | undefined => findInterface(name)?.masterIndex;

describe.runIf(canMakeTap)("a TAP port", () => {
  test("joins its bridge without changing the bridge's MTU or address, and goes with the process", async () => {
    const { bridge, nic } = makeBridge(4000);
    interfaces.push(nic, bridge);
    // As high as the kernel's random addresses go: the TAP's must still be higher.
    ip(`link set ${nic} address fe:ff:fe:ff:ff:ff`);
    const before = findInterface(bridge);
    const name = uniqueName("tp");
    const port = open({ name, bridge });
    await waitUntil(() => port.link.up, "the port is up");
    const tap = findInterface(name);
    expect(tap?.masterIndex).toBe(before?.index);
    expect(tap?.mac).not.toEqual(port.link.mac);
    expect(findInterface(bridge)?.mac).toEqual(before?.mac);
    expect(findInterface(bridge)?.mtuBytes).toBe(4000);
    expect(port.link.mtuBytes).toBe(4000);
    await port.close();
    expect(findInterface(name)).toBeUndefined();
  });

  test("has the same address after a restart, and another on another bridge", async () => {
    const { bridge, nic } = makeBridge();
    const other = makeBridge();
    interfaces.push(nic, bridge, other.nic, other.bridge);
    const first = open({ name: uniqueName("tp"), bridge });
    const { mac } = first.link;
    await first.close();
    expect(open({ name: uniqueName("tp"), bridge }).link.mac).toEqual(mac);
    expect(open({ name: uniqueName("tp"), bridge: other.bridge }).link.mac).not.toEqual(mac);
    expect(mac[0] & 0x03).toBe(0x02);
  });

  test("hears what is sent to its address, whatever that is", async () => {
    const { bridge, nic, peerName } = makeBridge();
    interfaces.push(nic, bridge);
    const arena = new FrameArena(64);
    const mac = Uint8Array.of(0xfe, 1, 2, 3, 4, 5);
    const port = open({ name: uniqueName("tp"), bridge, arena, mac });
    const peer = openPeer(peerName);
    ports.push(peer.port);
    await connected(port, peer, nic);
    peer.send(ethernetFrame(mac, peer.port.link.mac, ETHER_TYPE, new Uint8Array(50)));
    expect(await new WireTester(port, arena).receiveCount(1)).toHaveLength(1);
  });

  test("counts what a bridge floods to it for others", async () => {
    const { bridge, nic, peerName } = makeBridge();
    interfaces.push(nic, bridge);
    const arena = new FrameArena(64);
    const port = open({ name: uniqueName("tp"), bridge, arena });
    const station = new WireTester(port, arena);
    const peer = openPeer(peerName);
    ports.push(peer.port);
    await connected(port, peer, nic);
    const from = peer.port.link.mac;
    const before = port.statistics.foreignFrames;
    for (let number = 0; number < 100; number++) {
      peer.send(ethernetFrame(BROADCAST_MAC, from, 0x88a3, new Uint8Array(50)));
    }
    peer.send(ethernetFrame(port.link.mac, from, ETHER_TYPE, new Uint8Array(50)));
    expect(await station.receiveCount(1)).toHaveLength(1);
    expect(port.statistics.foreignFrames - before).toBeGreaterThanOrEqual(100);
    expect(arena.freeCount).toBe(64);
  });

  test("counts what its interface dropped because nobody received", async () => {
    const { bridge, nic, peerName } = makeBridge();
    interfaces.push(nic, bridge);
    const arena = new FrameArena(64);
    const name = uniqueName("tp");
    const port = open({ name, bridge, arena });
    ip(`link set ${name} txqueuelen 50`);
    const peer = openPeer(peerName);
    ports.push(peer.port);
    await connected(port, peer, nic);
    for (let number = 0; number < 300; number++) {
      peer.send(ethernetFrame(port.link.mac, peer.port.link.mac, ETHER_TYPE, new Uint8Array(50)));
    }
    await waitUntil(() => port.statistics.receiveOverruns > 0, "some are dropped");
    const station = new WireTester(port, arena);
    let received = 0;
    await waitUntil(() => {
      received += station.receiveAll().length;
      const { receiveOverruns, foreignFrames } = port.statistics;
      return received + receiveOverruns + foreignFrames >= 300;
    }, "all are received or counted");
    expect(received).toBeGreaterThan(0);
  });

  test("waits for a slow NIC under the bridge and loses nothing", async () => {
    const { bridge, nic, peerName } = makeBridge();
    interfaces.push(nic, bridge);
    // A slow wire behind the kernel's usual queue of a thousand frames.
    run("tc", `qdisc add dev ${nic} root handle 1: tbf rate 20mbit burst 100000 limit 10000000`);
    run("tc", `qdisc add dev ${nic} parent 1:1 pfifo limit 1000`);
    const arena = new FrameArena(4096);
    const port = open({ name: uniqueName("tp"), bridge, arena });
    const peer = openPeer(peerName);
    ports.push(peer.port);
    await connected(port, peer, nic);
    const { mac } = port.link;
    peer.send(ethernetFrame(mac, peer.port.link.mac, ETHER_TYPE, new Uint8Array(50)));
    const station = new WireTester(port, arena);
    await station.receiveCount(1);
    const frames = Array.from({ length: 2000 }, (_, number) =>
      ethernetFrame(peer.port.link.mac, mac, ETHER_TYPE, new Uint8Array(1052).fill(number)),
    );
    station.send(...frames);
    expect(port.statistics.sendStalls).toBeGreaterThan(0);
    expect(await peer.receiveCount(2000)).toEqual(frames);
    expect(port.statistics).toMatchObject({ sentFrames: 2000, sendFailures: 0 });
  });

  test("is up only when its bridge passes frames to it", async () => {
    const { bridge, nic } = makeBridge();
    interfaces.push(nic, bridge);
    const name = uniqueName("tp");
    const port = open({ name, bridge });
    await waitUntil(() => port.link.up, "the port is up");
    // As spanning tree does with a port that would close a loop, and while it is not sure of one.
    run("bridge", `link set dev ${name} state 0`);
    await waitUntil(() => !port.link.up, "the port is down");
    run("bridge", `link set dev ${name} state 3`);
    await waitUntil(() => port.link.up, "the port is up again");
  });

  test("joins again when its bridge was deleted and another has its name", async () => {
    const { bridge, nic, peerName } = makeBridge();
    interfaces.push(nic, bridge);
    const arena = new FrameArena(64);
    const port = open({ name: uniqueName("tp"), bridge, arena });
    const peer = openPeer(peerName);
    ports.push(peer.port);
    await waitUntil(() => port.link.up, "the port is up");
    ip(`link delete ${bridge}`);
    await waitUntil(() => !port.link.up, "the port is down");
    ip(`link add ${bridge} type bridge`);
    ip(`link set ${nic} master ${bridge}`);
    ip(`link set ${bridge} up`);
    await connected(port, peer, nic);
    peer.send(ethernetFrame(port.link.mac, peer.port.link.mac, ETHER_TYPE, new Uint8Array(50)));
    expect(await new WireTester(port, arena).receiveCount(1)).toHaveLength(1);
  });

  test("makes its interface again when somebody deletes it", async () => {
    const { bridge, nic, peerName } = makeBridge();
    interfaces.push(nic, bridge);
    const arena = new FrameArena(64);
    const name = uniqueName("tp");
    const port = open({ name, bridge, arena });
    const peer = openPeer(peerName);
    ports.push(peer.port);
    port.onReadable = () => {};
    await connected(port, peer, nic);
    ip(`link delete ${name}`);
    await waitUntil(() => !port.link.up, "the port is down");
    await waitUntil(() => port.link.up, "the port is up again");
    expect(master(name)).toBe(findInterface(bridge)?.index);
    port.onReadable = undefined;
    peer.send(ethernetFrame(port.link.mac, peer.port.link.mac, ETHER_TYPE, new Uint8Array(50)));
    expect(await new WireTester(port, arena).receiveCount(1)).toHaveLength(1);
  });

  test("attaches to an interface that exists and leaves it there", async () => {
    const name = uniqueName("tp");
    ip(`tuntap add ${name} mode tap`);
    interfaces.push(name);
    const port = open({ name });
    await waitUntil(() => port.link.up, "the port is up");
    await port.close();
    expect(findInterface(name)).toBeDefined();
  });

  test("says what is wrong in one line", () => {
    const [nic] = makePair();
    interfaces.push(nic);
    expect(() => open({ name: uniqueName("tp"), bridge: nic })).toThrow(`no bridge '${nic}'`);
    expect(() => open({ name: nic })).toThrow(`'${nic}' is not a TAP interface`);
    const name = uniqueName("tp");
    open({ name });
    expect(() => open({ name })).toThrow(`'${name}' is in use`);
  });
});
