import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Responder } from "../aoe/responder.ts";
import { FrameArena } from "../arena/frame-arena.ts";
import { AtaEngine } from "../ata/ata-engine.ts";
import type { CommandMetrics } from "../metrics/command-metrics.ts";
import type { BlockRequest, BlockStorage } from "../storage/block-storage.ts";
import { openMemoryStorage } from "../storage/memory-storage.ts";
import { TargetManager } from "../target/target-manager.ts";
import { volatileState } from "../target/target.ts";
import { emptyPortStatistics, type EthernetPort, type LinkState } from "./ethernet-port.ts";
import { FrameService } from "./frame-service.ts";

/** A port whose frames the test writes, and which lists every call of the service. */
class ScriptedPort implements EthernetPort {
  readonly name = "test0";
  readonly link: LinkState = { mac: Uint8Array.of(2, 0, 0, 0, 0, 9), mtuBytes: 1500, up: true };
  readonly received = { frames: new Int32Array(64), lengths: new Int32Array(64) };
  readonly statistics = emptyPortStatistics();
  readonly calls: string[] = [];
  /** The last octets of the addresses that were answered. */
  readonly repliedTo: number[] = [];
  onReadable: (() => void) | undefined;
  onLinkChange: ((previous: LinkState) => void) | undefined;
  waiting: Uint8Array[] = [];
  #queued: number[] = [];
  readonly #arena: FrameArena;

  constructor(arena: FrameArena) {
    this.#arena = arena;
  }

  receive(maxFrames: number): number {
    const batch = this.waiting.splice(0, Math.min(maxFrames, this.#arena.freeCount));
    batch.forEach((bytes, index) => {
      const frame = this.#arena.allocate();
      this.#arena.bytes.set(bytes, this.#arena.frameOffset(frame));
      this.received.frames[index] = frame;
      this.received.lengths[index] = bytes.length;
    });
    this.calls.push(`receive ${batch.length}`);
    return batch.length;
  }

  send(frame: number): void {
    this.repliedTo.push(this.#arena.bytes[this.#arena.frameOffset(frame) + 5]);
    this.#queued.push(frame);
  }

  transmit(): void {
    this.calls.push(`transmit ${this.#queued.length}`);
    for (const frame of this.#queued.splice(0)) this.#arena.release(frame);
  }

  release(frame: number): void {
    this.#arena.release(frame);
  }

  stopReceiving(): void {
    this.calls.push("stopReceiving");
  }

  async close(): Promise<void> {
    this.calls.push("close");
  }
}

function request(ataCommand: number, source = 1): Uint8Array {
  const bytes = new Uint8Array(60);
  bytes.set([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x88, 0xa2, 0x10, 0, 0, 1, 0, 0, 1, 2, 3, 4]);
  bytes.set([0, 0, 1, ataCommand], 24);
  bytes[11] = source;
  return bytes;
}

const READ = 0x20;

describe("FrameService", () => {
  const arena = new FrameArena(1024);
  let nowMs: number;
  let storage: BlockStorage;
  let port: ScriptedPort;
  let responder: Responder;
  let metrics: CommandMetrics;
  let service: FrameService;
  let floods: number[];

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "setTimeout"] });
    nowMs = 0;
    floods = [];
    storage = openMemoryStorage({ sizeBytes: 64 * 512 }, arena);
    port = new ScriptedPort(arena);
    const targets = new TargetManager();
    const target = targets.add({ shelf: 1, slot: 0, storage, allow: [], ...volatileState });
    metrics = target.metrics;
    const engine = new AtaEngine("test");
    const identity = { bufferCount: 64, firmwareVersion: 1 };
    responder = new Responder({ arena, targets, engine, identity });
    service = new FrameService({
      targets,
      responder,
      ports: [port],
      arena,
      bufferCount: 64,
      clock: () => nowMs,
      onFlood: (_served, mac) => floods.push(mac),
    });
    service.start();
  });
  afterEach(() => {
    vi.useRealTimers();
    expect(arena.freeCount).toBe(arena.frameCount);
  });

