import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { finish, TestDisk, testArena } from "../storage/block-storage.testing.ts";
import { BlockStatus, type Durability } from "../storage/block-storage.ts";
import { openDirectoryStore } from "./directory-store.testing.ts";

const WRITER = fileURLToPath(new URL("./kill-writer.testing.ts", import.meta.url));

let folder = "";
const children: ChildProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "aoed-move-"));
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  // They may write until the kernel has ended them.
  await rm(folder, { recursive: true, force: true, maxRetries: 20 });
});

/** A writer in a process of its own; `text` is what it has said so far. */
function startWriter(local: string, durability: Durability, start: number) {
  const bucket = join(folder, "bucket");
  const child = spawn(
    process.execPath,
    [WRITER, join(folder, local), bucket, durability, String(start)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  children.push(child);
  const writer = { child, text: "" };
  child.stdout.on("data", (data: Buffer) => (writer.text += data.toString()));
  return writer;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}

/** Not while it holds the lock of the folder that plays the object store: no service has one. */
async function pause(child: ChildProcess): Promise<void> {
  for (;;) {
    child.kill("SIGSTOP");
    await sleep(20);
    const locks = await readFile("/proc/locks", "utf8");
    const { ino } = await stat(join(folder, "bucket", ".aoed-lock"));
    const isHeld = locks
      .split("\n")
      .some((line) => line.includes(` ${child.pid} `) && line.includes(`:${ino} `));
    if (!isHeld) return;
    child.kill("SIGCONT");
    await sleep(5);
  }
}

async function kill(writer: { child: ChildProcess }): Promise<void> {
  // One that was refused everything has ended by itself.
  if (writer.child.exitCode !== null) return;
  const closed = new Promise((resolve) => writer.child.once("close", resolve));
  writer.child.kill("SIGKILL");
  await closed;
}

/** The values of all blocks, read on a machine that has nothing but the object store. */
async function readElsewhere(): Promise<Map<number, number>> {
  const elsewhere = await mkdtemp(join(folder, "elsewhere-"));
  const cas = await openDirectoryStore(elsewhere, join(folder, "bucket"), { takeOver: true });
  const arena = testArena();
  const disk = new TestDisk(cas.openVolume("disk", { memory: arena.bytes }), arena);
  const values = new Map<number, number>();
  for (let block = 0; block < 2000; block++) {
    disk.reuseMemory();
    const read = disk.read(block * 8, 8);
    expect(await finish(disk, [read])).toEqual([BlockStatus.ok]);
    const words = new Uint32Array(arena.memory, read.memoryOffset, 1024);
    expect(new Set(words).size, `block ${block} is one write's`).toBe(1);
    values.set(block, words[0]);
  }
  await cas.close();
  return values;
}

/** What was written to each block, in order, and the last value of each that was acknowledged. */
function historyOf(text: string) {
  const begun = new Map<number, number[]>();
  const done = new Map<number, number>();
  let newest = 0;
  // The last line may be cut off.
  for (const line of text.split("\n").slice(0, -1)) {
    const [what, first = "", second = ""] = line.split(" ");
    const block = Number(first);
    if (what === "begin") begun.set(block, [...(begun.get(block) ?? [0]), Number(second)]);
    if (what === "done") done.set(block, Number(second));
    newest = Math.max(newest, Number(second) || 0);
  }
  return { begun, done, newest };
}

test("killed, and its folder gone: another machine has all that was acknowledged as remote", async () => {
  let start = 1;
  let text = "";
  for (let round = 0; round < 3; round++) {
    const writer = startWriter(`local-${round}`, "remote", start);
    await until(() => writer.text.split("done ").length > 100);
    await kill(writer);
    text = text.replace(/\n[^\n]*$/, "\n") + writer.text;
    await rm(join(folder, `local-${round}`), { recursive: true });
    const { begun, done, newest } = historyOf(text);
    for (const [block, value] of await readElsewhere()) {
      expect([0, ...(begun.get(block) ?? [])]).toContain(value);
      expect(value).toBeGreaterThanOrEqual(done.get(block) ?? 0);
    }
    start = newest + 1;
  }
}, 600_000);

test("killed, and its folder gone: another machine has a prefix of what was durable", async () => {
  const writer = startWriter("local", "durable", 1);
  await until(() => writer.text.split("done ").length > 3000);
  await kill(writer);
  await rm(join(folder, "local"), { recursive: true });
  const { begun } = historyOf(writer.text);
  const found = await readElsewhere();
  // Values count up in the order of the writes, of which at most 16 are on their way at once: if
  // one is there, every earlier one was there, or has been written over.
  const newest = Math.max(...found.values());
  expect(newest).toBeGreaterThan(0);
  for (const [block, values] of begun) {
    const value = found.get(block) ?? 0;
    expect(values).toContain(value);
    const due = values.findLast((candidate) => candidate <= newest - 32) ?? 0;
    expect(value, `block ${block} is older than the newest allows`).toBeGreaterThanOrEqual(due);
  }
}, 600_000);

test("stopped beyond its lease, a writer that wakes acknowledges nothing, and changes nothing", async () => {
  const paused = startWriter("first", "durable", 1);
  await until(() => paused.text.split("done ").length > 200);
  await pause(paused.child);
  const before = paused.text.split("done ").length;
  const taker = startWriter("second", "durable", 1_000_000);
  await until(() => taker.text.split("done ").length > 200);
  await kill(taker);
  const there = await readElsewhere();
  paused.child.kill("SIGCONT");
  await until(() => paused.text.includes("refused "));
  await sleep(500);
  // What it had acknowledged before it was stopped may still have been in the pipe.
  expect(paused.text.split("done ").length - before).toBeLessThanOrEqual(16);
  expect(paused.text.split("\n").findLast((line) => line.startsWith("refused"))).toMatch(
    /must stop writing/,
  );
  await kill(paused);
  expect(await readElsewhere()).toEqual(there);
}, 600_000);
