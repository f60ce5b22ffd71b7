import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findInterface } from "./link-monitor.ts";
import { ip, isIsolated, makePair, plainEnvironment, uniqueName } from "./namespace.testing.ts";

const script = fileURLToPath(new URL("../../scripts/bridge.sh", import.meta.url));

/** Runs scripts/bridge.sh. @returns what it printed, with the exit code when that is not 0 */
function bridgeScript(...words: string[]): string {
  try {
    return execFileSync(script, words, {
      encoding: "utf8",
      env: plainEnvironment,
      stdio: "pipe",
    }).trim();
  } catch (error) {
    const { status, stderr } = error as { status: number; stderr: string };
    return `exit ${status}: ${stderr.trim()}`;
  }
}

/** The addresses and routes of an interface, without what differs from one to another. */
function addressing(name: string): string[] {
  const addresses = ip(`-o addr show dev ${name} scope global`);
  const routes = `${ip(`-4 route show table all dev ${name}`)}${ip(`-6 route show dev ${name}`)}`;
  return `${addresses}${routes}`
    .split("\n")
    .filter((line) => line !== "" && !/^(local|broadcast|multicast|anycast|fe80)/.test(line))
    .map((line) =>
      line
        .replace(/^\d+: /, "")
        .replaceAll(name, "NIC")
        .replaceAll(/ +/g, " ")
        .replaceAll(/ linkdown/g, "")
        .replaceAll(/\d+sec/g, "some time")
        .trim(),
    )
    .toSorted();
}

describe.runIf(isIsolated)("scripts/bridge.sh", () => {
  let nic: string;
  let peer: string;
  let bridge: string;

  beforeEach(() => {
    [nic, peer] = makePair(4000);
    bridge = uniqueName("br");
    ip(`addr add 192.0.2.1/24 brd + dev ${nic}`);
    ip(`addr add 192.0.2.9/24 dev ${nic}`);
    ip(`addr add 192.0.2.77/32 dev ${nic} valid_lft 3000 preferred_lft 2000`);
    ip(`addr add 2001:db8::1/64 dev ${nic} nodad`);
    ip(`route add default via 192.0.2.254 dev ${nic} metric 100`);
    ip(`route add 203.0.113.0/24 via 192.0.2.200 src 192.0.2.9 dev ${nic}`);
    ip(`route add 198.51.100.0/24 dev ${nic} table 7`);
    ip(`-6 route add default via 2001:db8::ff dev ${nic}`);
  });

  afterEach(() => {
    ip(`link delete ${nic}`);
    if (findInterface(bridge) !== undefined) ip(`link delete ${bridge}`);
  });

  test("moves every address and route to the bridge, and back", () => {
    const before = addressing(nic);
    expect(before).toHaveLength(10);
    const { mac, mtuBytes } = findInterface(nic) ?? {};
    expect(bridgeScript("add", bridge, nic)).toContain(`${nic} is in ${bridge} now`);
    expect(addressing(bridge)).toEqual(before);
    expect(addressing(nic)).toEqual([]);
    expect(findInterface(bridge)).toMatchObject({ mac, mtuBytes, kind: "bridge" });
    expect(findInterface(nic)?.masterIndex).toBe(findInterface(bridge)?.index);
    expect(bridgeScript("remove", bridge)).toContain(`deleted the bridge ${bridge}`);
    expect(addressing(nic)).toEqual(before);
    expect(findInterface(bridge)).toBeUndefined();
  });

  test("may be repeated", () => {
    bridgeScript("add", bridge, nic);
    const before = addressing(bridge);
    expect(bridgeScript("add", bridge, nic)).toBe(`${nic} is in ${bridge} already`);
    expect(addressing(bridge)).toEqual(before);
    bridgeScript("remove", bridge);
    expect(bridgeScript("remove", bridge)).toBe(`there is no bridge ${bridge}`);
  });

  test("gives all back when the bridge cannot take an address", () => {
    const before = addressing(nic);
    ip(`link add ${bridge} type bridge`);
    writeFileSync(`/proc/sys/net/ipv6/conf/${bridge}/disable_ipv6`, "1");
    expect(bridgeScript("add", bridge, nic)).toContain("all is as it was");
    expect(addressing(nic)).toEqual(before);
    expect(addressing(bridge)).toEqual([]);
    expect(findInterface(nic)?.masterIndex).toBe(0);
  });

  test("refuses what it cannot do, and changes nothing", () => {
    const before = addressing(nic);
    const refusals: [string[], string][] = [
      [["add", bridge, "nothere"], "there is no network interface 'nothere'"],
      [["add", bridge, "lo"], "'lo' is not an Ethernet interface"],
      [["add", peer, nic], `'${peer}' exists and is not a bridge`],
      [["remove", nic], `'${nic}' is not a bridge`],
      [["add", bridge], "usage: bridge.sh add BRIDGE NIC"],
      [[], "usage: bridge.sh add BRIDGE NIC"],
    ];
    for (const [words, reason] of refusals) {
      expect(bridgeScript(...words)).toMatch(new RegExp(`^exit 2: .*${reason}`));
    }
    expect(addressing(nic)).toEqual(before);
    expect(findInterface(bridge)).toBeUndefined();
  });

  test("takes apart only a bridge that is the NIC's alone", () => {
    bridgeScript("add", bridge, nic);
    ip(`link set ${peer} master ${bridge}`);
    expect(bridgeScript("remove", bridge)).toMatch(/^exit 2: .* has several ports/);
    expect(findInterface(nic)?.masterIndex).toBe(findInterface(bridge)?.index);
  });
});
