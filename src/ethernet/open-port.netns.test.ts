import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { findInterface } from "./link-monitor.ts";
import { canMakeTap, ip, isIsolated, makePair, uniqueName } from "./namespace.testing.ts";
import { openPort, type PortKind, tapName } from "./open-port.ts";
import { PacketPort } from "./packet-port.ts";
import { TapPort } from "./tap-port.ts";
import { waitUntil } from "./wire.testing.ts";

const arena = new FrameArena(64);
const open = (name: string, kind: PortKind = "auto") => openPort({ name, kind, arena });

describe.runIf(isIsolated)("the port for an interface", () => {
  let nic: string;
  let peer: string;
  let bridge: string;

  beforeEach(() => {
    [nic, peer] = makePair();
    bridge = uniqueName("br");
    ip(`link add ${bridge} type bridge`);
    ip(`link set ${bridge} up`);
  });

  afterEach(() => {
    ip(`link delete ${nic}`);
    ip(`link delete ${bridge}`);
  });

  test("is a raw socket on a plain NIC", async () => {
    const port = await open(nic);
    expect(port).toBeInstanceOf(PacketPort);
    expect(port.name).toBe(nic);
    await port.close();
  });

  test.runIf(canMakeTap)("is a TAP on a bridge, and on a NIC under a bridge", async () => {
    ip(`link set ${nic} master ${bridge}`);
    for (const name of [bridge, nic]) {
      const port = await open(name);
      expect(port).toBeInstanceOf(TapPort);
      expect(port.name).toBe(name);
      expect(findInterface(tapName(bridge))?.masterIndex).toBe(findInterface(bridge)?.index);
      await waitUntil(() => port.link.up, "the port is up");
      await port.close();
    }
  });

  test.runIf(canMakeTap)("makes the TAP interface that is asked for by name", async () => {
    const name = uniqueName("tp");
    const port = await open(name, "tap");
    expect(findInterface(name)?.kind).toBe("tun");
    await port.close();
  });

  test("is refused with one line that says what to do", async () => {
    ip(`link set ${peer} master ${bridge}`);
    const refusals: [string, PortKind, RegExp][] = [
      ["nothere", "auto", new RegExp(`no network interface 'nothere': there is .*${nic}`)],
      ["lo", "auto", /'lo' is the loopback interface/],
      [nic, "tap", /neither a bridge nor a port of one: .*scripts\/bridge.sh add/],
      [peer, "packet", new RegExp(`'${peer}' is a port of the bridge '${bridge}'`)],
      [nic, "xdp", /"xdp" is not built yet/],
    ];
    for (const [name, kind, reason] of refusals) {
      await expect(open(name, kind)).rejects.toThrow(reason);
      await expect(open(name, kind)).rejects.toMatchObject({ name: "UsageError", exitCode: 2 });
    }
  });
});

test("the name of a TAP interface fits, and long names stay apart", () => {
  expect(tapName("br0")).toBe("aoed-br0");
  const [one, other] = [tapName("bridge-number-1"), tapName("bridge-number-2")];
  expect(one).not.toBe(other);
  expect(one).toHaveLength(15);
});
