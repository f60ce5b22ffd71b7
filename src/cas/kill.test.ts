import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { seededRandom } from "../blob/crash-disk.testing.ts";
import { BlockStatus } from "../storage/block-storage.ts";
import { finish, TestDisk, testArena } from "../storage/block-storage.testing.ts";
import { openCasStore } from "./open-cas-store.ts";
import { Snapshots } from "./snapshots.ts";
import { verifySnapshot } from "./verify.ts";

const WRITER = fileURLToPath(new URL("./kill-writer.testing.ts", import.meta.url));

/** Runs the writer for a while, kills it, and returns its lines. */
async function runAndKill(folder: string, start: number, afterMs: number): Promise<string[]> {
  const child = spawn(process.execPath, [WRITER, folder, String(start)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (data: Buffer) => (text += data.toString()));
  while (text.split("done ").length < 50 && child.exitCode === null) await sleep(5);
  await sleep(afterMs);
  const closed = new Promise((resolve) => child.stdout.once("close", resolve));
  child.kill("SIGKILL");
  await closed;
  // The last line may be cut off.
  return text.split("\n").slice(0, -1);
}

test("a process that is killed under load loses nothing that it acknowledged", async () => {
  const folder = await mkdtemp(join(tmpdir(), "aoed-kill-"));
  const random = seededRandom(11);
  const acknowledged = new Map<number, number>();
  const begun = new Map<number, Set<number>>();
  let start = 1;
  try {
    for (let round = 0; round < 8; round++) {
      const lines = await runAndKill(folder, start, random() * 300);
      const snapshots: string[] = [];
      for (const line of lines) {
        const [what, first = "", second = ""] = line.split(" ");
        if (what === "snapshot") snapshots.push(second);
        const block = Number(first);
        if (what === "done") acknowledged.set(block, Number(second));
        if (what !== "begin") continue;
        begun.set(block, (begun.get(block) ?? new Set()).add(Number(second)));
        start = Math.max(start, Number(second) + 1);
      }
      expect(acknowledged.size).toBeGreaterThan(10);
      await check(folder, acknowledged, begun, snapshots.at(-1));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 600_000);

/** What was acknowledged last is there, or something newer that was on its way. */
async function check(
  folder: string,
  acknowledged: Map<number, number>,
  begun: Map<number, Set<number>>,
  rootHash: string | undefined,
): Promise<void> {
  const cas = await openCasStore(folder);
  const arena = testArena();
  const disk = new TestDisk(cas.openVolume("disk", { memory: arena.bytes }), arena);
  for (const [block, values] of begun) {
    disk.reuseMemory();
    const read = disk.read(block * 8, 8);
    expect(await finish(disk, [read])).toEqual([BlockStatus.ok]);
    const words = new Uint32Array(arena.memory, read.memoryOffset, 1024);
    const least = acknowledged.get(block) ?? 0;
    expect(new Set(words).size, `block ${block} is one write's`).toBe(1);
    expect(words[0] >= least, `block ${block} has ${words[0]}, not ${least}`).toBe(true);
    expect(words[0] === 0 || values.has(words[0])).toBe(true);
    acknowledged.set(block, words[0]);
  }
  if (rootHash !== undefined) {
    expect(new Snapshots(cas).list().map((record) => record.root_hash)).toContain(rootHash);
    expect((await verifySnapshot(cas, rootHash)).damaged).toEqual([]);
  }
  await cas.close();
}
