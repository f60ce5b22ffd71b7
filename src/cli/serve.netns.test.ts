import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { ServerStatus } from "../control/control-api.ts";
import type { Finished } from "./run-aoed.testing.ts";
import { type Served, type ServerPlace, withServerPlace } from "./serve-process.testing.ts";

/** A busy machine may not answer within the second that the commands wait. */
const PATIENCE = { timeout: 60_000 };
const LONG = ["--timeout", "30s"];

let server: ServerPlace;
let place: ServerPlace["place"];

withServerPlace((given) => {
  server = given;
  ({ place } = given);
});

async function serve(...words: string[]): Promise<Served> {
  return server.serve(...words);
}

async function aoed(...words: string[]): Promise<Finished> {
  return server.aoed(...words);
}

async function stop(served: Served, signal: NodeJS.Signals): Promise<number | null> {
  return server.stop(served, signal);
}

function folderBytes(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

test("the embedded default: a thin volume that is announced, found, kept, and found again", async () => {
  const served = await serve("--interface", "server0");
  expect(served.stdout).toMatch(/^aoed: ready on server0 with e1\.0\n/);
  expect(served.stdout).toMatch(
    /^e1\.0 +16GiB +durable +volume e1\.0 in file store .*aoed-data\/store/m,
  );
  for (const command of ["modprobe aoe", "aoe-discover", "mkfs.ext4 /dev/etherd/e1.0"]) {
    expect(served.stdout).toContain(command);
  }
  expect(folderBytes(place.path("aoed-data/store"))).toBeLessThan(1024 * 1024);

  const found = async () =>
    JSON.parse(
      (await aoed("discover", "--interface", "client0", "--json")).stdout || "[]",
    ) as object;
  await expect
    .poll(found, PATIENCE)
    .toMatchObject([
      { shelf: 1, slot: 0, sectors: (16 * 2 ** 30) / 512, model: "aoed", maxSectors: 2 },
    ]);
  expect(await stop(served, "SIGTERM")).toBe(0);

  const again = await serve("--interface", "server0");
  expect(await stop(again, "SIGINT")).toBe(0);
});

test("the embedded default of an earlier version goes on being served", async () => {
  mkdirSync(place.path("aoed-data"));
  writeFileSync(place.path("aoed-data/e1.0.img"), Buffer.alloc(8192));
  const served = await serve("--interface", "server0");
  expect(served.stdout).toMatch(/^e1\.0 +8KiB +durable +file .*e1\.0\.img/m);
  expect(existsSync(place.path("aoed-data/store"))).toBe(false);
  expect(await stop(served, "SIGTERM")).toBe(0);
});

test("exports: a new file, an existing one read-only, and a second start", async () => {
  writeFileSync(place.path("old.img"), Buffer.alloc(8192));
  const words = ["-i", "server0", "-e", "7.1=old.img", "--read-only", "--state-dir", "state"];
  const served = await serve(...words);
  expect(served.stdout).toMatch(/^e7\.1 +8KiB +refused/m);
  expect(served.stdout).toContain("mount -o ro /dev/etherd/e7.1 /mnt");
  expect(served.stdout).not.toContain("mkfs");
  expect(await stop(served, "SIGTERM")).toBe(0);

  const second = await serve("-i", "server0", "-e", "7.2=new.img", "--size", "1MiB");
  expect(statSync(place.path("new.img")).size).toBe(1024 * 1024);
  await expect
    .poll(async () => aoed("discover"), PATIENCE)
    .toMatchObject({ code: 0, stdout: expect.stringMatching(/^e7\.2 +1MiB +client0 /m) as string });
  expect(await stop(second, "SIGTERM")).toBe(0);
});

test("ping, status and state against a server from a file", async () => {
  writeFileSync(
    place.path("aoed.toml"),
    `[server]
interface = "server0"
state_dir = "state"
buffer_count = 32
[[target]]
shelf = 3
slot = 4
backend = "memory"
size = "1MiB"
config_string = "boot"
`,
  );
  const served = await serve("--config", "aoed.toml", "--pcap", "trace.pcap");

  const pinged = await aoed(
    "ping",
    "3.4",
    "-i",
    "client0",
    "-c",
    "3",
    "--interval",
    "10ms",
    ...LONG,
  );
  expect(pinged).toMatchObject({ code: 0, stderr: "" });
  expect(pinged.stdout).toMatch(/^e3\.4 at [0-9a-f:]{17}: 3 of 3 answered \(least, average/m);
  const missed = await aoed("ping", "3.5", "-i", "client0", "--timeout", "100ms", "--json");
  expect(missed).toMatchObject({ code: 1, stdout: "" });
  expect(missed.stderr).toMatch(/^aoed: e3\.5: [^\n]*\n$/);

  const answer = await aoed("status", "--socket", "state/control.sock", "--json");
  const status = JSON.parse(answer.stdout) as ServerStatus;
  expect(status.ports[0].interface).toBe("server0");
  expect(status.targets[0]).toMatchObject({ shelf: 3, slot: 4, storage: { sectors: 2048 } });
  expect(status.exchanges.answered).toBeGreaterThan(3);
  const table = await aoed("status", "--socket", "state/control.sock");
  expect(table.stdout).toMatch(/^e3\.4 +1MiB/m);

  const shown = await aoed("state", "show", "3.4", "--state-dir", "state");
  expect(shown.stdout).toMatch(/^config string +"boot"$/m);
  const cleared = await aoed("state", "clear", "3.4", "--config-string", "--state-dir", "state");
  expect(cleared.stdout).toMatch(/^config string +empty$/m);
  const unknown = await aoed("state", "show", "9.9", "--socket", "state/control.sock");
  expect(unknown.code).toBe(2);

  const second = await aoed("serve", "--config", "aoed.toml");
  expect(second.code).toBe(2);
  expect(second.stderr).toMatch(/control.sock: another aoed answers here; [^\n]*\n$/);

  expect(await stop(served, "SIGTERM")).toBe(0);
  expect(readFileSync(place.path("trace.pcap")).length).toBeGreaterThan(24 + 16 + 60);
  const offline = await aoed("state", "show", "3.4", "--state-dir", "state", "--json");
  expect(JSON.parse(offline.stdout)).toMatchObject({ shelf: 3, slot: 4, configString: "" });
});

test("logs are JSON on standard error when that is no terminal", async () => {
  const served = await serve("-i", "server0", "-e", "1.1=x.img", "--size", "1MiB");
  expect(await stop(served, "SIGTERM")).toBe(0);
  const lines = served.stderr.trimEnd().split("\n");
  const last = JSON.parse(lines.at(-1) ?? "") as Record<string, unknown>;
  expect(last).toMatchObject({ signal: "SIGTERM", msg: expect.stringContaining("stopping") });
});
