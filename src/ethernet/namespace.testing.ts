import { execFileSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { availableParallelism, networkInterfaces } from "node:os";
import { callLibc, LibcType } from "../system/libc.ts";

/**
 * Tests on real interfaces are files named *.netns.test.ts. scripts/test.sh runs them in a network
 * namespace of their own: `unshare -n` for root, `unshare -rn` for anybody else. They make their
 * interfaces with `ip` (iproute2); the namespace, and all in it, goes away with the process.
 */

/** Addresses that no real network has: link-local, and those for documentation (RFC 5737, 3849). */
const UNREAL_ADDRESS = /^(fe80:|192\.0\.2\.|2001:db8:)/;

/** Whether nobody is reached from here, so that the tests can do what they like. */
export const isIsolated = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .every(({ internal, address }) => internal || UNREAL_ADDRESS.test(address));

if (!isIsolated) {
  console.warn(
    "tests on real interfaces are left out: run them under 'unshare -rn' (see Makefile)",
  );
}

/** Whether TAP interfaces can be made here: not every machine lets everybody open the device. */
export const canMakeTap = isIsolated && mayOpen("/dev/net/tun");

if (isIsolated && !canMakeTap) {
  console.warn(
    "tests on TAP interfaces are left out: no permission for /dev/net/tun (run as root)",
  );
}

function mayOpen(device: string): boolean {
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs `ip` with the words of the command line: ip("link set eth0 up"). */
export function ip(words: string): string {
  return run("ip", words);
}

/** For other programs: the sanitizers that this process may run under are not meant for them. */
export const plainEnvironment: NodeJS.ProcessEnv = { ...process.env, LD_PRELOAD: "" };

/** Runs a program with words that need no quoting. @throws Error with what it wrote */
export function run(program: string, words: string): string {
  return execFileSync(program, words.split(/\s+/).filter(Boolean), {
    encoding: "utf8",
    env: plainEnvironment,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/**
 * Keeps this thread on one processor. A frame passes through the queue of the processor that sent
 * it, so a thread that moves in between can see its frames overtake each other: the kernel's doing,
 * which tests of our own order must not depend on.
 */
function stayOnOneProcessor(): void {
  const mask = Buffer.alloc(128);
  const processor = process.pid % availableParallelism();
  mask[processor >> 3] = 1 << (processor & 7);
  // Where this fails (a container bound to other processors) the tests run all the same.
  callLibc(
    "sched_setaffinity",
    [LibcType.int, 0],
    [LibcType.long, mask.length],
    [LibcType.buffer, mask],
  );
}

if (isIsolated) stayOnOneProcessor();

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
