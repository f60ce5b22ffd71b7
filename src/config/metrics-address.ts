import { BlockList, isIP } from "node:net";
import type { MetricsAddress } from "./configuration.ts";

const SOCKET_PREFIX = "unix:";

/** "127.0.0.1:9190", "[::1]:9190", "localhost:9190" or "unix:/run/aoed/metrics.sock". */
export function parseMetricsAddress(text: string): MetricsAddress | undefined {
  if (text.startsWith(`${SOCKET_PREFIX}/`) && !text.includes("\0")) {
    return { socketPath: text.slice(SOCKET_PREFIX.length) };
  }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+|localhost)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const host = match[1] ?? (match[2] === "localhost" ? "127.0.0.1" : match[2]);
  const port = Number(match[3]);
  return isIP(host) !== 0 && port >= 1 && port <= 65535 ? { host, port } : undefined;
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8);
loopback.addAddress("::1", "ipv6");

/** Whether only programs of this machine reach it. */
export function isLocal(address: MetricsAddress): boolean {
  if ("socketPath" in address) return true;
  return loopback.check(address.host, isIP(address.host) === 6 ? "ipv6" : "ipv4");
}