  test("a batch is received, executed and answered with one call of each", () => {
    const submit = vi.spyOn(storage, "submit");
    port.waiting = Array.from({ length: 20 }, () => request(READ));
    port.onReadable?.();
    expect(port.calls).toEqual(["receive 16", "transmit 16", "receive 4", "transmit 4"]);
    expect(submit).toHaveBeenCalledTimes(2);
    expect(responder.statistics).toEqual({ started: 20, answered: 20, errors: 0, dropped: 0 });
  });

  test("one turn is bounded: timers and other ports come next", () => {
    port.waiting = Array.from({ length: 200 }, () => request(READ));
    port.onReadable?.();
    expect(port.waiting).toHaveLength(200 - 8 * 16);
    port.onReadable?.();
    expect(port.waiting).toHaveLength(0);
  });

  test("replies that complete later leave together", async () => {
    const held: BlockRequest[] = [];
    vi.spyOn(storage, "read").mockImplementation((pending) => void held.push(pending));
    port.waiting = [request(READ), request(READ), request(READ)];
    port.onReadable?.();
    expect(port.calls).toEqual(["receive 3"]);
    expect(responder.inFlight).toBe(3);
    for (const pending of held) pending.completed();
    expect(port.calls).toEqual(["receive 3"]);
    await Promise.resolve();
    expect(port.calls).toEqual(["receive 3", "transmit 3"]);
    expect(responder.inFlight).toBe(0);
  });

  test("a request lasts from when it is taken up until its reply leaves", async () => {
    const held: BlockRequest[] = [];
    const measured = (): number => metrics.commands()[0].durationSeconds;
    nowMs = 100;
    port.waiting = [request(READ)];
    port.onReadable?.();
    expect(measured()).toBe(0);
    const reads = vi.spyOn(storage, "read");
    reads.mockImplementation((pending) => void held.push(pending));
    nowMs = 200;
    port.waiting = [request(READ)];
    port.onReadable?.();
    nowMs = 450;
    for (const pending of held) pending.completed();
    await Promise.resolve();
    expect(measured()).toBe(0.25);
    reads.mockRestore();
    // So many that senders have turns of their own.
    nowMs = 600;
    port.waiting = Array.from({ length: 200 }, () => request(READ));
    port.onReadable?.();
    port.onReadable?.();
    expect(metrics.commands()[0].answered).toBe(202);
    expect(measured()).toBe(0.25);
  });

  test("frames that waited while the process stood still are dropped, and counted", () => {
    port.waiting = [request(READ), request(READ)];
    nowMs = 10_000;
    port.onReadable?.();
    expect(service.dropCount("stale")).toBe(2);
    expect(responder.statistics.answered).toBe(0);
    port.waiting = [request(READ)];
    nowMs += 10;
    port.onReadable?.();
    expect(responder.statistics.answered).toBe(1);
  });

  test("also when a timer notices it first; and what comes later is not", () => {
    port.waiting = [request(READ), request(READ)];
    nowMs = 10_000;
    vi.advanceTimersByTime(100);
    expect(service.dropCount("stale")).toBe(2);
    port.waiting = [request(READ)];
    nowMs += 10;
    port.onReadable?.();
    expect(responder.statistics.answered).toBe(1);
  });

  test("an idle server does not take its first frame for a stale one", () => {
    for (nowMs = 0; nowMs < 10_000; nowMs += 100) vi.advanceTimersByTime(100);
    port.waiting = [request(READ)];
    port.onReadable?.();
    expect(responder.statistics.answered).toBe(1);
  });

