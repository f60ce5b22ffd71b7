import {
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { targetName } from "../config/configuration.ts";
import { parseConfiguration } from "../config/load.ts";
import { config, frameOf, macOctets } from "../conformance/frames.testing.ts";
import { HarnessPort } from "../conformance/harness-port.testing.ts";
import type { TargetStatus } from "../control/control-api.ts";
import { healthProblems } from "../control/health.ts";
import { NoAnswer, RuntimeFault } from "../errors.ts";
import { createLog } from "../log/log.ts";
import type { BlockStorage } from "../storage/block-storage.ts";
import { type ChangeableCore, Changes } from "./changes.ts";
import { openStorage } from "./open-storage.ts";
import type { RunningServer } from "./running-server.ts";
import { startServer } from "./server.ts";

/** What a change that fails midway leaves behind, in a server whose disks misbehave. */

const SERVER_MAC = "02:ae:00:00:00:01";
const SERVER = '[server]\ninterface = "wire0"\ncontrol_socket = "none"\nstate_dir = "state"\n';
const MEMORY = '[[target]]\nshelf = 1\nslot = 9\nbackend = "memory"\nsize = "64KiB"\n';
/** Cannot be opened: there is no such file. */
const IMPOSSIBLE = '[[target]]\nshelf = 2\nslot = 0\nbackend = "file"\npath = "absent.img"\n';
/** Where every disk answers: longer than the slowest takes. */
const PATIENCE_MS = 60_000;
/** Where one does not answer, and the others do. */
const IMPATIENCE_MS = 1000;

let folder: string;
let arena: FrameArena;
let port: HarnessPort;
let running: RunningServer | undefined;
/** Every storage that was opened, by the name of its target. */
let opened: [name: string, storage: BlockStorage][];
/** May change what was opened, or hold it up. */
let onOpened: (name: string, storage: BlockStorage) => void | Promise<void>;
/** What lets go of everything that a test holds up. */
let release: () => void;
/** How long a change waits for a disk to close. */
let suspendTimeoutMs: number;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aoed-changes-"));
  opened = [];
  onOpened = () => {};
  release = () => {};
  suspendTimeoutMs = PATIENCE_MS;
});
afterEach(async () => {
  release();
  await running?.stop().catch(() => undefined);
  running = undefined;
  rmSync(folder, { recursive: true, force: true });
});

function path(name: string): string {
  return join(folder, name);
}

function file(slot: number, name: string, keys = ""): string {
  return `[[target]]\nshelf = 1\nslot = ${slot}\nbackend = "file"\npath = "${name}"\n${keys}\n`;
}

function write(...tables: readonly string[]): void {
  writeFileSync(path("aoed.toml"), SERVER + tables.join(""));
}

function image(name: string): void {
  writeFileSync(path(name), "");
  truncateSync(path(name), 65536);
}

async function start(...tables: readonly string[]): Promise<RunningServer> {
  write(...tables);
  arena = new FrameArena(64);
  port = new HarnessPort("wire0", macOctets(SERVER_MAC), 1500, arena);
  const read = (): ReturnType<typeof parseConfiguration> =>
    parseConfiguration(readFileSync(path("aoed.toml"), "utf8"), path("aoed.toml"));
  running = await startServer(
    read(),
    createLog({ level: "info", humanReadable: false, stream: { write: () => true } }),
    {
      arena,
      ports: [port],
      suspendTimeoutMs,
      openStorage: async (target, ...rest) => {
        const storage = await openStorage(target, ...rest);
        opened.push([targetName(target), storage]);
        await onOpened(targetName(target), storage);
        return storage;
      },
    },
    { path: path("aoed.toml"), read },
  );
  return running;
}

async function reload(): Promise<unknown> {
  return running?.api.reload({ dryRun: false });
}

async function targets(): Promise<Record<string, TargetStatus>> {
  const status = await running?.api.status();
  return Object.fromEntries((status?.targets ?? []).map((one) => [targetName(one), one]));
}

function openedCount(name: string): number {
  return opened.filter(([one]) => one === name).length;
}

function hang(storage: BlockStorage): void {
  const { promise, resolve } = Promise.withResolvers<void>();
  const close = storage.close.bind(storage);
  release = resolve;
  storage.close = async () => promise.then(close);
}

