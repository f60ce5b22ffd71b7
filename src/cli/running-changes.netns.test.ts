import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { ReloadReport, ServerStatus, TargetStatus } from "../control/control-api.ts";
import { exchange } from "./control-client.ts";
import { type Served, ServerPlace, withServerPlace } from "./serve-process.testing.ts";

// Each command is a process of its own, and the machine may be busy.
vi.setConfig({ testTimeout: 300_000 });

let server: ServerPlace;
let place: ServerPlace["place"];
let served: Served;

withServerPlace((given) => {
  server = given;
  ({ place } = given);
});
beforeEach(async () => {
  writeFileSync(place.path("aoed.toml"), FIRST);
  served = await server.serve("--config", "aoed.toml");
});

const SERVER = `# The lab.
[server]
interface = "server0"
state_dir = "state"
`;
const DISK = `
# what everybody uses
[[target]]
shelf = 1
slot = 0
backend = "file"
path = "disk.img"   # sparse
size = "1MiB"
`;
const SCRATCH = `
[[target]]
shelf = 1
slot = 1
backend = "memory"
size = "64KiB"
`;
const FIRST = SERVER + DISK + SCRATCH;
const SOCKET = ["--socket", "state/control.sock"];

async function ask<Answer>(...words: string[]): Promise<Answer> {
  return JSON.parse(await server.did(...words, ...SOCKET, "--json")) as Answer;
}

async function targets(): Promise<Record<string, TargetStatus>> {
  const request = { method: "GET", path: "/v1/status" } as const;
  const status = (await exchange(place.path("state/control.sock"), request)) as ServerStatus;
  return Object.fromEntries(
    status.targets.map((target) => [`e${target.shelf}.${target.slot}`, target]),
  );
}

