import { readFileSync } from "node:fs";

/**
 * The Ethernet interfaces of this network namespace, without the loopback. From /proc, which
 * follows the namespace; /sys shows the one in which it was mounted.
 */
export function interfaceNames(): string[] {
  const lines = readFileSync("/proc/self/net/dev", "utf8").split("\n").slice(2);
  return lines
    .map((line) => /^\s*([^\s]+):\s*\d/.exec(line)?.[1])
    .filter((name) => name !== undefined && name !== "lo") as string[];
}

/** For a message: "this machine has eth0, eth1". */
export function listInterfaces(names = interfaceNames()): string {
  return names.length === 0
    ? "this network namespace has none but the loopback"
    : `this machine has ${names.join(", ")}`;
}
