import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { afterEach, expect, test } from "vitest";
import { ServiceManager } from "./service-manager.ts";

/** Binds a Unix datagram socket, which Node cannot, and prints each datagram as a line of JSON. */
const LISTENER = `
use Socket;
my $name = $ARGV[0]; $name =~ s/^@/\\0/;
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, pack_sockaddr_un($name)) or die "bind: $!";
$| = 1; print "bound\\n";
while (defined recv($s, my $text, 4096, 0)) { $text =~ s/\\n/|/g; print "$text\\n"; }
`;

let listener: ChildProcess | undefined;
let folder: string | undefined;

afterEach(async () => {
  if (listener !== undefined) {
    const ended = once(listener, "exit");
    listener.kill();
    await ended;
  }
  if (folder !== undefined) rmSync(folder, { recursive: true });
  listener = undefined;
  folder = undefined;
});

async function listenAt(name: string): Promise<AsyncIterator<string>> {
  listener = spawn("perl", ["-e", LISTENER, name], { stdio: ["ignore", "pipe", "inherit"] });
  const lines: Interface = createInterface({ input: listener.stdout! });
  const iterator = lines[Symbol.asyncIterator]();
  expect((await iterator.next()).value).toBe("bound");
  return iterator;
}

async function tellsAll(name: string): Promise<void> {
  const lines = await listenAt(name);
  const manager = new ServiceManager({ NOTIFY_SOCKET: name, WATCHDOG_USEC: "20000" });
  const next = async () => (await lines.next()).value as string;
  manager.ready("serves e1.0\nand more");
  expect(await next()).toBe(`READY=1|MAINPID=${process.pid}|STATUS=serves e1.0 and more`);
  const before = process.hrtime.bigint() / 1000n;
  manager.reloading();
  const [, microseconds] = /^RELOADING=1\|MONOTONIC_USEC=(\d+)$/.exec(await next()) ?? [];
  expect(BigInt(microseconds)).toBeGreaterThanOrEqual(before);
  manager.stopping();
  expect(await next()).toBe("STOPPING=1");
  let isWell = true;
  manager.keepAlive(() => isWell);
  for (let count = 0; count < 3; count++) expect(await next()).toBe("WATCHDOG=1");
  // A part of the service hangs: nothing is said any more, so the service manager ends it.
  isWell = false;
  manager.stopping();
  while ((await next()) === "WATCHDOG=1");
  await new Promise((resolve) => setTimeout(resolve, 3 * (manager.watchdogIntervalMs ?? 0)));
  manager.ready("");
  expect(await next()).toMatch(/^READY=1/);
}

test("a socket in the file system is told everything, and the watchdog again and again", async () => {
  folder = mkdtempSync(join(tmpdir(), "aoed-notify-"));
  await tellsAll(join(folder, "notify"));
});

test("an abstract socket likewise", async () => {
  await tellsAll(`@aoed-notify-test-${process.pid}`);
});

test("without a service manager, or with one that has gone, nothing happens", () => {
  for (const environment of [
    {},
    { NOTIFY_SOCKET: "/nonexistent/socket" },
    { NOTIFY_SOCKET: "x" },
  ]) {
    const manager = new ServiceManager(environment);
    manager.ready("");
    manager.stopping();
  }
});

test("the watchdog is ours only when the process is meant", () => {
  const environment = { NOTIFY_SOCKET: "@x", WATCHDOG_USEC: "30000000", WATCHDOG_PID: "17" };
  expect(new ServiceManager(environment, 17).watchdogIntervalMs).toBe(30_000);
  expect(new ServiceManager(environment, 18).watchdogIntervalMs).toBeUndefined();
  expect(new ServiceManager({ WATCHDOG_USEC: "1000" }).watchdogIntervalMs).toBeUndefined();
});
