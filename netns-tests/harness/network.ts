import { execFileSync } from "node:child_process";
import { recordHostResource } from "./host-resources.ts";
import { Child } from "./child.ts";
import { helperProgram } from "./run-folder.ts";

/** A network namespace of one test, deleted with it and with every interface in it. */
export class Namespace {
  readonly name: string;

  constructor(folder: string, name: string) {
    this.name = name;
    recordHostResource(folder, { kind: "namespace", name });
    ip("netns", "add", name);
    this.ip("link", "set", "lo", "up");
    // Nothing but what the test sends shall be on the wire.
    this.#shell("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 || true");
    this.#shell("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6 || true");
  }

  ip(...args: string[]): string {
    return ip("-n", this.name, ...args);
  }

  /** The command line that runs a program in this namespace, in the same process. */
  command(...command: string[]): string[] {
    return ["ip", "netns", "exec", this.name, ...command];
  }

  #shell(script: string): void {
    const [program = "", ...args] = this.command("sh", "-c", script);
    execFileSync(program, args, { stdio: ["ignore", "ignore", "ignore"] });
  }
}

export type PortKind = "packet" | "tap";
/** How the client meets the segment: a TAP for a guest, a veth into the host's own namespace. */
export type Attachment = "tap" | "veth";

export interface SegmentOptions {
  /** 0, 1, …: a test can have several segments. */
  index: number;
  mtuBytes: number;
  port: PortKind;
  attachment: Attachment;
  relay?: RelayOptions;
}

/** What the segment does to frames, in both directions; rates in frames of a thousand. */
export interface RelayOptions {
  seed: number;
  lossPerMille: number;
  duplicatePerMille: number;
  reorderPerMille: number;
}

/** One Ethernet segment with a server at one end and a client at the other. */
export interface Segment {
  mtuBytes: number;
  port: PortKind;
  server: Namespace;
  /** The interface that the server is given. */
  serverInterface: string;
  client: Namespace;
  /** Where the client attaches, in `client`: the name of a TAP, or of a veth's far end. */
  clientInterface: string;
  /** In the initial namespace; only with attachment "veth". */
  hostInterface: string;
  relay: Child | undefined;
}

/**
 * ```
 * packet:  server namespace          client namespace
 *          server0 ═══ veth ═══ far0 ── bridge0 ── guest0 (TAP or veth) ── client
 * relay:   server0 ═══ veth ═══ far0 ── frame-relay ── guest0            ── client
 * tap:     the server makes its TAP ── bridge0 ── guest0                 ── client
 * ```
 */
export function layOutSegment(
  folder: string,
  { server, client }: { server: Namespace; client: Namespace },
  options: SegmentOptions,
): Segment {
  const { index, mtuBytes, port, relay } = options;
  const place = port === "tap" ? server : client;
  const guest = `guest${index}`;
  const hostInterface = `aoe${process.pid % 10_000_000}x${index}`;
  if (options.attachment === "tap") {
    place.ip("tuntap", "add", guest, "mode", "tap");
  } else {
    place.ip("link", "add", guest, "type", "veth", "peer", "name", hostInterface, "netns", "1");
    ip("link", "set", hostInterface, "mtu", String(mtuBytes), "up");
  }
  const segment: Segment = {
    mtuBytes,
    port,
    server,
    serverInterface: port === "tap" ? `bridge${index}` : `server${index}`,
    client: place,
    clientInterface: guest,
    hostInterface,
    relay: undefined,
  };
  place.ip("link", "set", guest, "mtu", String(mtuBytes), "up");
  if (port === "tap") {
    addBridge(server, `bridge${index}`, mtuBytes, [guest]);
    return segment;
  }
  if (relay === undefined) addBridge(client, `bridge${index}`, mtuBytes, [guest]);
  const far = plugServer(segment, relay === undefined ? `bridge${index}` : undefined);
  if (relay !== undefined) segment.relay = startRelay(folder, client, far, guest, relay);
  return segment;
}

/** Makes the server's interface and the cable to the bridge. @returns the cable's other end */
function plugServer(segment: Segment, bridge: string | undefined): string {
  const { server, client, serverInterface, mtuBytes } = segment;
  const far = serverInterface.replace("server", "far");
  const cable = ["type", "veth", "peer", "name", serverInterface, "netns", server.name];
  client.ip("link", "add", far, ...cable);
  if (bridge !== undefined) client.ip("link", "set", far, "master", bridge);
  client.ip("link", "set", far, "mtu", String(mtuBytes), "up");
  // Last: what the server sends when its link comes up shall arrive.
  server.ip("link", "set", serverInterface, "mtu", String(mtuBytes), "up");
  return far;
}

/** Takes the server's interface away, as a card that is pulled out. For a packet port. */
export function unplugServer({ server, serverInterface }: Segment): void {
  server.ip("link", "del", serverInterface);
}

/** An interface of the same name comes back, with another index and another MAC. */
export function replugServer(segment: Segment): void {
  plugServer(segment, segment.clientInterface.replace("guest", "bridge"));
}

/** Throws unless the server has put a TAP of its own on the segment's bridge. */
export function expectServerTap({ server, serverInterface, clientInterface }: Segment): void {
  const members = server.ip("-o", "link", "show", "master", serverInterface).trim().split("\n");
  const others = members.filter((line) => !line.includes(` ${clientInterface}: `));
  if (members.length !== 2 || others.length !== 1) {
    throw new Error(`the server has no TAP on ${serverInterface}, only: ${members.join("\n")}`);
  }
}

function addBridge(place: Namespace, name: string, mtuBytes: number, members: string[]): void {
  place.ip("link", "add", name, "type", "bridge");
  for (const member of members) place.ip("link", "set", member, "master", name);
  place.ip("link", "set", name, "mtu", String(mtuBytes), "up");
}

function startRelay(
  folder: string,
  place: Namespace,
  left: string,
  right: string,
  { seed, lossPerMille, duplicatePerMille, reorderPerMille }: RelayOptions,
): Child {
  const rates = [seed, lossPerMille, duplicatePerMille, reorderPerMille].map(String);
  const command = place.command(helperProgram("frame-relay"), left, right, ...rates);
  return new Child(folder, command, `${folder}/relay.log`);
}

function ip(...args: string[]): string {
  return execFileSync("ip", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
