import { expect } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { ip, isIsolated, makePair, run, uniqueName } from "./namespace.testing.ts";
import { openPacketPort, type PacketPort } from "./packet-port.ts";
import { ethernetFrame, waitUntil, WireTester } from "./wire.testing.ts";
import { openXdpPort, XdpPort, type XdpPortOptions } from "./xdp-port.ts";

export const ETHER_TYPE = 0x88a2;

type PortOptions = Partial<Omit<XdpPortOptions, "log">>;

/** What a port wrote to its log: the text of each line, with the reason if there was one. */
export class Lines {
  readonly lines: string[] = [];
  readonly log = { info: this.#note.bind(this), warn: this.#note.bind(this) };

  #note(details: unknown, text?: string): void {
    const { reason } = details as { reason?: string };
    this.lines.push(reason === undefined ? `${text}` : `${text}: ${reason}`);
  }

  get last(): string {
    return this.lines.at(-1) ?? "";
  }
}

/** Opens an XDP port for frames of 0x88a2, or what there is instead. */
export function openPort(
  interfaceName: string,
  options: PortOptions = {},
  lines = new Lines(),
): XdpPort | PacketPort {
  const arena = options.arena ?? new FrameArena(4096);
  const log = lines.log as unknown as NonNullable<XdpPortOptions["log"]>;
  return openXdpPort({ interfaceName, etherType: ETHER_TYPE, ...options, arena, log });
}

/** "native" or "generic" for the XDP program of an interface, undefined when it has none. */
export function programOn(interfaceName: string): string | undefined {
  const modes: Record<number, string> = { 1: "native", 2: "generic", 4: "several" };
  const [link] = JSON.parse(ip(`-j -d link show ${interfaceName}`)) as { xdp?: { mode: number } }[];
  return link?.xdp && (modes[link.xdp.mode] ?? String(link.xdp.mode));
}

/** Whether XDP ports can be opened here; not every kernel and container lets one. */
export async function canOpenXdpPorts(): Promise<boolean> {
  if (!isIsolated) return false;
  const [name] = makePair();
  const lines = new Lines();
  const port = openPort(name, { arena: new FrameArena(8) }, lines);
  if (!(port instanceof XdpPort)) console.warn(`tests of AF_XDP are left out: ${lines.last}`);
  await port.close();
  ip(`link delete ${name}`);
  return port instanceof XdpPort;
}

/** Whether queues and offloads can be changed here. */
export const hasEthtool = canRun("ethtool", "--version");

if (isIsolated && !hasEthtool) {
  console.warn("tests of receive queues and VLANs are left out: install ethtool");
}

function canRun(program: string, words: string): boolean {
  try {
    run(program, words);
    return true;
  } catch {
    return false;
  }
}

/** A station with a packet port, for the other end of the wire. */
export function openPeer(interfaceName: string): WireTester {
  const arena = new FrameArena(4096);
  return new WireTester(openPacketPort({ interfaceName, etherType: ETHER_TYPE, arena }), arena);
}

/** Interfaces and stations of a test. */
export class Place {
  readonly interfaces: string[] = [];
  readonly #stations: WireTester[] = [];

  pair(mtuBytes = 1500): [string, string] {
    const names = makePair(mtuBytes);
    this.interfaces.push(names[0]);
    return names;
  }

  /** Two interfaces with a bridge between them that lets frames through at a rate of tc's tbf. */
  slowPair(rate: string, mtuBytes = 1500): [string, string] {
    const [name, near] = this.pair(mtuBytes);
    const [slow, far] = this.pair(mtuBytes);
    const bridge = uniqueName("br");
    this.interfaces.push(bridge);
    ip(`link add ${bridge} type bridge`);
    for (const member of [near, slow]) ip(`link set ${member} master ${bridge}`);
    ip(`link set ${bridge} up`);
    // What is sent counts as under way until this queue lets it go.
    run("tc", `qdisc add dev ${slow} root tbf rate ${rate} burst 20000 limit 10000000`);
    return [name, far];
  }

  /** A station with an XDP port. */
  station(interfaceName: string, options: PortOptions = {}, lines = new Lines()): WireTester {
    const arena = options.arena ?? new FrameArena(4096);
    const station = new WireTester(openPort(interfaceName, { ...options, arena }, lines), arena);
    this.#stations.push(station);
    return station;
  }

  peerStation(interfaceName: string): WireTester {
    const station = openPeer(interfaceName);
    this.#stations.push(station);
    return station;
  }

  async clear(): Promise<void> {
    for (const { port } of this.#stations.splice(0)) await port.close();
    for (const name of this.interfaces.splice(0)) {
      try {
        ip(`link delete ${name}`);
      } catch {
        // The test has deleted it.
      }
    }
  }
}

export function numbered(
  to: WireTester,
  from: WireTester,
  number: number,
  lengthBytes = 100,
): Uint8Array {
  const payload = new Uint8Array(lengthBytes - 14);
  new DataView(payload.buffer).setUint32(0, number);
  return ethernetFrame(to.port.link.mac, from.port.link.mac, ETHER_TYPE, payload);
}

export const numberOf = (frame: Uint8Array): number => new DataView(frame.buffer).getUint32(14);

export const counting = (count: number): number[] =>
  Array.from({ length: count }, (_, index) => index);

export const bothUp = (...ends: WireTester[]): Promise<void> =>
  waitUntil(() => ends.every((end) => end.port.link.up), "both ends are up");

/** Waits for this frame; others from before may come first. */
async function receiveNumber(
  station: WireTester,
  number: number,
  lengthBytes: number,
): Promise<void> {
  let frame: Uint8Array | undefined;
  await waitUntil(() => {
    frame ??= station.receiveAll().find((each) => numberOf(each) === number);
    return frame !== undefined;
  }, `frame ${number} comes`);
  expect(frame).toHaveLength(lengthBytes);
}

/** Sends a frame each way and expects it at the other end. */
export async function expectExchange(
  end: WireTester,
  peer: WireTester,
  lengthBytes = 100,
): Promise<void> {
  await bothUp(end, peer);
  const number = 1_000_000 + Math.floor(performance.now());
  peer.send(numbered(end, peer, number, lengthBytes));
  await receiveNumber(end, number, lengthBytes);
  end.send(numbered(peer, end, number + 1, lengthBytes));
  await receiveNumber(peer, number + 1, lengthBytes);
}
