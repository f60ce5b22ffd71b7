import { execFileSync } from "node:child_process";
import { listInterfaces } from "./link-monitor.ts";

/**
 * Tests on real interfaces are files named *.netns.test.ts. scripts/test.sh runs them in a network
 * namespace of their own: `unshare -n` for root, `unshare -rn` for anybody else. They make their
 * interfaces with `ip` (iproute2); the namespace, and all in it, goes away with the process.
 */

/** Whether nothing but loopback is up here: such a namespace is nobody's connection. */
export const isIsolated = listInterfaces().every((state) => state.loopback || !state.switchedOn);

if (!isIsolated) {
  console.warn(
    "tests on real interfaces are left out: run them under 'unshare -rn' (see Makefile)",
  );
}

/** Runs `ip` with the words of the command line: ip("link set eth0 up"). */
export function ip(words: string): string {
  return run("ip", words);
}

/** Runs a program with words that need no quoting. @throws Error with what it wrote */
export function run(program: string, words: string): string {
  return execFileSync(program, words.split(/\s+/).filter(Boolean), {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
}

let lastNumber = 0;

/** An interface name that no other test of this process uses. */
export function uniqueName(prefix: string): string {
  lastNumber++;
  return `${prefix}${process.pid % 10_000}x${lastNumber}`;
}

/** Makes a pair of connected interfaces, both up. */
export function makePair(mtuBytes = 1500): [string, string] {
  const one = uniqueName("va");
  const other = uniqueName("vb");
  ip(`link add ${one} mtu ${mtuBytes} type veth peer name ${other} mtu ${mtuBytes}`);
  ip(`link set ${one} up`);
  ip(`link set ${other} up`);
  return [one, other];
}
