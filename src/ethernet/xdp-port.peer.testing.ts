import { createHash } from "node:crypto";
import { connect } from "node:net";
import { FrameArena } from "../arena/frame-arena.ts";
import { assemble, drop, accept, jumpIfEqual, label, loadByte } from "./bpf.ts";
import { findInterface } from "./link-monitor.ts";
import { ip } from "./namespace.testing.ts";
import { openPacketPort } from "./packet-port.ts";
import { ethernetFrame, waitUntil, WireTester } from "./wire.testing.ts";

/**
 * The other machine: it keeps frames of 0x88a2 going to and fro, and meanwhile asks for echoes
 * (ICMP) and sends and receives octets by TCP. It is started in a namespace of its own, waits for
 * the interface, and writes what it has seen as one line of JSON.
 */
const [interfaceName = "", addresses = "{}"] = process.argv.slice(2);
const { mac, own, other, tcpPort, octets } = JSON.parse(addresses) as {
  mac: number[];
  own: string;
  other: string;
  tcpPort: number;
  octets: number;
};

const ETHER_TYPE = 0x88a2;
const IPV4 = 0x0800;
const WINDOW = 32;
const ECHOES = 50;
const LEAST_FRAMES = 1000;

await waitUntil(() => findInterface(interfaceName) !== undefined, "the interface comes");
ip(`link set lo up`);
ip(`address add ${own}/24 dev ${interfaceName}`);
ip(`link set ${interfaceName} up`);

const server = Uint8Array.from(mac);
const load = open(ETHER_TYPE);
await waitUntil(() => load.port.link.up, "the link is up");
const ping = open(IPV4, onlyEchoReplies());

const exchanged = exchangeForever(load);
const [echoes, digest] = await Promise.all([countEchoes(), transfer()]);
await waitUntil(() => exchanged() > LEAST_FRAMES, "the frames keep going");
process.stdout.write(`${JSON.stringify({ echoes, digest, frames: exchanged() })}\n`);
process.exit(0);

function open(etherType: number, filter?: Uint8Array): WireTester {
  const arena = new FrameArena(1024);
  const options = { interfaceName, etherType, arena, ...(filter && { filter }) };
  return new WireTester(openPacketPort(options), arena);
}

/** Keeps a window of frames with the server, which returns each. @returns how many came back */
function exchangeForever(station: WireTester): () => number {
  const frame = ethernetFrame(server, station.port.link.mac, ETHER_TYPE, new Uint8Array(1024));
  let count = 0;
  station.port.onReadable = () => {
    const returned = station.receiveAll().length;
    count += returned;
    station.send(...Array.from({ length: returned }, () => frame));
  };
  station.send(...Array.from({ length: WINDOW }, () => frame));
  return () => count;
}

/** Asks for an echo every few milliseconds. @returns how many came */
async function countEchoes(): Promise<number> {
  const replies = new Set<number>();
  const takeReplies = (): void => {
    for (const frame of ping.receiveAll()) replies.add((frame[40] << 8) | frame[41]);
  };
  for (let sequence = 0; sequence < ECHOES; sequence++) {
    ping.send(ethernetFrame(server, ping.port.link.mac, IPV4, echoRequest(sequence)));
    await new Promise((resolve) => setTimeout(resolve, 10));
    takeReplies();
  }
  await waitUntil(() => {
    takeReplies();
    return replies.size === ECHOES;
  }, "every echo comes");
  return replies.size;
}

/** Sends octets to the server and ends; the server answers as many, and the digest is of those. */
async function transfer(): Promise<string> {
  const socket = connect(tcpPort, other);
  const hash = createHash("sha256");
  socket.end(Buffer.alloc(octets, 7));
  for await (const chunk of socket) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** An IPv4 packet (RFC 791) with an ICMP echo request (RFC 792). */
function echoRequest(sequence: number): Uint8Array {
  const packet = new Uint8Array(20 + 8 + 56);
  const view = new DataView(packet.buffer);
  packet.set([0x45, 0, 0, packet.length, 0, 0, 0, 0, 64, 1]);
  packet.set(own.split(".").map(Number), 12);
  packet.set(other.split(".").map(Number), 16);
  view.setUint16(10, checksum(packet.subarray(0, 20)));
  packet[20] = 8;
  view.setUint16(24, 0xae0e);
  view.setUint16(26, sequence);
  view.setUint16(22, checksum(packet.subarray(20)));
  return packet;
}

/** RFC 1071 */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at] << 8) | bytes[at + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function onlyEchoReplies(): Uint8Array {
  const [PROTOCOL, ICMP, TYPE, ECHO_REPLY] = [23, 1, 34, 0];
  return assemble([
    loadByte(PROTOCOL),
    jumpIfEqual(ICMP, undefined, "drop"),
    loadByte(TYPE),
    jumpIfEqual(ECHO_REPLY, undefined, "drop"),
    accept(),
    label("drop"),
    drop(),
  ]);
}
