import { beforeEach, describe, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { AtaEngine } from "../ata/ata-engine.ts";
import { openMemoryStorage } from "../storage/memory-storage.ts";
import { TargetManager } from "../target/target-manager.ts";
import type { TargetState } from "../target/state-file.ts";
import type { WireChange } from "../target/wire-change.ts";
import { noDrops } from "./drop-reason.ts";
import type { ReplyPort } from "./reply-port.ts";
import { Responder } from "./responder.ts";

const arena = new FrameArena(16);
const ME = 0x020000000001;

describe("what the wire may change", () => {
  let saved: TargetState[];
  let replies: Uint8Array[];
  const port: ReplyPort = {
    name: "test0",
    mac: Uint8Array.of(2, 0, 0, 0, 0, 9),
    mtuBytes: 1500,
    drops: noDrops(),
    send(frame, lengthBytes) {
      const at = arena.frameOffset(frame);
      replies.push(arena.bytes.slice(at, at + lengthBytes));
      arena.release(frame);
    },
    release: (frame) => arena.release(frame),
  };

  beforeEach(() => {
    saved = [];
    replies = [];
  });

  function serve(wireChanges: readonly WireChange[]) {
    const targets = new TargetManager();
    const target = targets.add({
      shelf: 1,
      slot: 0,
      storage: openMemoryStorage({ sizeBytes: 4096 }, arena),
      allow: [],
      wireChanges,
      state: { configString: Buffer.from("mine"), mask: [], reservation: [ME] },
      saveState: async (state) => void saved.push(state),
    });
    const engine = new AtaEngine("test");
    const identity = { bufferCount: 2, firmwareVersion: 1 };
    const responder = new Responder({ arena, targets, engine, identity });
    const ask = async (command: number, body: readonly number[]): Promise<Uint8Array> => {
      const bytes = new Uint8Array(60);
      bytes.set([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x88, 0xa2, 0x10, 0, 0, 1, 0, command]);
      bytes.set(body, 24);
      const frame = arena.allocate();
      arena.bytes.set(bytes, arena.frameOffset(frame));
      responder.handle(port, frame, bytes.length);
      while (replies.length === 0) await new Promise((resolve) => setImmediate(resolve));
      return replies.pop()!;
    };
    return { target, ask };
  }

  /** Config/Query with a command and the string "new" or "mine". */
  const config = (ccmd: number, text: string) =>
    [0, 0, 0, 0, 0, ccmd, 0, text.length].concat([...Buffer.from(text)]);
  const addToMask = [0, 1, 0, 1, 0, 1, 2, 0, 0, 0, 0, 7];
  const reserve = (rcmd: number) => [rcmd, 1, 2, 0, 0, 0, 0, 7];
  const flags = (reply: Uint8Array) => reply[14] & 0x0f;

  test("nothing: each change is answered as the protocol has it, and nothing is changed", async () => {
    const { target, ask } = serve([]);
    const before = target.state;
    for (const ccmd of [3, 4]) {
      const reply = await ask(1, config(ccmd, "new"));
      expect([flags(reply), reply[15]]).toEqual([0xc, 4]);
      expect(Buffer.from(reply.subarray(32, 36)).toString()).toBe("mine");
    }
    const mask = await ask(2, addToMask);
    expect([flags(mask), mask[26], mask[27]]).toEqual([8, 1, 0]);
    for (const rcmd of [1, 2]) {
      const reply = await ask(3, reserve(rcmd));
      expect([flags(reply), reply[15]]).toEqual([0xc, 2]);
    }
    expect(target.state).toBe(before);
    expect(saved).toEqual([]);
    // Looking, and setting what is there already, is no change.
    for (const body of [config(0, ""), config(1, "mine"), config(3, "mine"), config(4, "mine")]) {
      expect(flags(await ask(1, body))).toBe(8);
    }
    expect(flags(await ask(2, [0, 0]))).toBe(8);
    expect(flags(await ask(3, [0, 0]))).toBe(8);
  });

  test.each([
    { change: "config", command: 1, body: config(4, "new") },
    { change: "mask", command: 2, body: addToMask },
    { change: "reserve", command: 3, body: reserve(1) },
  ] as const)("only $change, and that from one moment to the next", async (only) => {
    const { target, ask } = serve([]);
    target.restrict([], [only.change]);
    const reply = await ask(only.command, only.body);
    expect(flags(reply)).toBe(8);
    expect(saved).toHaveLength(1);
  });
});
