import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { parseConfiguration } from "../config/load.ts";
import { frameOf, macOctets, macText, read } from "../conformance/frames.testing.ts";
import { HarnessPort } from "../conformance/harness-port.testing.ts";
import { shelfFilter } from "../ethernet/shelf-filter.ts";
import { createLog } from "../log/log.ts";
import { DelayStorage } from "../storage/delay-storage.ts";
import { openStorage } from "./open-storage.ts";
import type { RunningServer } from "./running-server.ts";
import { type Server, startServer } from "./server.ts";

/** The kernel throws away what one host sends too much of, and nothing of a host that does not. */

const SERVER = "02:ae:00:00:00:01";
const FLOODER = 0x02bb00000001;
const BLOCK_MS = 5000;
/** Long enough for a beat of the server, ten of which there are a second. */
const SLOW_MS = 500;

class FilteredPort extends HarnessPort {
  readonly filters: Uint8Array[] = [];
  setFilter(program: Uint8Array): void {
    this.filters.push(program);
  }
}

let folder: string;
let port: FilteredPort;
let server: RunningServer<Server>;
let delayMs: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "aoed-flood-"));
  delayMs = 0;
  const arena = new FrameArena(64);
  port = new FilteredPort("wire0", macOctets(SERVER), 1500, arena);
  const text = `[server]\ninterface = "wire0"\ncontrol_socket = "none"\nstate_dir = "state"
[[target]]\nshelf = 1\nslot = 0\nbackend = "memory"\nsize = "1MiB"\n`;
  const log = createLog({ level: "info", humanReadable: false, stream: { write: () => {} } });
  server = await startServer(parseConfiguration(text, join(folder, "aoed.toml")), log, {
    arena,
    ports: [port],
    // Time stands still: a busy machine must not make it drop what waits as too old.
    clock: () => 0,
    openStorage: async (...words) => new DelayStorage(await openStorage(...words), () => delayMs),
  });
});
afterEach(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
  vi.restoreAllMocks();
});

function request(mac: number): Uint8Array {
  const octets = Uint8Array.from({ length: 6 }, (_, at) => Math.floor(mac / 256 ** (5 - at)));
  const source = macText(octets);
  return frameOf({ destination: SERVER, source, shelf: 1, slot: 0, tag: 1 }, read(0, 1));
}

/** Puts 5000 frames on the wire at once. */
function flood(macOf: (index: number) => number): void {
  for (let index = 0; index < 5000; index++) port.inject(request(macOf(index)));
}

async function dropped(): Promise<number> {
  return (await server.api.status()).ports[0].drops.over_share;
}

test("one host that floods is blocked, and forged addresses get nobody blocked", async () => {
  // Of one host 820 frames, most of them first, and one of each of the others.
  const isOne = (index: number): boolean => index < 600 || index % 20 === 0;
  flood((index) => (isOne(index) ? 0x020000000007 : 0x02cc00000000 + index));
  await vi.waitUntil(() => port.waitingFrames === 0, 60_000);
  expect(await dropped()).toBeGreaterThan(1000);
  const before = port.filters.length;
  await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
  expect(port.filters).toHaveLength(before);

  await vi.waitUntil(() => {
    if (port.waitingFrames === 0) flood(() => FLOODER);
    return port.filters.length > before;
  }, 60_000);
  expect(port.filters.at(-1)).toEqual(shelfFilter([{ shelf: 1, slot: 0 }], FLOODER));
});

test("a flood that is found while the server stops leaves no timer", async () => {
  const made = vi.spyOn(globalThis, "setTimeout");
  const cleared = vi.spyOn(globalThis, "clearTimeout");
  delayMs = SLOW_MS;
  flood(() => FLOODER);
  await vi.waitUntil(async () => (await dropped()) > 2000, { timeout: 60_000, interval: 1 });
  await server.stop();
  const timers = made.mock.calls.flatMap(([, ms], index) =>
    ms === BLOCK_MS ? [made.mock.results[index].value as unknown] : [],
  );
  expect(timers).toHaveLength(1);
  expect(cleared.mock.calls.map(([timer]) => timer as unknown)).toContain(timers[0]);
});
