import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  BROADCAST,
  config,
  Flag,
  frameOf,
  macText,
  read,
  write,
} from "../conformance/frames.testing.ts";
import type { Body } from "../conformance/frames.testing.ts";
import { HostileFrames, Numbers } from "../conformance/hostile-frames.testing.ts";
import { CasServer, casTarget } from "./cas-server.testing.ts";

/** Whoever can send frames must be able to fill neither the log nor the memory. */

const FRAMES = 200_000;
/** Of them, reads of a damaged block. */
const READS = 200;
const SERVER = "02:ae:00:00:00:01";
const STATION = "02:00:00:00:00:07";
/** What the disk holds before it is damaged: nothing else in the store is full of this. */
const CONTENT = 0xc1;

let server: CasServer;
beforeEach(() => {
  server = new CasServer();
});
afterEach(async () => {
  await server.remove();
});

function request(body: Body): Uint8Array {
  return frameOf({ destination: SERVER, source: STATION, shelf: 1, slot: 0, tag: 1 }, body);
}

/** Puts frames on the wire as fast as they are taken, until all are answered or dropped. */
async function flood(count: number, next: (index: number) => Uint8Array): Promise<void> {
  for (let index = 0; index < count; index++) {
    server.port.inject(next(index));
    while (server.port.waitingFrames > 256) await nextTurn();
  }
  for (;;) {
    const { started, answered, dropped } = (await server.running.api.status()).exchanges;
    if (server.port.waitingFrames === 0 && started === answered + dropped) return;
    await delay(5);
  }
}

/** Changes one octet of each block of CONTENT in the files of the store. */
function damageStore(): number {
  let damaged = 0;
  for (const name of readdirSync(server.path("store"), { recursive: true, encoding: "utf8" })) {
    const path = join(server.path("store"), name);
    if (!statSync(path).isFile()) continue;
    const octets = readFileSync(path);
    const block = Buffer.alloc(512, CONTENT);
    for (let at = octets.indexOf(block); at !== -1; at = octets.indexOf(block, at + 512)) {
      octets[at + 7] ^= 1;
      damaged++;
    }
    if (damaged > 0) writeFileSync(path, octets);
  }
  return damaged;
}

test("200,000 hostile frames write a bounded number of lines", async () => {
  const targets = casTarget(0, "store", 'size = "1MiB"');
  await server.start(targets);
  await flood(8, (index) => request(write(index * 2, new Uint8Array(1024).fill(CONTENT))));
  await server.stop();
  expect(damageStore()).toBeGreaterThan(0);
  server.logged.length = 0;

  await server.start(targets);
  // First alone: hostile writes and masks would soon be in the way of these.
  for (let sent = 0; sent < READS; sent += 10) await flood(10, () => request(read(0, 1)));
  const [target] = (await server.running.api.status()).targets;
  expect(target.errors.uncorrectable).toBe(READS);
  const numbers = new Numbers(20_261_126);
  const hostile = new HostileFrames(numbers, {
    serverMac: SERVER,
    stations: [STATION, "02:00:00:00:00:08"],
    targets: [{ shelf: 1, slot: 0, sectors: 2048, readOnly: true }],
    everyShelf: true,
    longestFrame: 1514,
  });
  await flood(FRAMES - READS, (index) => {
    const forged = numbers.octets(6);
    forged[0] = 0x02;
    const mac = macText(forged);
    if (index % 4 === 0) {
      const header = { destination: BROADCAST, source: mac, shelf: 1, slot: 0, tag: 0 };
      return frameOf({ ...header, flags: Flag.response }, config());
    }
    const frame = hostile.next(index);
    if (index % 2 === 0 && frame.length >= 12) frame.set(forged, 6);
    return frame;
  });

  const text = server.logged.join("");
  expect(text).toContain("another server announces e1.0");
  expect(text).toContain("LBA 0 to");
  expect(server.logged.length).toBeLessThan(100);
  const status = await server.running.api.status();
  expect(status.foreignAnnouncements).toBeGreaterThan(20_000);
  expect(status.initiators.length).toBeLessThanOrEqual(1024);
  expect(status.initiators.every(({ outstanding }) => outstanding === 0)).toBe(true);
}, 600_000);