  test("a host that floods loses what is beyond its share, and others are answered before it", () => {
    const flood = (count: number) => Array.from({ length: count }, () => request(READ, 1));
    port.waiting = flood(1000);
    port.onReadable?.();
    // Now one turn was not enough. Behind the flood waits what another host has sent.
    port.waiting = [
      ...flood(400),
      ...Array.from({ length: 24 }, () => request(READ, 2)),
      ...flood(400),
    ];
    port.repliedTo.length = 0;
    const others = () => port.repliedTo.filter((source) => source === 2).length;
    for (let turn = 0; turn < 20 && others() < 24; turn++) port.onReadable?.();
    const between = port.repliedTo.slice(port.repliedTo.indexOf(2), port.repliedTo.lastIndexOf(2));
    expect(between.length).toBeLessThan(2 * 24);
    while (port.waiting.length > 0) port.onReadable?.();
    port.onReadable?.();
    expect(others()).toBe(24);
    expect(service.dropCount("over_share")).toBeGreaterThan(200);
    vi.advanceTimersByTime(100);
    vi.advanceTimersByTime(100);
    expect(floods).toEqual([0x020000000001]);
    // It is over: the next frames are executed in the order of their arrival again.
    port.calls.length = 0;
    port.waiting = [request(READ, 1), request(READ, 2)];
    port.onReadable?.();
    expect(port.calls).toEqual(["receive 2", "transmit 2"]);
  });

  test("a disk that hangs leaves half of the frames to others", () => {
    vi.spyOn(storage, "read").mockImplementation((pending) => void held.push(pending));
    const held: BlockRequest[] = [];
    for (let count = 0; count < 6; count++) {
      port.waiting = Array.from({ length: 100 }, () => request(READ));
      port.onReadable?.();
    }
    expect(held).toHaveLength(arena.frameCount / 2);
    expect(service.dropCount("overloaded")).toBe(600 - arena.frameCount / 2);
    for (const pending of held) pending.completed();
    expect(responder.inFlight).toBe(0);
    port.waiting = [request(READ)];
    port.onReadable?.();
    expect(held).toHaveLength(arena.frameCount / 2 + 1);
    held.at(-1)?.completed();
  });

  test("at the end, what is in flight is answered and the rest is not begun", async () => {
    const held: BlockRequest[] = [];
    vi.spyOn(storage, "read").mockImplementation((pending) => void held.push(pending));
    port.waiting = [request(READ)];
    port.onReadable?.();
    const stopped = service.stop(1000);
    held[0].completed();
    await vi.advanceTimersByTimeAsync(10);
    await stopped;
    expect(port.calls).toEqual(["receive 1", "stopReceiving", "transmit 1", "close"]);
  });

  describe("that polls busily", () => {
    let polling: FrameService;
    beforeEach(() => {
      const targets = new TargetManager();
      targets.add({ shelf: 1, slot: 0, storage, allow: [], ...volatileState });
      const identity = { bufferCount: 64, firmwareVersion: 1 };
      responder = new Responder({ arena, targets, engine: new AtaEngine("test"), identity });
      const clock = (): number => 0;
      const options = { arena, targets, responder, ports: [port], bufferCount: 64, clock };
      polling = new FrameService({ ...options, busyPollMs: 0.5 });
      polling.start();
    });
    afterEach(async () => polling.stop(0));

    test("answers what comes while it looks, without being woken", () => {
      port.waiting = [request(READ)];
      const receive = port.receive.bind(port);
      let looks = 0;
      port.receive = (maxFrames) => {
        // Nothing at the first look after the first frame, then one more frame.
        if (++looks === 3) port.waiting = [request(READ)];
        return receive(maxFrames);
      };
      port.onReadable!();
      expect(port.repliedTo.length).toBe(2);
      expect(looks).toBeGreaterThanOrEqual(3);
    });

    test("gives the event loop back when a disk is waited for", () => {
      vi.spyOn(storage, "read").mockImplementation(() => {});
      port.waiting = [request(READ)];
      port.onReadable!();
      expect(port.calls.filter((call) => call.startsWith("receive"))).toEqual(["receive 1"]);
      vi.restoreAllMocks();
      // The request is given back, so that the arena is whole at the end.
      port.release(port.received.frames[0]);
    });

    test("ends although frames never cease to come", () => {
      const receive = port.receive.bind(port);
      port.receive = (maxFrames) => {
        port.waiting = [request(READ)];
        return receive(maxFrames);
      };
      port.onReadable!();
      port.receive = receive;
      port.waiting = [];
      expect(port.repliedTo.length).toBeGreaterThan(1);
    });
  });
});
