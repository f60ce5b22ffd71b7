import assert from "node:assert/strict";
import { hex } from "./frames.testing.ts";
import type { Mac } from "./frames.testing.ts";
import { fixedSeed } from "./fixed-seed.testing.ts";
import { HostileFrames, Numbers } from "./hostile-frames.testing.ts";
import type { HostileTarget } from "./hostile-frames.testing.ts";
import { HostileOracle } from "./hostile-oracle.testing.ts";
import { Reply } from "./replies.testing.ts";

export const HOSTILE_TARGETS: readonly HostileTarget[] = [
  { shelf: 1, slot: 0, sectors: 256, readOnly: false },
  { shelf: 1, slot: 1, sectors: 100, readOnly: false },
  { shelf: 7, slot: 1, sectors: 64, readOnly: true },
];

const STATIONS: readonly Mac[] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"];

/** What a run needs of the server and its wire. */
export interface HostileWire {
  readonly serverMac: Mac;
  readonly mtuBytes: number;
  /** Sends the frames in this order and returns all that the server says to them. */
  exchange(frames: readonly Uint8Array[]): Promise<Uint8Array[]>;
  /** Empties mask lists and reservations, so that the server goes on listening. */
  clearStates(): Promise<void>;
  /** The disk of a target as it is. */
  diskOf(target: HostileTarget): Promise<Uint8Array>;
}

export interface HostileOptions {
  readonly frames: number;
  readonly seed: number;
  readonly longestFrame: number;
  /** Whether some frames are for every shelf; by default, yes. */
  readonly everyShelf?: boolean;
  /** Frames under way at once. */
  readonly batchFrames: number;
  readonly onBatch?: (sent: number) => void;
}

const CLEAR_EVERY_BATCHES = 16;
const COMPARE_EVERY_BATCHES = 64;

/** The count of frames to send, and the seed: from the environment, to repeat or to go further. */
export function hostileSettings(defaultFrames: number): { frames: number; seed: number } {
  const { HOSTILE_FRAMES, HOSTILE_SEED } = process.env;
  const seed = HOSTILE_SEED ?? fixedSeed();
  return {
    frames: HOSTILE_FRAMES === undefined ? defaultFrames : Number(HOSTILE_FRAMES),
    seed: seed === undefined ? (Date.now() & 0x7fffffff) + 1 : Number(seed),
  };
}

/** Sends hostile frames and checks every answer. @throws AssertionError that tells how to repeat */
export async function runHostile(
  wire: HostileWire,
  options: HostileOptions,
): Promise<HostileOracle> {
  const { frames: total, seed, longestFrame, everyShelf = true, batchFrames } = options;
  const { serverMac, mtuBytes } = wire;
  const targets = HOSTILE_TARGETS;
  const numbers = new Numbers(seed);
  const source = new HostileFrames(numbers, {
    serverMac,
    stations: STATIONS,
    targets,
    everyShelf,
    longestFrame,
  });
  const oracle = new HostileOracle(targets, serverMac, mtuBytes);
  let batch = 0;
  for (let sent = 0; sent < total; batch++) {
    const count = Math.min(batchFrames, total - sent);
    const first = sent;
    const frames = Array.from({ length: count }, (_, index) => source.next(first + index + 1));
    await checkBatch(wire, oracle, frames, first + 1, seed);
    sent += count;
    if (batch % CLEAR_EVERY_BATCHES === 0) await wire.clearStates();
    if (batch % COMPARE_EVERY_BATCHES === 0 || sent === total)
      await compareDisks(wire, oracle, seed);
    options.onBatch?.(sent);
  }
  return oracle;
}

async function checkBatch(
  wire: HostileWire,
  oracle: HostileOracle,
  frames: readonly Uint8Array[],
  firstTag: number,
  seed: number,
): Promise<void> {
  const replies = Map.groupBy(
    (await wire.exchange(frames)).map((octets) => new Reply(octets)).filter((r) => !r.isBeacon),
    (reply) => reply.tag,
  );
  for (const [index, frame] of frames.entries()) {
    const tag = firstTag + index;
    try {
      oracle.take(frame, replies.get(tag) ?? []);
    } catch (error) {
      const answers = (replies.get(tag) ?? []).map((reply) => reply.hex).join(" ");
      const where = `HOSTILE_SEED=${seed}, frame ${tag}: ${hexOf(frame)} answered ${answers}`;
      throw new Error(where, { cause: error });
    }
    replies.delete(tag);
  }
  const unasked = [...replies.values()].flat().map((reply) => reply.hex);
  assert.deepEqual(unasked, [], `HOSTILE_SEED=${seed}: answers to nobody`);
}

async function compareDisks(wire: HostileWire, oracle: HostileOracle, seed: number): Promise<void> {
  for (const { target, data } of oracle.disks) {
    const actual = await wire.diskOf(target);
    const name = `e${target.shelf}.${target.slot}`;
    assert.equal(Buffer.compare(data, actual), 0, `HOSTILE_SEED=${seed}: ${name} differs`);
  }
}

function hexOf(frame: Uint8Array): string {
  return frame.length > 2000 ? hex(frame) : Buffer.from(frame).toString("hex");
}
