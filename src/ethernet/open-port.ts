import { createHash } from "node:crypto";
import type { FrameArena } from "../arena/frame-arena.ts";
import { UsageError } from "../errors.ts";
import type { Log } from "../log/log.ts";
import { INTERFACE_NAME_LIMIT } from "../system/tap-device.ts";
import { type EthernetPort, STALE_AFTER_MS } from "./ethernet-port.ts";
import { type InterfaceState, listInterfaces } from "./link-monitor.ts";
import { formatMac } from "./mac-address.ts";
import { packetFilter } from "./packet-filter.ts";
import { openPacketPort } from "./packet-port.ts";
import { openTapPort } from "./tap-port.ts";
import { openXdpPort } from "./xdp-port.ts";

/** ATA over Ethernet (AoEr11 §2). */
export const AOE_ETHER_TYPE = 0x88a2;

export type PortKind = "auto" | "packet" | "tap" | "xdp";

const NO_SHARED_XDP =
  "AF_XDP is not to be had with several workers, because each queue of an interface has one " +
  "socket: serving through raw sockets";

export interface OpenPortOptions {
  /** A NIC, a bridge, a NIC that is a port of a bridge, or (for "tap") a TAP interface. */
  name: string;
  kind: PortKind;
  arena: FrameArena;
  log?: Pick<Log, "info" | "warn"> | undefined;
  /** Socket filter of a raw socket (struct sock_filter[]), by default that of `packetFilter()`. */
  filter?: Uint8Array;
  /** Other threads of this server open the interface as well; `filter` says whose frames are whose. */
  isShared?: boolean;
}

/**
 * Opens the port that fits the interface: a raw socket on a NIC, a TAP interface on a bridge (also
 * when the name is that of a NIC under the bridge, whose frames the bridge takes); the reasons are
 * in docs/adr/0002-tap-and-bridges.md. AF_XDP sockets are opened only where they are asked for
 * (docs/xdp.md), and where they cannot be had it is a raw socket after all.
 * @throws UsageError when the interface is missing or of no use, or without permission
 */
export async function openPort(options: OpenPortOptions): Promise<EthernetPort> {
  const { name, kind, arena, log, filter = packetFilter(), isShared = false } = options;
  const interfaces = listInterfaces();
  const state = interfaces.find((candidate) => candidate.name === name);
  const bridge = state === undefined ? undefined : bridgeOf(state, interfaces);
  const usesTap = kind === "tap" || (kind === "auto" && bridge !== undefined);
  if (usesTap && isShared) throw oneOwner(name);
  if (!usesTap) {
    if (state === undefined) throw missing(name, interfaces);
    refuseUnusable(state, bridge, interfaces);
    const raw = {
      interfaceName: name,
      etherType: AOE_ETHER_TYPE,
      arena,
      filter,
      oldestFrameMs: STALE_AFTER_MS,
      ring: true,
      log,
    };
    if (kind === "xdp" && !isShared) return openXdpPort(raw);
    if (kind === "xdp") log?.warn({ interface: name }, NO_SHARED_XDP);
    const port = openPacketPort(raw);
    log?.info({ interface: name, mac: formatMac(port.link.mac) }, "serving through a raw socket");
    return port;
  }
  if (bridge === undefined && state !== undefined && state.kind !== "tun") throw notBridged(name);
  const port = openTapPort({
    name: bridge === undefined ? name : tapName(bridge.name),
    bridge: bridge?.name,
    portName: name,
    etherType: AOE_ETHER_TYPE,
    arena,
  });
  log?.info(
    { interface: name, tap: port.tapName, bridge: bridge?.name, mac: formatMac(port.link.mac) },
    "serving through a TAP interface",
  );
  return port;
}

function bridgeOf(
  state: InterfaceState,
  interfaces: readonly InterfaceState[],
): InterfaceState | undefined {
  if (state.kind === "bridge") return state;
  if (state.slaveKind !== "bridge") return undefined;
  return interfaces.find((candidate) => candidate.index === state.masterIndex);
}

function refuseUnusable(
  state: InterfaceState,
  bridge: InterfaceState | undefined,
  interfaces: readonly InterfaceState[],
): void {
  const { name } = state;
  if (state.loopback) {
    throw new UsageError(
      `'${name}' is the loopback interface, which has no Ethernet addresses: to try aoed on one ` +
        `machine, make a pair (ip link add aoe0 type veth peer name aoe1) and serve on one end`,
    );
  }
  if (state.mac.length === 0) throw new UsageError(`'${name}' is not an Ethernet interface`);
  if (bridge !== undefined && bridge !== state) {
    throw new UsageError(
      `'${name}' is a port of the bridge '${bridge.name}', which takes its frames: ` +
        `use port "auto" or "tap", or the interface '${bridge.name}'`,
    );
  }
  if (state.slaveKind === "bond" || state.slaveKind === "team") {
    const master = interfaces.find((candidate) => candidate.index === state.masterIndex);
    throw new UsageError(
      `'${name}' is a part of '${master?.name ?? state.slaveKind}', which takes its frames: ` +
        `serve on that interface`,
    );
  }
}

function missing(name: string, interfaces: readonly InterfaceState[]): UsageError {
  const usable = interfaces.filter((state) => !state.loopback && state.mac.length > 0);
  const names = usable.map((state) => state.name).toSorted();
  const list = names.length === 0 ? "there is none" : `there is ${names.join(", ")}`;
  return new UsageError(`there is no network interface '${name}': ${list}`);
}

function notBridged(name: string): UsageError {
  return new UsageError(
    `'${name}' is neither a bridge nor a port of one: use port "packet", ` +
      `or make a bridge with scripts/bridge.sh add br0 ${name}`,
  );
}

function oneOwner(name: string): UsageError {
  return new UsageError(
    `'${name}' is served through a TAP interface, which one thread alone can own: ` +
      `set workers = 1, or serve on a NIC that is in no bridge`,
  );
}

/** "aoed-br0"; a name that would be too long is told apart by a digest. */
export function tapName(bridge: string): string {
  const name = `aoed-${bridge}`;
  if (Buffer.byteLength(name) <= INTERFACE_NAME_LIMIT) return name;
  return `aoed-${createHash("sha256").update(bridge).digest("hex").slice(0, 10)}`;
}
