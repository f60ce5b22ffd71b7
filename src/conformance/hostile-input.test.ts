import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";

import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { openMemoryStorage } from "../storage/memory-storage.ts";
import { macOctets } from "./frames.testing.ts";
import { HarnessPort } from "./harness-port.testing.ts";
import type { HostileTarget } from "./hostile-frames.testing.ts";
import { HOSTILE_TARGETS, hostileSettings, runHostile } from "./hostile-run.testing.ts";
import type { HostileWire } from "./hostile-run.testing.ts";
import { readAll } from "./read-all.testing.ts";
import {
  makeStateDirectory,
  removeStateDirectory,
  startTestServer,
} from "./test-server.testing.ts";

const SERVER_MAC = "02:ae:00:00:00:01";
const ARENA_FRAMES = 256;
const FRAMES = 200_000;
/** Turns of a millisecond in which a batch must be done with. */
const IDLE_TURNS = 20_000;
/** Bounds on growth over the whole run: of what JavaScript holds, and of the process. */
const HEAP_GROWTH_BYTES = 8 * 1024 * 1024;
const RESIDENT_GROWTH_BYTES = 96 * 1024 * 1024;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

interface Setup {
  readonly server: Awaited<ReturnType<typeof startTestServer>>;
  readonly arena: FrameArena;
  readonly port: HarnessPort;
  readonly wire: HostileWire;
}

async function start(): Promise<Setup> {
  const arena = new FrameArena(ARENA_FRAMES);
  const port = new HarnessPort("wire", macOctets(SERVER_MAC), 1500, arena);
  const targets = HOSTILE_TARGETS.map((target) => ({
    shelf: target.shelf,
    slot: target.slot,
    storage: openMemoryStorage(
      { sizeBytes: target.sectors * SECTOR_BYTES, readOnly: target.readOnly },
      arena,
    ),
  }));
  const stateDirectory = await makeStateDirectory();
  const server = await startTestServer({ arena, ports: [port], targets, stateDirectory });
  closers.push(async () => {
    await server.stop();
    await removeStateDirectory(stateDirectory);
  });
  let replies: Uint8Array[] = [];
  port.onSent = (frame) => replies.push(frame);
  const isIdle = (): boolean => {
    const { started, answered, dropped } = server.statusNow().exchanges;
    return port.waitingFrames === 0 && started === answered + dropped;
  };
  const wire: HostileWire = {
    serverMac: SERVER_MAC,
    mtuBytes: 1500,
    exchange: async (frames) => {
      replies = [];
      for (const frame of frames) port.inject(frame);
      for (let turn = 0; turn < 3 || !isIdle(); turn++) {
        if (turn === IDLE_TURNS) throw new Error("the server does not come to rest");
        // After a few turns only changes of state can be under way, which wait for the disk.
        await (turn < 5 ? nextTurn() : delay(1));
      }
      return replies;
    },
    clearStates: async () => {
      for (const { shelf, slot } of HOSTILE_TARGETS) {
        await server.api.clear(shelf, slot, { configString: false, mask: true, reservation: true });
      }
    },
    diskOf: async ({ shelf, slot }: HostileTarget) => {
      const target = targets.find((one) => one.shelf === shelf && one.slot === slot);
      if (target === undefined) throw new Error("no such target");
      return Promise.resolve(readAll(target.storage, arena));
    },
  };
  return { server, arena, port, wire };
}

test("hostile frames: every answer is right, every frame is counted, nothing is left behind", async () => {
  const { frames, seed } = hostileSettings(FRAMES);
  const { server, arena, port, wire } = await start();
  let heapAtStart = 0;
  let residentAtStart = 0;
  const oracle = await runHostile(wire, {
    frames,
    seed,
    longestFrame: 9300,
    // Together with the copies that wildcards need, sometimes more than the arena holds.
    // What fits one turn is executed in the order of arrival, which the oracle goes by.
    batchFrames: 96,
    onBatch: (sent) => {
      if (heapAtStart > 0 || sent < frames / 5) return;
      collectGarbage();
      heapAtStart = process.memoryUsage().heapUsed;
      residentAtStart = process.memoryUsage.rss();
    },
  });
  const { exchanges, ports } = server.statusNow();
  const { drops, statistics } = ports[0];
  const dropped = Object.values(drops).reduce((sum, count) => sum + count, 0);
  const beforeExchange = dropped - exchanges.dropped - drops.no_frame;

  expect(statistics.receivedFrames + statistics.truncatedFrames, `seed ${seed}`).toBe(frames);
  expect(beforeExchange + statistics.truncatedFrames, `seed ${seed}`).toBe(oracle.notForUs);
  expect(exchanges.started + drops.no_frame, `seed ${seed}`).toBe(oracle.asked);
  expect(exchanges.answered, `seed ${seed}`).toBe(oracle.answered);
  expect(exchanges.started, `seed ${seed}`).toBe(exchanges.answered + exchanges.dropped);
  expect(port.badLengths).toBe(0);
  expect(arena.freeCount).toBe(ARENA_FRAMES);
  // The run must have reached what it is for.
  expect(oracle.answered).toBeGreaterThan(frames / 4);
  expect(exchanges.errors).toBeGreaterThan(frames / 100);

  collectGarbage();
  expect(process.memoryUsage().heapUsed - heapAtStart).toBeLessThan(HEAP_GROWTH_BYTES);
  expect(process.memoryUsage.rss() - residentAtStart).toBeLessThan(RESIDENT_GROWTH_BYTES);
}, 1_200_000);
