import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { ethernetPortCompliance } from "./ethernet-port.compliance.ts";
import { memorySegment } from "./memory-segment.ts";
import { pcapPort } from "./pcap-port.ts";
import { PcapWriter } from "./pcap-writer.ts";
import { ethernetFrame, testMac, WireTester } from "./wire.testing.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aoed-pcap-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A recording port and a plain one. */
function connect(path: string, arena = new FrameArena(64), mtuBytes = 1500) {
  const segment = memorySegment();
  const memory = segment.attach("memory0", testMac(1), mtuBytes, arena);
  const peerArena = new FrameArena(4096);
  const peer = new WireTester(
    segment.attach("memory1", testMac(2), mtuBytes, peerArena),
    peerArena,
  );
  const port = pcapPort(memory, arena, path);
  return { memory, port, arena, peer, station: new WireTester(port, arena) };
}

/** The frames of a capture, and the time of the first in milliseconds. */
function readCapture(path: string): { frames: Uint8Array[]; firstMs: number } {
  const file = readFileSync(path);
  expect(file.subarray(0, 24).toString("hex")).toBe(
    "4d3cb2a1020004000000000000000000ffff000001000000",
  );
  const frames: Uint8Array[] = [];
  for (let at = 24; at < file.length;) {
    const length = file.readUInt32LE(at + 8);
    expect(file.readUInt32LE(at + 12)).toBe(length);
    frames.push(Uint8Array.from(file.subarray(at + 16, at + 16 + length)));
    at += 16 + length;
  }
  return { frames, firstMs: firstTimeMs(file) };
}

function firstTimeMs(file: Buffer): number {
  if (file.length < 40) return 0;
  return file.readUInt32LE(24) * 1000 + file.readUInt32LE(28) / 1e6;
}

const frame = (to: number, from: number, fill: number): Uint8Array =>
  ethernetFrame(testMac(to), testMac(from), 0x88a2, new Uint8Array(60 + fill).fill(fill));

ethernetPortCompliance({
  name: "a recording port",
  filters: false,
  connect(arena, mtuBytes) {
    const { memory, port, peer } = connect(join(folder, "compliance.pcap"), arena, mtuBytes);
    return Promise.resolve({
      port,
      arena,
      peer,
      isConnected: () => true,
      setMtu: (mtu) => memory.setLink({ mtuBytes: mtu }),
      setUp: (up) => memory.setLink({ up }),
      setMac: (mac) => memory.setLink({ mac }),
      async close() {
        await port.close();
        await peer.port.close();
      },
    });
  },
});

test("records what comes and goes, in order, with the time", async () => {
  const path = join(folder, "one.pcap");
  const { port, peer, station } = connect(path);
  const startedMs = Date.now();
  station.send(frame(2, 1, 1));
  await peer.receiveCount(1);
  peer.send(frame(1, 2, 2));
  await station.receiveCount(1);
  await port.close();
  const { frames, firstMs } = readCapture(path);
  expect(frames).toEqual([frame(2, 1, 1), frame(1, 2, 2)]);
  expect(firstMs).toBeGreaterThanOrEqual(startedMs - 1);
  expect(firstMs).toBeLessThanOrEqual(Date.now() + 1);
});

test("ports may share a file", async () => {
  const path = join(folder, "shared.pcap");
  const [one, other] = [connect(path), connect(path)];
  one.station.send(frame(2, 1, 1));
  await one.port.close();
  other.station.send(frame(2, 1, 2));
  await other.port.close();
  expect(readCapture(path).frames).toEqual([frame(2, 1, 1), frame(2, 1, 2)]);
});

test("drops records, not frames, when they come faster than the disk takes them", async () => {
  const path = join(folder, "fast.pcap");
  const writer = new PcapWriter(path);
  const jumbo = new Uint8Array(9000);
  for (let number = 0; number < 2000; number++) writer.record(jumbo, 0, jumbo.length);
  expect(writer.droppedRecords).toBeGreaterThan(0);
  await writer.close();
  expect(readCapture(path).frames).toHaveLength(2000 - writer.droppedRecords);
});

test.runIf(existsSync("/dev/full"))("goes on without recording when the disk is full", async () => {
  const { port, peer, station } = connect("/dev/full");
  station.send(frame(2, 1, 1));
  for (let tries = 0; tries < 10_000 && port.captureFailure === undefined; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(port.captureFailure).toMatchObject({ code: "ENOSPC" });
  station.send(frame(2, 1, 2));
  expect(await peer.receiveCount(2)).toHaveLength(2);
  expect(port.droppedRecords).toBe(1);
  await port.close();
});

test("writes nothing after it was closed: its descriptor may be another file by then", async () => {
  const path = join(folder, "closed.pcap");
  const writer = new PcapWriter(path);
  await writer.close();
  const next = new PcapWriter(join(folder, "next.pcap"));
  writer.record(new Uint8Array(60), 0, 60);
  await new Promise((resolve) => setTimeout(resolve, 150));
  await next.close();
  expect(writer.droppedRecords).toBe(1);
  expect(readCapture(join(folder, "next.pcap")).frames).toEqual([]);
});

test("says which file it cannot write", () => {
  expect(() => connect(join(folder, "missing", "x.pcap"))).toThrow(
    `cannot write the capture file '${folder}/missing/x.pcap': ENOENT`,
  );
});

const hasTshark = existsSync("/usr/bin/tshark");

test.runIf(hasTshark)("tshark reads the capture", async () => {
  const path = join(folder, "tshark.pcap");
  const { port, station } = connect(path);
  station.send(frame(2, 1, 1), frame(2, 1, 2));
  await port.close();
  const lines = execFileSync("tshark", ["-r", path, "-T", "fields", "-e", "eth.type"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  expect(lines.trim().split("\n")).toEqual(["0x88a2", "0x88a2"]);
});
