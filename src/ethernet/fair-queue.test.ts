import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { FairQueue } from "./fair-queue.ts";

const arena = new FrameArena(512);
const TOTAL = 200;

/** A queue whose frames are numbered in the order in which they were pushed. */
function queueOf(sourceLimit: number) {
  const queue = new FairQueue(arena, TOTAL, () => 1);
  queue.limitSources(sourceLimit);
  const free = Array.from({ length: arena.frameCount }, (_, index) => index);
  const sources = new Map<number, number>();
  return {
    queue,
    /** @returns the displaced frame's source, or undefined */
    push: (source: number): { frame: number; displaced: number } => {
      const frame = free.pop()!;
      sources.set(frame, source);
      const at = arena.frameOffset(frame);
      arena.bytes.set([2, 0, 0, 0, source >> 8, source & 255], at + 6);
      const displaced = queue.push(frame, 60 + source);
      if (displaced !== -1) free.push(displaced);
      return { frame, displaced };
    },
    take: (): { frame: number; source: number } | undefined => {
      const frame = queue.take();
      if (frame === -1) return undefined;
      free.push(frame);
      const source = sources.get(frame)!;
      expect(queue.lengthOf(frame)).toBe(60 + source);
      return { frame, source };
    },
  };
}

describe("FairQueue", () => {
  test("a flood does not delay another source, and loses its own excess only", () => {
    const { queue, push, take } = queueOf(64);
    let lost = 0;
    for (let count = 0; count < 300; count++) if (push(1).displaced !== -1) lost++;
    expect(lost).toBe(300 - 64);
    expect(queue.culprit).toBe(0x020000000001);
    for (let count = 0; count < 32; count++) expect(push(2).displaced).toBe(-1);
    const taken = Array.from({ length: 45 }, () => take()?.source);
    expect(taken.filter((source) => source === 2)).toHaveLength(32);
  });

  test("sources that keep to what they may have share evenly, and the flood is forgiven in time", () => {
    const { queue, push, take } = queueOf(64);
    for (let count = 0; count < 65; count++) push(1);
    while (take() !== undefined);
    for (let tick = 0; tick < 10; tick++) queue.tick();
    for (let count = 0; count < 64; count++) {
      push(1);
      push(2);
    }
    const taken = Array.from({ length: 64 }, () => take()?.source);
    expect(taken.filter((source) => source === 2)).toHaveLength(32);
  });

  test("who floods is told from those that lose a frame between, by frames of its own", () => {
    const { queue, push } = queueOf(1);
    for (let source = 1; source <= 200; source++) {
      push(source);
      push(source);
    }
    expect(queue.culpritFrames, "one of 200 that lost one each").toBeLessThan(2);

    for (let count = 0; count < 300; count++) {
      push(7);
      if (count % 3 === 0) push(8 + count);
    }
    push(8);
    expect(queue.culprit).toBe(0x020000000007);
    expect(queue.culpritFrames).toBeGreaterThan(150);
    expect(queue.culpritFrames).toBeLessThanOrEqual(300);

    queue.forgetCulprit();
    push(8);
    expect([queue.culprit, queue.culpritFrames]).toEqual([0x020000000008, 1]);
  });

  test("a frame that has waited too long is told apart", () => {
    const { queue, push } = queueOf(64);
    const { frame } = push(1);
    queue.tick();
    const { frame: second } = push(1);
    expect(queue.isStale(frame)).toBe(false);
    queue.tick();
    expect([queue.isStale(frame), queue.isStale(second)]).toEqual([true, false]);
  });

  test("when there is no room at all, the source that has most waiting gives way", () => {
    const { queue, push, take } = queueOf(TOTAL);
    for (let count = 0; count < TOTAL / 2; count++) push(1);
    for (let count = 0; count < TOTAL / 4; count++) {
      push(3);
      push(4);
    }
    expect(queue.hasNoRoomFor(1)).toBe(true);
    for (let count = 0; count < 20; count++) {
      expect(push(2).displaced).not.toBe(-1);
      expect(queue.culprit).toBe(0x020000000001);
    }
    expect(queue.count).toBe(TOTAL);
    expect(queue.hasNoRoomFor(1), "somebody has sent too many").toBe(false);
    const all = Array.from({ length: TOTAL }, () => take()?.source);
    expect(all.filter((source) => source === 2)).toHaveLength(20);
    expect(take()).toBeUndefined();
  });

  test("every frame comes out once or is given back, each source's in order, within the bounds", () => {
    const steps = fc.array(
      fc.oneof(
        {
          weight: 6,
          arbitrary: fc.record({ push: fc.integer({ min: 0, max: 9 }), times: fc.nat(40) }),
        },
        { weight: 4, arbitrary: fc.record({ take: fc.nat(60) }) },
        { weight: 1, arbitrary: fc.constant("tick" as const) },
      ),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: TOTAL }), (script, sourceLimit) => {
        const { queue, push, take } = queueOf(sourceLimit);
        const model = new Map<number, number[]>();
        let waiting = 0;
        const remove = (source: number, frame: number) => {
          const frames = model.get(source)!;
          expect(frames).toContain(frame);
          frames.splice(frames.indexOf(frame), 1);
          waiting--;
        };
        for (const step of script) {
          if (step === "tick") {
            for (let tick = 0; tick < 101; tick++) queue.tick();
          } else if ("push" in step) {
            for (let count = 0; count < step.times; count++) {
              const { frame, displaced } = push(step.push);
              waiting++;
              model.set(step.push, [...(model.get(step.push) ?? []), frame]);
              if (displaced === -1) continue;
              const owner = [...model].find(([, frames]) => frames.includes(displaced));
              remove(owner![0], displaced);
            }
          } else {
            for (let count = 0; count < step.take; count++) {
              const taken = take();
              if (taken === undefined) break;
              expect(model.get(taken.source)?.[0]).toBe(taken.frame);
              remove(taken.source, taken.frame);
            }
          }
          expect(queue.count).toBe(waiting);
          expect(waiting).toBeLessThanOrEqual(TOTAL);
        }
      }),
    );
  });
});
