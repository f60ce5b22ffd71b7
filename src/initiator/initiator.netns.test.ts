import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { diskSectors } from "../conformance/frames.testing.ts";
import {
  makeStateDirectory,
  removeStateDirectory,
  startTestServer,
} from "../conformance/test-server.testing.ts";
import { TestStorage } from "../conformance/test-storage.testing.ts";
import { ip, makeLink, removeLinks } from "../conformance/veth.testing.ts";
import { openInitiator } from "./initiator.ts";
import type { Initiator } from "./initiator.ts";

const SERVER_MAC = "02:ae:00:00:00:01";
const DISK_SECTORS = 4000;

const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** An initiator on the other end of the server's veth pair. */
function open(mtuBytes: number): Initiator {
  makeLink(0, SERVER_MAC, mtuBytes);
  closers.push(async () => Promise.resolve(removeLinks()));
  ip("link", "set", "own0", "mtu", String(mtuBytes));
  const initiator = openInitiator({ interfaceName: "own0" });
  closers.push(async () => initiator.close());
  return initiator;
}

test.each([1500, 9000])("finds and uses aoed over real interfaces of MTU %i", async (mtuBytes) => {
  const initiator = open(mtuBytes);
  const arena = new FrameArena(512);
  const targets = [{ shelf: 4, slot: 2, storage: new TestStorage(DISK_SECTORS, false, arena) }];
  const stateDirectory = await makeStateDirectory();
  closers.push(async () => removeStateDirectory(stateDirectory));
  const server = await startTestServer({ arena, interfaces: ["server0"], targets, stateDirectory });
  closers.push(async () => server.stop());

  const [found] = await initiator.discover({ timeoutMs: 30_000, enough: 1 });
  expect(found).toMatchObject({ shelf: 4, slot: 2, mac: SERVER_MAC, interface: "own0" });
  expect(found.maxSectors).toBe(mtuBytes === 9000 ? 16 : 2);
  const ping = await initiator.ping(4, 2, { count: 5, intervalMs: 1, timeoutMs: 30_000 });
  expect(ping.received).toBe(5);

  const disk = await initiator.open(4, 2);
  await disk.write(100, diskSectors(100, 3000, 7));
  await disk.flush();
  const data = await disk.read(0, DISK_SECTORS);
  expect(Buffer.compare(data.subarray(0, 51_200), diskSectors(0, 100))).toBe(0);
  expect(
    Buffer.compare(data.subarray(51_200, 51_200 + 3000 * 512), diskSectors(100, 3000, 7)),
  ).toBe(0);
  // Each request that a busy machine made it send again is answered again.
  const { statistics } = initiator;
  await expect.poll(() => statistics.unexpected - statistics.retransmitted).toBe(0);
});

test("uses a target of another make", async ({ skip }) => {
  try {
    execFileSync("which", ["vblade"]);
  } catch {
    skip("vblade is not installed");
  }
  const initiator = open(1500);
  const folder = mkdtempSync(join(tmpdir(), "aoed-initiator-"));
  closers.push(async () => Promise.resolve(rmSync(folder, { recursive: true })));
  const path = join(folder, "disk.img");
  writeFileSync(path, diskSectors(0, 500));
  const vblade = spawn("vblade", ["3", "1", "server0", path], { stdio: "ignore" });
  closers.push(async () => {
    const ended = once(vblade, "exit");
    vblade.kill("SIGKILL");
    await ended;
  });

  await initiator.discover({ timeoutMs: 60_000, enough: 1 });
  const disk = await initiator.open(3, 1);
  expect(disk.target).toMatchObject({ sectors: 500, model: "Coraid EtherDrive vblade" });
  await disk.write(7, diskSectors(7, 400, 2));
  expect(Buffer.compare(await disk.read(7, 400), diskSectors(7, 400, 2))).toBe(0);
  await expect(disk.flush()).rejects.toThrow(/FLUSH CACHE: refused \(status 0x41, error 0x4\)/);
});
