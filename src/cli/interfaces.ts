import { readFileSync } from "node:fs";
import { UsageError } from "../errors.ts";

/**
 * The network interfaces of this network namespace. From /proc, which follows the namespace; /sys
 * shows the one in which it was mounted.
 */
export function interfaceNames(): string[] {
  const lines = readFileSync("/proc/self/net/dev", "utf8").split("\n").slice(2);
  return lines
    .map((line) => /^\s*([^\s]+):\s*\d/.exec(line)?.[1])
    .filter((name) => name !== undefined);
}

/** For a message: "this machine has eth0, eth1"; the loopback is no interface to serve on. */
export function listInterfaces(names = interfaceNames()): string {
  const useful = names.filter((name) => name !== "lo");
  return useful.length === 0
    ? "this network namespace has none but the loopback"
    : `this machine has ${useful.join(", ")}`;
}

/** @throws UsageError that lists those there are, when there is none of this name */
export function checkInterface(name: string, present = interfaceNames()): void {
  if (present.includes(name)) return;
  throw new UsageError(`interface ${name} does not exist; ${listInterfaces(present)}`);
}
