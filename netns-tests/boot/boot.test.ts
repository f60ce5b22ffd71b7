import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { CollectionReport, SectorRange, SnapshotStatus } from "../../src/control/store-api.ts";
import { AOED, executeAoed, runAoed } from "../harness/aoed-command.ts";
import { Child } from "../harness/child.ts";
import { run, until } from "../harness/command.ts";
import type { Lab } from "../harness/lab.ts";
import type { Namespace } from "../harness/network.ts";
import { scenario } from "../harness/scenario.ts";
import { boot, machine } from "./machine.ts";

/**
 * docs/booting.md as a test: one golden image, a clone of it for each machine, and machines without
 * disks that boot from them by iPXE.
 */
const MACHINES = [1, 2, 3].map(machine);
const TIMEOUT_MS = 2_400_000;
const MIB = 2 ** 20;
const BLOCK_BYTES = 4096;
/** Tree nodes, state of file systems in blocks that only some of the machines changed. */
const OVERHEAD_BYTES = MIB / 2;

const beyond = { vblade: "it has no clones" };

scenario(
  "three machines without disks boot from clones of one golden image",
  { beyond, withoutDriver: true, timeoutMs: TIMEOUT_MS },
  async (lab) => {
    await run(["sh", join(import.meta.dirname, "golden-image.sh"), lab.folder], 900_000);
    lab.note("golden image made");
    const store = join(lab.folder, "store");
    const image = join(lab.folder, "golden.img");
    await runAoed("import", image, "--into", store, "--volume", "golden");
    for (const { number } of MACHINES) {
      await runAoed("snapshot", "clone", "1", `machine-${number}`, "--store", store);
    }
    const place = lab.namespace("server");
    layOutBridge(place);
    const socket = await serve(lab, place, store);
    startDhcp(lab, place);
    const before = await livingBytes(socket);

    const booted = await Promise.all(
      MACHINES.map(async (one) => boot(lab.folder, place, one, "dhcp")),
    );
    expect(booted).toEqual(
      MACHINES.map(({ number, mac }) => ({ mac, times: 1, disk: `/dev/etherd/e1.${number}p2` })),
    );
    lab.note("three machines have booted and switched themselves off");
    await expectGrowth(lab, socket, before);

    const again = await boot(lab.folder, place, MACHINES[0], "script");
    expect(again).toEqual({ mac: MACHINES[0].mac, times: 2, disk: "/dev/etherd/e1.1p2" });
    lab.note("one has booted again, by a script, and knew that it was the second time");
    expect(await runAoed<SectorRange[]>("snapshot", "diff", "1", "--socket", socket)).toEqual([]);
    expect((await executeAoed("verify", "--socket", socket)).status).toBe(0);
  },
);

/** The server's bridge, with a TAP for the card of each machine. */
function layOutBridge(place: Namespace): void {
  place.ip("link", "add", "bridge0", "type", "bridge");
  place.ip("address", "add", "10.9.0.1/24", "dev", "bridge0");
  for (const { tap } of MACHINES) {
    place.ip("tuntap", "add", tap, "mode", "tap");
    place.ip("link", "set", tap, "master", "bridge0", "up");
  }
  place.ip("link", "set", "bridge0", "up");
}

/** Each machine is shown its own disk only. @returns the control socket */
async function serve(lab: Lab, place: Namespace, store: string): Promise<string> {
  const file = join(lab.folder, "aoed.toml");
  const targets = MACHINES.map(
    ({ number, mac }) => `
[[target]]
shelf = 1
slot = ${number}
backend = "cas"
allow = ["${mac}"]
[target.cas]
path = ${JSON.stringify(store)}
volume = "machine-${number}"
`,
  );
  const stateDirectory = join(lab.folder, "state");
  const server = `[server]\ninterface = "bridge0"\nstate_dir = ${JSON.stringify(stateDirectory)}\n`;
  writeFileSync(file, server + targets.join(""));
  const log = join(lab.folder, "server.log");
  const child = new Child(lab.folder, place.command(AOED, "serve", "--config", file), log);
  await until("the server is ready", () => {
    if (child.ending !== undefined) throw new Error(`the server ended: ${child.log}`);
    return /^aoed: ready/m.test(child.log);
  });
  return join(stateDirectory, "control.sock");
}

/** Gives every machine an address, and its disk as ROOT-PATH. */
function startDhcp(lab: Lab, place: Namespace): void {
  const file = join(lab.folder, "dnsmasq.conf");
  const hosts = MACHINES.map(
    ({ number, mac }) =>
      `dhcp-host=${mac},set:m${number}\ndhcp-option=tag:m${number},option:root-path,aoe:e1.${number}\n`,
  );
  const common = "port=0\ninterface=bridge0\nbind-interfaces\ndhcp-range=10.9.0.10,10.9.0.90\n";
  writeFileSync(file, common + hosts.join(""));
  const files = ["--pid-file=", `--dhcp-leasefile=${join(lab.folder, "leases")}`];
  const words = ["--keep-in-foreground", `--conf-file=${file}`, "--log-facility=-", "--user=root"];
  const command = place.command("dnsmasq", ...words, ...files);
  // Its end is that of the test, which removes what it started.
  void new Child(lab.folder, command, join(lab.folder, "dnsmasq.log"));
}

/** What volumes and snapshots hold together; what was written over since does not count. */
async function livingBytes(socket: string): Promise<number> {
  const { liveBlobs } = await runAoed<CollectionReport>("gc", "--socket", socket);
  return liveBlobs * BLOCK_BYTES;
}

/** The store has grown by what the machines changed, and not by what they share. */
async function expectGrowth(lab: Lab, socket: string, before: number): Promise<void> {
  let changedBytes = 0;
  for (const { number } of MACHINES) {
    const volume = `machine-${number}`;
    const { id } = await runAoed<SnapshotStatus>("snapshot", "create", volume, "--socket", socket);
    const ranges = await runAoed<SectorRange[]>("snapshot", "diff", "1", id, "--socket", socket);
    changedBytes += ranges.reduce((sum, range) => sum + rangeBytes(range), 0);
  }
  const grownBytes = (await livingBytes(socket)) - before;
  const inMib = (bytes: number): string => (bytes / MIB).toFixed(2);
  lab.note(
    `the store of ${inMib(before)} MiB grew by ${inMib(grownBytes)} MiB, ` +
      `for ${inMib(changedBytes)} MiB that the machines changed`,
  );
  expect(grownBytes).toBeGreaterThan(MACHINES.length * MIB);
  expect(grownBytes).toBeLessThan(changedBytes + OVERHEAD_BYTES);
}

function rangeBytes({ lengthSectors }: SectorRange): number {
  return lengthSectors * 512;
}
