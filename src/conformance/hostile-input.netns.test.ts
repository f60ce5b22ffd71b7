import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { openMemoryStorage } from "../storage/memory-storage.ts";
import { config, frameOf } from "./frames.testing.ts";
import { HOSTILE_TARGETS, hostileSettings, runHostile } from "./hostile-run.testing.ts";
import type { HostileWire } from "./hostile-run.testing.ts";
import { ProcessWire } from "./process-wire.testing.ts";
import { readAll } from "./read-all.testing.ts";
import { Reply } from "./replies.testing.ts";
import {
  makeStateDirectory,
  removeStateDirectory,
  startTestServer,
} from "./test-server.testing.ts";
import { placePump, makeLink, removeLinks } from "./veth.testing.ts";

const SERVER_MAC = "02:ae:00:00:00:01";
const FENCE_STATION = "02:00:00:00:00:fe";
/** Not among the targets of the hostile frames: nobody locks the fence out. */
const FENCE_TARGET = { shelf: 99, slot: 9, sectors: 8, readOnly: false };
const FENCE_TAGS = 0xfe000000;
const MTU_BYTES = 1500;
/** A tag's worth more than a frame of the MTU: what veth still lets through. */
const LONGEST_FRAME = MTU_BYTES + 14 + 4;
const ARENA_FRAMES = 512;
const FRAMES = 30_000;

const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

test("hostile frames through a real interface", async () => {
  const { frames, seed } = hostileSettings(FRAMES);
  makeLink(0, SERVER_MAC, MTU_BYTES);
  closers.push(async () => Promise.resolve(removeLinks()));
  const stateDirectory = await makeStateDirectory();
  closers.push(async () => removeStateDirectory(stateDirectory));
  const pump = await ProcessWire.open(placePump(stateDirectory), "own0", SERVER_MAC, MTU_BYTES);
  closers.push(async () => pump.close());

  const arena = new FrameArena(ARENA_FRAMES);
  const targets = [...HOSTILE_TARGETS, FENCE_TARGET].map(({ shelf, slot, sectors, readOnly }) => {
    const sizeBytes = sectors * SECTOR_BYTES;
    return { shelf, slot, storage: openMemoryStorage({ sizeBytes, readOnly }, arena) };
  });
  const interfaces = ["server0"];
  const server = await startTestServer({ arena, interfaces, targets, stateDirectory });
  closers.push(async () => server.stop());

  let fences = 0;
  const untilFence = async (): Promise<Uint8Array[]> => {
    const tag = FENCE_TAGS + fences++;
    const { shelf, slot } = FENCE_TARGET;
    const header = { destination: SERVER_MAC, source: FENCE_STATION, shelf, slot, tag };
    pump.send(frameOf(header, config()));
    const before: Uint8Array[] = [];
    for (;;) {
      const octets = await pump.receive(60_000);
      if (octets === null) throw new Error(`seed ${seed}: the server does not answer any more`);
      if (new Reply(octets).tag === tag) return before;
      before.push(octets);
    }
  };
  const isIdle = (): boolean => {
    const { started, answered, dropped } = server.statusNow().exchanges;
    return started === answered + dropped;
  };
  const wire: HostileWire = {
    serverMac: SERVER_MAC,
    mtuBytes: MTU_BYTES,
    exchange: async (batch) => {
      for (const frame of batch) pump.send(frame);
      const first = await untilFence();
      while (!isIdle()) await delay(1);
      return [...first, ...(await untilFence())];
    },
    clearStates: async () => {
      for (const { shelf, slot } of HOSTILE_TARGETS) {
        await server.api.clear(shelf, slot, { configString: false, mask: true, reservation: true });
      }
    },
    diskOf: async ({ shelf, slot }) => {
      const target = targets.find((one) => one.shelf === shelf && one.slot === slot);
      if (target === undefined) throw new Error("no such target");
      return Promise.resolve(readAll(target.storage, arena));
    },
  };
  const longestFrame = LONGEST_FRAME;
  const options = { frames, seed, longestFrame, everyShelf: false, batchFrames: 64 };
  const oracle = await runHostile(wire, options);
  const { exchanges, ports } = server.statusNow();
  expect(ports[0].statistics.receiveOverruns, `seed ${seed}`).toBe(0);
  const started = exchanges.started + ports[0].drops.no_frame - fences;
  expect(started, `seed ${seed}`).toBe(oracle.asked);
  expect(exchanges.answered - fences, `seed ${seed}`).toBe(oracle.answered);
  expect(exchanges.started, `seed ${seed}`).toBe(exchanges.answered + exchanges.dropped);
  expect(ports[0].statistics.sendFailures).toBe(0);
  expect(oracle.answered).toBeGreaterThan(frames / 4);
  expect(arena.freeCount).toBe(ARENA_FRAMES);
}, 1_200_000);