describe("a reload that is refused", () => {
  test("leaves what a memory disk holds", async () => {
    await start(MEMORY);
    write(IMPOSSIBLE);
    await expect(reload()).rejects.toThrow(/absent\.img does not exist/);
    expect(openedCount("e1.9"), "the same memory").toBe(1);
    expect((await targets())["e1.9"].suspended).toBe(false);
  });

  test("leaves no trace of what was added", async () => {
    await start(MEMORY);
    write(MEMORY, file(5, "new.img", 'size = "64KiB"'), IMPOSSIBLE);
    await expect(reload()).rejects.toThrow(/absent\.img does not exist/);
    expect(openedCount("e1.5")).toBe(1);
    expect(existsSync(path("new.img"))).toBe(false);
    const answers: Uint8Array[] = [];
    port.onSent = (frame) => answers.push(frame);
    const to = { destination: SERVER_MAC, source: "02:00:00:00:00:07", shelf: 1, tag: 1 } as const;
    port.inject(frameOf({ ...to, slot: 5 }, config()));
    port.inject(frameOf({ ...to, slot: 9 }, config()));
    await vi.waitFor(() => expect(answers.length).toBeGreaterThan(0), 60_000);
    expect(answers.map((frame) => frame[18])).toEqual([9]);
  });

  test("never makes a file anew: its target waits, is seen, and a reload opens it", async () => {
    const disk = file(0, "disk.img", 'size = "64KiB"');
    await start(disk, MEMORY);
    renameSync(path("disk.img"), path("moved.img"));
    write(MEMORY, IMPOSSIBLE);
    await expect(reload()).rejects.toThrow(/absent\.img does not exist/);
    expect(existsSync(path("disk.img"))).toBe(false);
    expect((await targets())["e1.0"].suspended).toBe(true);
    const status = await running?.api.status();
    expect(status && healthProblems(status)).toMatchObject([
      { subject: "e1.0", problem: expect.stringMatching(/initiators wait/) as string },
    ]);
    write(disk, MEMORY);
    await expect(reload()).rejects.toThrow(/disk\.img is not there any more/);
    renameSync(path("moved.img"), path("disk.img"));
    await reload();
    expect((await targets())["e1.0"].suspended).toBe(false);
  });

  test("does not make a file anew either that is only to be opened otherwise", async () => {
    await start(file(0, "disk.img", 'size = "64KiB"'));
    renameSync(path("disk.img"), path("moved.img"));
    write(file(0, "disk.img", 'size = "64KiB"\ndurability = "writeback"'));
    await expect(reload()).rejects.toThrow(/disk\.img is not there any more/);
    expect(existsSync(path("disk.img"))).toBe(false);
  });

  test("opens the former disk again when the state cannot be kept", async () => {
    image("disk.img");
    await start(file(0, "disk.img"));
    rmSync(path("state"), { recursive: true, force: true });
    writeFileSync(path("state"), "in the way");
    write(file(0, "disk.img", 'durability = "writeback"\nconfig_string = "x"'));
    await expect(reload()).rejects.toThrow();
    expect((await targets())["e1.0"]).toMatchObject({
      suspended: false,
      storage: { durability: "durable" },
    });
  });
});

describe("what fails when all disks are open", () => {
  test("a disk that cannot be closed is gone, and the rest of the change is done", async () => {
    image("disk.img");
    onOpened = (name, storage) => {
      if (name !== "e1.9") return;
      storage.close = async () => Promise.reject(new Error("out of order"));
    };
    await start(MEMORY, file(0, "disk.img"));
    write(file(0, "disk.img", 'allow = ["02:00:00:00:00:07"]'));
    await expect(reload()).rejects.toThrow(
      /^e1\.9: .*out of order; everything else has changed as was asked$/,
    );
    expect(Object.keys(await targets())).toEqual(["e1.0"]);
    expect(await reload()).toMatchObject({ changes: [] });
    onOpened = () => {};
    write(MEMORY, file(0, "disk.img"));
    await reload();
    expect(Object.keys(await targets()).toSorted()).toEqual(["e1.0", "e1.9"]);
  });

  test("a restriction that cannot be kept is tried again by the next reload", async () => {
    image("disk.img");
    await start(file(0, "disk.img"), MEMORY);
    rmSync(path("state"), { recursive: true, force: true });
    writeFileSync(path("state"), "in the way");
    write(file(0, "disk.img", 'config_string = "x"'));
    await expect(reload()).rejects.toThrow(/^e1\.0: /);
    expect(Object.keys(await targets()), "removed all the same").toEqual(["e1.0"]);
    rmSync(path("state"));
    expect(await reload()).toMatchObject({ changes: [{ target: "e1.0" }] });
  });
});

