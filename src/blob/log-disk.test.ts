import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { CrashDisk } from "./crash-disk.testing.ts";
import { describeLogDisk } from "./log-disk.compliance.ts";
import { NodeDisk } from "./node-disk.ts";

const folders: string[] = [];

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "aoed-log-disk-"));
  folders.push(folder);
  return folder;
}

afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

describeLogDisk("NodeDisk", async () => {
  const folder = await makeFolder();
  return { disk: await NodeDisk.open(folder), reopen: () => NodeDisk.open(folder) };
});

describeLogDisk("CrashDisk", async () => {
  const disk = new CrashDisk();
  // Nothing survives but what was synced.
  return { disk, reopen: async () => disk.reboot({ random: () => 0.4 }) };
});

test("NodeDisk makes its folder, for its owner alone", async () => {
  const folder = join(await makeFolder(), "deep", "store");
  const disk = await NodeDisk.open(folder);
  const file = await disk.create("file");
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  expect((await stat(join(folder, "file"))).mode & 0o777).toBe(0o600);
  await file.close();
});

test("a NodeDisk in the place of a file is refused in words", async () => {
  const folder = await makeFolder();
  const disk = await NodeDisk.open(folder);
  await (await disk.create("file")).close();
  await expect(NodeDisk.open(join(folder, "file"))).rejects.toThrow(/cannot be created \(EEXIST\)/);
});
