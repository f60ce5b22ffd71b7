import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { openMemoryStorage } from "../storage/memory-storage.ts";
import { TargetManager } from "../target/target-manager.ts";
import { volatileState } from "../target/target.ts";
import { Announcer, type ForeignServer } from "./announcer.ts";
import { noDrops } from "./drop-reason.ts";
import { AoeCommand, AoeFlag, destinationMac, shelf, slot, writeHeader } from "./header.wire.ts";
import type { ReplyPort } from "./reply-port.ts";

const BROADCAST = 0xffffffffffff;

describe("Announcer", () => {
  const arena = new FrameArena(64);
  let sent: string[];
  let foreign: ForeignServer[];
  let announcer: Announcer;
  let targets: TargetManager;

  const port: ReplyPort = {
    name: "test0",
    mac: Uint8Array.of(2, 0, 0, 0, 0, 9),
    mtuBytes: 1500,
    drops: noDrops(),
    send(frame) {
      const at = arena.frameOffset(frame);
      const to = destinationMac(arena.bytes, at);
      const address = `${shelf(arena.bytes, at)}.${slot(arena.bytes, at)}`;
      sent.push(to === BROADCAST ? address : `${address} to ${to}`);
      arena.release(frame);
    },
    release: (frame) => arena.release(frame),
  };

  beforeEach(() => {
    vi.useFakeTimers();
    sent = [];
    foreign = [];
    targets = new TargetManager();
    for (const slotAddress of [0, 1]) {
      const storage = openMemoryStorage({ sizeBytes: 64 * 512 }, arena);
      targets.add({ shelf: 1, slot: slotAddress, storage, allow: [], ...volatileState });
    }
    const identity = { bufferCount: 64, firmwareVersion: 1 };
    announcer = new Announcer(arena, targets, identity, (other) => foreign.push(other));
    announcer.ports = [port];
  });
  afterEach(() => {
    announcer.stop();
    vi.useRealTimers();
    expect(arena.freeCount).toBe(arena.frameCount);
  });

  test("announces every target at once, and again after one and five seconds", () => {
    announcer.announceAll();
    expect(sent).toEqual(["1.0", "1.1"]);
    vi.advanceTimersByTime(1000);
    expect(sent).toHaveLength(4);
    vi.advanceTimersByTime(60_000);
    expect(sent).toHaveLength(6);
  });

  test("stops with the server", () => {
    announcer.announceAll();
    announcer.stop();
    vi.advanceTimersByTime(60_000);
    expect(sent).toHaveLength(2);
  });

  test("a target with a mask list is announced to those on it only", async () => {
    const [target] = targets.all();
    await target.changeState((state) => ({ ...state, mask: [5, 6] }));
    announcer.announceTarget(target);
    expect(sent).toEqual(["1.0 to 5", "1.0 to 6"]);
  });

  test.each([
    ["another server with our address", 1, 0, 7, 1],
    ["our own announcement on another interface", 1, 0, 0x020000000009, 0],
    ["a server with an address of its own", 2, 0, 7, 0],
  ])("hears %s", (_, shelfAddress, slotAddress, mac, warnings) => {
    const frame = arena.allocate();
    const at = arena.frameOffset(frame);
    writeHeader(arena.bytes, at, {
      destinationMac: BROADCAST,
      sourceMac: mac,
      flags: AoeFlag.response,
      shelf: shelfAddress,
      slot: slotAddress,
      command: AoeCommand.config,
      tag: 0,
    });
    announcer.hear(port, at);
    expect(foreign).toHaveLength(warnings);
    expect(announcer.foreignAnnouncements).toBe(warnings);
    arena.release(frame);
  });
});
