import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { ServerStatus } from "../control/control-api.ts";
import { type ServerPlace, withServerPlace } from "./serve-process.testing.ts";

/** Node runs it before the command: SIGUSR2 makes a fault in one of the worker threads. */
const FAULT = fileURLToPath(new URL("worker-fault.testing.ts", import.meta.url));

/** The same: the second worker hangs once there is a certain file. */
const HANG = fileURLToPath(new URL("worker-hang.testing.ts", import.meta.url));

let server: ServerPlace;

withServerPlace((given) => {
  server = given;
});

/** A file target e1.0, and what else is given. */
function configure(targets = "", keys = ""): void {
  writeFileSync(
    server.place.path("aoed.toml"),
    `[server]
interface = "server0"
state_dir = "state"
workers = 2
${keys}
[[target]]
shelf = 1
slot = 0
backend = "file"
path = "new.img"
size = "1MiB"
${targets}`,
  );
}

const SECOND = '[[target]]\nshelf = 1\nslot = 1\nbackend = "memory"\nsize = "1MiB"\n';

test("a fault in one worker ends the server with code 1 and the reason; the others stop in order", async () => {
  configure(SECOND);
  server.place.environment = { NODE_OPTIONS: `--import=${FAULT}` };
  const served = await server.serve("--config", "aoed.toml");
  const ended = once(served.process, "close");
  served.process.kill("SIGUSR2");
  expect(await ended).toEqual([1, null]);
  expect(served.stderr).toMatch(
    /"error":"worker 1 has ended: .*","msg":"a part of the server has died/,
  );
  // Everything is free again.
  server.place.environment = {};
  const again = await server.serve("--config", "aoed.toml");
  expect(await server.stop(again, "SIGTERM")).toBe(0);
});

test("a worker that hangs is found, the others serve on, and the server still ends", async () => {
  configure(SECOND);
  const file = server.place.path("hang");
  server.place.environment = { NODE_OPTIONS: `--import=${HANG}`, AOED_HANG_FILE: file };
  const served = await server.serve("--config", "aoed.toml");
  const socket = ["--socket", "state/control.sock"];
  const askStatus = async () =>
    JSON.parse(await server.did("status", "--json", ...socket)) as ServerStatus;
  // From here on it is known what each last said.
  await expect.poll(async () => (await askStatus()).silentWorkers, { timeout: 30_000 }).toEqual([]);
  writeFileSync(file, "");
  await expect
    .poll(async () => (await askStatus()).silentWorkers, { timeout: 30_000 })
    .toEqual([1]);
  // What it said before stands for it.
  expect((await askStatus()).targets.map(({ slot }) => slot)).toEqual([0, 1]);
  expect(await server.did("status", ...socket)).toMatch(/^PROBLEM: worker 1: it does not answer/m);
  await expect
    .poll(async () => (await server.aoed("ping", "1.0", "-i", "client0", "-c", "1")).code, {
      timeout: 60_000,
    })
    .toBe(0);
  // Nobody knows what that worker left undone.
  expect(await server.stop(served, "SIGTERM")).toBe(1);
  expect(served.stderr).toContain("worker 1 does not answer");
}, 180_000);

test("a start that one worker refuses leaves nothing, whatever the other would make", async () => {
  const words = ["-i", "server0", "-e", "5.0=held.img", "--size", "1MiB", "--state-dir", "other"];
  const holder = await server.serve(...words);
  configure(SECOND.replace('"memory"\nsize = "1MiB"', '"file"\npath = "held.img"'));
  const before = server.place.contents();
  const refused = await server.aoed("serve", "--config", "aoed.toml");
  expect(refused).toMatchObject({ code: 2, stdout: "" });
  expect(refused.stderr.split("\n").at(-2)).toMatch(/^aoed: .*held\.img/);
  expect(server.place.contents()).toEqual(before);
  expect(await server.stop(holder, "SIGTERM")).toBe(0);
});

test("a running server of two workers is changed as one", async () => {
  configure(SECOND);
  const served = await server.serve("--config", "aoed.toml");
  const socket = ["--socket", "state/control.sock"];
  const third = SECOND.replace("slot = 1", "slot = 2");
  configure(third);
  served.process.kill("SIGHUP");
  const ping = ["ping", "1.2", "-i", "client0", "-c", "1", "--timeout", "300ms"];
  let answered = false;
  for (let tries = 0; tries < 200 && !answered; tries++) {
    answered = (await server.aoed(...ping)).code === 0;
  }
  expect(answered).toBe(true);
  await server.did("target", "resize", "1.0", "2MiB", ...socket);
  const status = JSON.parse(await server.did("status", "--json", ...socket)) as ServerStatus;
  expect(status.targets.map(({ slot, storage }) => [slot, storage.sectors])).toEqual([
    [0, 4096],
    [2, 2048],
  ]);
  expect(await server.stop(served, "SIGTERM")).toBe(0);
});

test("interfaces that one thread alone can own: AF_XDP falls back, a TAP is refused", async () => {
  configure(SECOND, 'port = "xdp"');
  const served = await server.serve("--config", "aoed.toml");
  const lines = served.stderr.split("\n").filter((line) => line.includes("AF_XDP"));
  expect(lines).toEqual([expect.stringContaining("with several workers")]);
  const ping = ["ping", "1.1", "-i", "client0", "-c", "1", "--timeout", "30s"];
  expect((await server.aoed(...ping)).code).toBe(0);
  expect(await server.stop(served, "SIGTERM")).toBe(0);

  configure(SECOND, 'port = "tap"');
  const tap = await server.aoed("serve", "--config", "aoed.toml");
  expect(tap).toMatchObject({ code: 2, stdout: "" });
  expect(tap.stderr).toMatch(/^aoed: aoed\.toml:4:1: server\.workers: is more than one, and a TAP/);

  server.namespace.run("ip", "link", "add", "bridge0", "type", "bridge");
  const words = ["serve", "-i", "bridge0", "-e", "1.0=made.img", "--size", "1MiB"];
  const bridged = await server.aoed(...words, "--workers", "2");
  server.namespace.run("ip", "link", "delete", "bridge0");
  expect(bridged).toMatchObject({ code: 2, stdout: "" });
  expect(bridged.stderr.split("\n").at(-2)).toMatch(/^aoed: 'bridge0' is served through a TAP/);
  expect(server.place.contents()).not.toContain("made.img");
});
