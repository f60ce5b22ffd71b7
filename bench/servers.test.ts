import { expect, test } from "vitest";
import { type Assignment, aoedConfiguration, peerFromTemplate, vblade } from "./servers.ts";
import { suitesFor } from "./suites.ts";

const assignment: Assignment = {
  interfaceName: "veth7",
  shelf: 3,
  slot: 4,
  path: "/images/a b.img",
  medium: "file",
  mode: "durable",
  sizeMebibytes: 64,
  isCold: false,
  workDirectory: "/work/place",
};
const [buffered] = suitesFor(false).filter(({ mode }) => mode === "buffered");
const [durable] = suitesFor(false).filter(({ mode }) => mode === "durable");

test("a peer's command line gets the interface, the path, the shelf and the slot", () => {
  const peer = peerFromTemplate("/opt/bladed -i {interface} '{path}' {shelf} {slot} {shelf}");
  expect(peer.name).toBe("PEER bladed");
  expect(peer.command(assignment)).toEqual([
    "sh",
    "-c",
    "exec /opt/bladed -i veth7 '/images/a b.img' 3 4 3",
  ]);
});

test("a peer takes part where its command line can say how to serve", () => {
  const fixed = peerFromTemplate("bladed {path}");
  expect([fixed.takesPart(buffered), fixed.takesPart(durable)]).toEqual([true, false]);
  const flexible = peerFromTemplate("bladed --{mode} {path}");
  expect(flexible.takesPart(durable)).toBe(true);
  expect(flexible.command(assignment).at(-1)).toBe("exec bladed --durable /images/a b.img");
});

test("vblade writes through where a write has to be durable", () => {
  expect(vblade().command(assignment).join(" ")).toBe("vblade -b 64 -s 3 4 veth7 /images/a b.img");
  expect(vblade().command({ ...assignment, mode: "direct" })).toContain("-d");
});

test("aoed is told the backend, the durability and whether to bypass the page cache", () => {
  const lines = aoedConfiguration(assignment).split("\n");
  expect(lines).toContain('durability = "durable"');
  expect(lines).toContain("direct = false");
  expect(lines).toContain('backend = "file"');
  expect(lines).toContain('path = "/images/a b.img"');
  const device = aoedConfiguration({ ...assignment, medium: "loop", mode: "direct" }).split("\n");
  expect(device).toContain('durability = "writeback"');
  expect(device).toContain("direct = true");
  expect(device).toContain('backend = "device"');
});

test("what is compared in [server] is in the file", () => {
  const text = aoedConfiguration(assignment, ['port = "xdp"']);
  expect(text).toMatch(/^\[server\][^[]*^port = "xdp"$[^[]*^\[\[target\]\]$/m);
});
