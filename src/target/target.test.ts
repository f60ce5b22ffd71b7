import { describe, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { openMemoryStorage } from "../storage/memory-storage.ts";
import { EMPTY_STATE, type TargetState } from "./state-file.ts";
import { TargetManager } from "./target-manager.ts";
import { type Target, type TargetOptions, volatileState } from "./target.ts";

const arena = new FrameArena(8);

function options(shelf: number, slot: number, more: Partial<TargetOptions> = {}): TargetOptions {
  const storage = openMemoryStorage({ sizeBytes: 64 * 512 }, arena);
  return { shelf, slot, storage, allow: [], ...volatileState, ...more };
}

function names(targets: readonly Target[]): string[] {
  return targets.map((target) => target.name);
}

describe("TargetManager", () => {
  test("wildcards of shelf and slot are independent", () => {
    const manager = new TargetManager();
    for (const [shelf, slot] of [
      [1, 0],
      [1, 1],
      [2, 0],
    ] as const) {
      manager.add(options(shelf, slot));
    }
    expect(names(manager.matching(0xffff, 0xff))).toEqual(["e1.0", "e1.1", "e2.0"]);
    expect(names(manager.matching(1, 0xff))).toEqual(["e1.0", "e1.1"]);
    expect(names(manager.matching(0xffff, 0))).toEqual(["e1.0", "e2.0"]);
    expect(names(manager.matching(3, 0xff))).toEqual([]);
    expect(manager.get(1, 1)?.name).toBe("e1.1");
    expect(manager.get(0xffff, 0)).toBeUndefined();
  });

  test("two targets cannot have one address, and a removed one is gone", () => {
    const manager = new TargetManager();
    const first = manager.add(options(1, 0));
    expect(() => manager.add(options(1, 0))).toThrow("1.0");
    manager.remove(first);
    expect(manager.get(1, 0)).toBeUndefined();
    manager.add(options(1, 0));
  });
});

describe("Target", () => {
  const alice = 0x020000000001;
  const bob = 0x020000000002;

  test("who is heard: the configuration and the mask list, both", async () => {
    const open = new TargetManager().add(options(1, 0));
    expect([open.isRestricted, open.admits(bob)]).toEqual([false, true]);
    const listed = new TargetManager().add(options(1, 0, { allow: [alice] }));
    expect([listed.admits(alice), listed.admits(bob)]).toEqual([true, false]);
    // The wire's list cannot widen the administrator's.
    await listed.changeState((state) => ({ ...state, mask: [bob] }));
    expect([listed.admits(alice), listed.admits(bob)]).toEqual([false, false]);
    await listed.changeState((state) => ({ ...state, mask: [alice, bob] }));
    expect([listed.admits(alice), listed.admits(bob)]).toEqual([true, false]);
  });

  test("a reservation is against everyone but its holders", async () => {
    const target = new TargetManager().add(options(1, 0));
    expect(target.isReservedAgainst(bob)).toBe(false);
    await target.changeState((state) => ({ ...state, reservation: [alice] }));
    expect([target.isReservedAgainst(alice), target.isReservedAgainst(bob)]).toEqual([false, true]);
  });

  test("changes happen one at a time, each on what the one before left, once durable", async () => {
    const saves: { state: TargetState; finish: () => void }[] = [];
    const saveState = async (state: TargetState): Promise<void> =>
      new Promise((finish) => saves.push({ state, finish }));
    const target = new TargetManager().add(options(1, 0, { saveState }));
    const first = target.changeState((state) => ({ ...state, mask: [...state.mask, 1] }));
    const second = target.changeState((state) => ({ ...state, mask: [...state.mask, 2] }));
    await Promise.resolve();
    expect(saves.map(({ state }) => state.mask)).toEqual([[1]]);
    expect(target.state).toBe(EMPTY_STATE);
    saves[0].finish();
    await first;
    await new Promise((resolve) => setImmediate(resolve));
    expect(saves.map(({ state }) => state.mask)).toEqual([[1], [1, 2]]);
    saves[1].finish();
    await second;
    expect(target.state.mask).toEqual([1, 2]);
  });

  test("a flood of changes is refused beyond a few", async () => {
    const finishes: (() => void)[] = [];
    const saveState = async (): Promise<void> => new Promise((finish) => finishes.push(finish));
    const target = new TargetManager().add(options(1, 0, { saveState }));
    const changes = Array.from({ length: 16 }, async (_, index) =>
      target.changeState((state) => ({ ...state, mask: [index] })),
    );
    await expect(target.changeState((state) => state)).rejects.toThrow(/too many/);
    const pump = setInterval(() => finishes.shift()?.(), 1);
    await Promise.all(changes);
    clearInterval(pump);
    expect(target.state.mask).toEqual([15]);
    await expect(target.changeState(() => undefined)).resolves.toBeUndefined();
  });

  test("a save that fails is told, leaves the state, and does not stop later ones", async () => {
    let isBroken = true;
    const saveState = async (): Promise<void> => {
      if (isBroken) throw new Error("disk full");
    };
    const target = new TargetManager().add(options(1, 0, { saveState }));
    await expect(target.changeState((state) => ({ ...state, mask: [1] }))).rejects.toThrow("full");
    expect(target.state).toBe(EMPTY_STATE);
    isBroken = false;
    await target.changeState((state) => ({ ...state, mask: [2] }));
    expect(target.state.mask).toEqual([2]);
  });
});