async function aMoment(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Whether the disk itself answers, as an initiator finds it. */
async function answers(target: string, timeout = "30s"): Promise<boolean> {
  const words = ["ping", target, "-i", "client0", "-c", "1", "--timeout", timeout, "--identify"];
  return (await server.aoed(...words)).code === 0;
}

async function refusal(...words: string[]): Promise<string> {
  const { code, stderr } = await server.aoed(...words, ...SOCKET);
  expect({ code, lines: stderr.trimEnd().split("\n").length }).toEqual({ code: 2, lines: 1 });
  return stderr;
}

describe("reload", () => {
  test("adds, removes and changes what differs, and disturbs nothing else", async () => {
    const { "e1.0": before } = await targets();
    await answers("1.0");
    const next = `${SERVER}${DISK}allow = ["02:00:00:00:00:07"]
[[target]]
shelf = 1
slot = 2
backend = "file"
path = "new.img"
size = "2MiB"
`;
    writeFileSync(place.path("aoed.toml"), next);
    const planned = await server.did("check-config", "aoed.toml");
    expect(planned).toContain(`a reload of the running server:
e1.1 is removed
e1.0 changes: allow
e1.2 is added
`);
    expect(existsSync(place.path("new.img"))).toBe(false);
    const report = await ask<ReloadReport>("reload");
    expect(report).toMatchObject({ applied: true, kept: [] });
    expect(report.changes.map(({ target, change }) => `${change} ${target}`)).toEqual([
      "remove e1.1",
      "change e1.0",
      "add e1.2",
    ]);
    const after = await targets();
    expect(Object.keys(after)).toEqual(["e1.0", "e1.2"]);
    // The same disk, still open: what it has counted goes on.
    expect(after["e1.0"].statistics.reads).toBeGreaterThanOrEqual(before.statistics.reads);
    expect(await answers("1.2")).toBe(true);
    expect(await answers("1.0", "2s"), "the client is not on the new list").toBe(false);
    expect(await server.did("reload", ...SOCKET)).toMatch(/aoed\.toml: nothing to change\n$/);
  });

  test("is refused as a whole, with the place of every mistake", async () => {
    const next = `${SERVER}buffer_count = 7${DISK}durability = "writeback"
[[target]]
shelf = 1
slot = 1
backend = "memory"
size = "128KiB"
`;
    writeFileSync(place.path("aoed.toml"), next);
    const message = await refusal("reload");
    expect(message).toMatch(
      /aoed\.toml:5:1: server\.buffer_count: cannot be changed while running/,
    );
    const { stdout } = await server.aoed("check-config", "aoed.toml");
    expect(stdout).toMatch(/would refuse a reload: .*aoed\.toml:5:1/);
    writeFileSync(place.path("aoed.toml"), next.replace("buffer_count = 7", ""));
    expect(await refusal("reload")).toMatch(
      /target\[1\]\.size: e1\.1 would lose what its memory holds/,
    );
    writeFileSync(place.path("aoed.toml"), `${FIRST}[[target`);
    expect(await refusal("reload")).toMatch(/aoed\.toml:\d+:\d+: not valid TOML/);
    expect((await targets())["e1.0"].storage.durability).toBe("durable");
  });

  test("a disk that cannot be opened takes the whole reload back", async () => {
    // The file of e1.0 goes to another address, and beside it one that somebody else has locked.
    writeFileSync(place.path("locked.img"), Buffer.alloc(4096));
    const other = new ServerPlace(server.namespace);
    const words = ["-i", "client0", "-e", `9.0=${place.path("locked.img")}`];
    await other.serve(...words, "--state-dir", "other");
    try {
      const moved = DISK.replace("slot = 0", "slot = 5");
      const locked = '[[target]]\nshelf = 1\nslot = 6\nbackend = "file"\npath = "locked.img"\n';
      writeFileSync(place.path("aoed.toml"), SERVER + moved + SCRATCH + locked);
      expect(await refusal("reload")).toMatch(/locked\.img is in use by .*aoed/);
      expect(Object.keys(await targets()).toSorted()).toEqual(["e1.0", "e1.1"]);
      expect(await answers("1.0")).toBe(true);
      expect(await answers("1.1")).toBe(true);
    } finally {
      await other.remove();
    }
    await ask("reload");
    expect(Object.keys(await targets()).toSorted()).toEqual(["e1.1", "e1.5", "e1.6"]);
    expect(await answers("1.5")).toBe(true);
  });

  test("disks of two workers change places", async () => {
    await server.stop(served, "SIGTERM");
    const disk = (slot: number, path: string) =>
      `[[target]]\nshelf = 1\nslot = ${slot}\nbackend = "file"\npath = "${path}"\nsize = "${slot + 1}MiB"\n`;
    const head = `${SERVER}workers = 2\n`;
    writeFileSync(place.path("aoed.toml"), head + disk(0, "a.img") + disk(1, "b.img"));
    served = await server.serve("--config", "aoed.toml");
    const swapped = `${disk(0, "b.img")}${disk(0, "a.img").replace("slot = 0", "slot = 1")}`;
    writeFileSync(place.path("aoed.toml"), head + swapped);
    const report = await ask<ReloadReport>("reload");
    expect(report.changes.every(({ reopens }) => reopens)).toBe(true);
    const after = await targets();
    expect([after["e1.0"].storage.sectors, after["e1.1"].storage.sectors]).toEqual([4096, 2048]);
    expect([await answers("1.0"), await answers("1.1")]).toEqual([true, true]);
  });

  test("SIGHUP does the same, and a mistake only makes a line in the log", async () => {
    writeFileSync(place.path("aoed.toml"), `${FIRST}[[target`);
    served.process.kill("SIGHUP");
    while (!served.stderr.includes("nothing has changed")) await aMoment();
    writeFileSync(place.path("aoed.toml"), SERVER + DISK);
    served.process.kill("SIGHUP");
    while ((await targets())["e1.1"] !== undefined) await aMoment();
    expect(await server.stop(served, "SIGTERM")).toBe(0);
  });
});

describe("aoed target", () => {
  test("adds disks of every kind, keeps them over a reload, and saves them when asked", async () => {
    await ask("target", "add", "2.0", "--file", "two.img", "--size", "1MiB");
    await ask("target", "add", "2.1", "--memory", "--size", "32KiB", "--config-string", "x");
    const store = ["--store", "store", "--volume", "v", "--size", "1GiB"];
    await ask("target", "add", "2.2", ...store, "--allow", "02:00:00:00:00:07", "--save");
    await ask("target", "add", "2.3", "--file", "two.img", "--read-only").catch(String);
    const names = Object.keys(await targets()).toSorted();
    expect(names).toEqual(["e1.0", "e1.1", "e2.0", "e2.1", "e2.2"]);
    expect(await answers("2.1")).toBe(true);
    const text = readFileSync(place.path("aoed.toml"), "utf8");
    expect(text.startsWith(FIRST)).toBe(true);
    expect(text.slice(FIRST.length)).toMatch(
      /\[\[target\]\]\nshelf = 2\nslot = 2\nbackend = "cas"/,
    );
    const report = await ask<ReloadReport>("reload");
    expect(report).toMatchObject({ changes: [], kept: ["e2.0", "e2.1"] });

    expect(await refusal("target", "add", "2.0", "--memory", "--size", "1MiB")).toMatch(
      /served already/,
    );
    expect(await refusal("target", "add", "3.0", "--file", "x", "--memory")).toMatch(/one of them/);
    expect(await refusal("target", "add", "3.0", "--file", "none.img")).toMatch(
      /none\.img does not exist/,
    );
    expect(await refusal("target", "add", "3.0", "--memory", "--size", "7")).toMatch(
      /size: "7" is not/,
    );
    expect(await refusal("target", "add", "3.0", "--file", "disk.img")).toMatch(/used by e1\.0/);
  });

  test("sets keys of a disk in use, at once or by opening it again", async () => {
    await ask("target", "set", "1.0", "durability=writeback", "writeback_interval=50ms", "--save");
    expect((await targets())["e1.0"].storage.durability).toBe("writeback");
    expect(await answers("1.0")).toBe(true);
    await ask("target", "set", "1.1", 'allow=["02:00:00:00:00:07"]', "wire_changes=[]");
    expect(await answers("1.1", "2s")).toBe(false);
    await ask("target", "set", "1.1", "allow=", "wire_changes=");
    expect(await answers("1.1")).toBe(true);
    const saved = FIRST.replace(
      'size = "1MiB"\n',
      'size = "1MiB"\ndurability = "writeback"\nwriteback_interval = "50ms"\n',
    );
    expect(readFileSync(place.path("aoed.toml"), "utf8")).toBe(saved);
    expect(await refusal("target", "set", "1.1", "read_only=true")).toMatch(/would lose/);
    expect(await refusal("target", "set", "1.0", "durabilty=durable")).toMatch(
      /did you mean durability\?/,
    );
    expect(await refusal("target", "set", "9.9", "allow=")).toMatch(
      /e9\.9: this server has no such target/,
    );
  });

  test("resizes a disk in use; what would lose data has to be meant", async () => {
    await ask("target", "resize", "1.0", "2MiB", "--save");
    expect((await targets())["e1.0"].storage.sectors).toBe(4096);
    expect(statSync(place.path("disk.img")).size).toBe(2 ** 21);
    expect(readFileSync(place.path("aoed.toml"), "utf8")).toBe(FIRST.replace('"1MiB"', '"2MiB"'));
    expect(await refusal("target", "resize", "1.0", "1MiB")).toMatch(/lost; say --shrink/);
    await ask("target", "resize", "1.0", "1MiB", "--shrink");
    await ask("target", "resize", "1.1", "128KiB");
    const after = await targets();
    expect([after["e1.0"].storage.sectors, after["e1.1"].storage.sectors]).toEqual([2048, 256]);
    truncateSync(place.path("disk.img"), 2 ** 21);
    const found = async () =>
      JSON.parse(await server.did("discover", "--interface", "client0", "--json")) as object[];
    await expect.poll(found, { timeout: 60_000 }).toHaveLength(2);
  });

  test("removes one, also from the file, and whoever uses it is told at once", async () => {
    await ask("target", "remove", "1.1", "--save");
    expect(readFileSync(place.path("aoed.toml"), "utf8")).toBe(`${SERVER}${DISK}\n`);
    expect(Object.keys(await targets())).toEqual(["e1.0"]);
    expect(await refusal("target", "remove", "1.0", "--save")).toMatch(/target: is missing/);
    expect(Object.keys(await targets())).toEqual(["e1.0"]);
  });
});