describe("a disk that hangs when it is closed", () => {
  beforeEach(() => {
    suspendTimeoutMs = IMPATIENCE_MS;
  });

  test("is given up, and other changes go on", async () => {
    image("disk.img");
    onOpened = (name, storage) => {
      if (name === "e1.0") hang(storage);
    };
    const { api } = await start(file(0, "disk.img"), MEMORY);
    await expect(api.removeTarget(1, 0)).rejects.toThrow(/e1\.0: the disk does not answer/);
    await api.removeTarget(1, 9);
    expect(await targets()).toEqual({});
  });

  test("waits when it was to be opened otherwise, until a reload finds it closed", async () => {
    image("disk.img");
    onOpened = (_, storage) => hang(storage);
    await start(file(0, "disk.img"));
    write(file(0, "disk.img", 'durability = "writeback"'));
    await expect(reload()).rejects.toThrow(/e1\.0: the disk does not answer/);
    expect((await targets())["e1.0"].suspended).toBe(true);
    onOpened = () => {};
    release();
    await vi.waitFor(reload, 60_000);
    expect((await targets())["e1.0"]).toMatchObject({
      suspended: false,
      storage: { durability: "writeback" },
    });
  });
});

test("a reload opens the disk of a suspended target that was added by hand", async () => {
  image("disk.img");
  const { api } = await start(MEMORY);
  await api.addTarget({
    shelf: 1,
    slot: 0,
    keys: { backend: "file", path: path("disk.img") },
  });
  renameSync(path("disk.img"), path("moved.img"));
  const change = api.setTarget(1, 0, { durability: "writeback" });
  await expect(change).rejects.toThrow(/disk\.img is not there any more/);
  expect((await targets())["e1.0"].suspended).toBe(true);
  renameSync(path("moved.img"), path("disk.img"));
  expect(await reload()).toMatchObject({ changes: [{ target: "e1.0" }], kept: ["e1.0"] });
  expect((await targets())["e1.0"].suspended).toBe(false);
});

test("the end waits for a change under way, and refuses others", async () => {
  const opening = Promise.withResolvers<void>();
  const { promise, resolve } = Promise.withResolvers<void>();
  release = resolve;
  const server = await start(MEMORY);
  const closed: string[] = [];
  onOpened = async (name, storage) => {
    const close = storage.close.bind(storage);
    storage.close = async () => {
      closed.push(name);
      return close();
    };
    opening.resolve();
    await promise;
  };
  write(MEMORY, file(5, "new.img", 'size = "64KiB"'));
  const reloaded = reload();
  await opening.promise;
  const stopped = server.stop();
  const refused = reload();
  release();
  await reloaded;
  await expect(refused).rejects.toThrow(/the server is stopping/);
  await stopped;
  expect(closed).toEqual(["e1.5"]);
});

describe("a server with a worker that does not answer", () => {
  const log = createLog({ level: "fatal" });
  const done: string[] = [];
  /** Its worker last said that the disk has 64 KiB. */
  const core = {
    api: {
      status: async () =>
        Promise.resolve({
          targets: [{ shelf: 1, slot: 9, storage: { sectors: 128 } }],
          silentWorkers: [1],
        }),
      removeTarget: async () => Promise.reject(new NoAnswer("worker 1 does not answer")),
    },
    resizeTarget: async () => done.push("resize"),
    restrictTarget: async () => done.push("restrict"),
  } as unknown as ChangeableCore;
  const configuration = parseConfiguration(SERVER + MEMORY, "/aoed.toml");
  const source = { path: "/aoed.toml", read: () => configuration };
  const api = new Changes(core, configuration, source, log).api();

  test.each([
    ["resize", async () => api.resizeTarget(1, 9, 65536, false)],
    ["set", async () => api.setTarget(1, 9, { allow: ["02:00:00:00:00:01"] })],
    ["reload", async () => api.reload({ dryRun: false })],
  ])("decides nothing by what it said before: %s", async (_what, change) => {
    const answer = change();
    await expect(answer).rejects.toThrow(RuntimeFault);
    await expect(answer).rejects.toThrow(
      "worker 1 does not answer, so the state of its disks is not known; try again",
    );
    expect(done).toEqual([]);
  });

  test("still has the target that it was to remove", async () => {
    for (let time = 0; time < 2; time++) {
      await expect(api.removeTarget(1, 9)).rejects.toThrow("worker 1 does not answer");
    }
  });
});
