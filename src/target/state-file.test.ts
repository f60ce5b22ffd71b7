import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { UsageError } from "../errors.ts";
import {
  decodeState,
  EMPTY_STATE,
  encodeState,
  loadState,
  saveState,
  stateFilePath,
  type TargetState,
} from "./state-file.ts";

const macs = fc.array(fc.integer({ min: 0, max: 0xffffffffffff }), { maxLength: 255 });
const states: fc.Arbitrary<TargetState> = fc.record({
  configString: fc.uint8Array({ maxLength: 1024 }),
  mask: macs,
  reservation: macs,
});

function plain(state: TargetState): unknown {
  return { ...state, configString: [...state.configString] };
}

describe("target state file", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "aoed-state-"));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  test("any state is read as it was written", () => {
    fc.assert(
      fc.property(states, (state) => {
        expect(plain(decodeState(encodeState(state), "x"))).toEqual(plain(state));
      }),
    );
  });

  test("one changed octet anywhere is found", () => {
    const text = encodeState({
      configString: Buffer.from("claimed"),
      mask: [1, 2],
      reservation: [3],
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: text.length - 1 }),
        fc.integer({ min: 1, max: 127 }),
        (at, change) => {
          const damaged =
            text.slice(0, at) +
            String.fromCharCode(text.charCodeAt(at) ^ change) +
            text.slice(at + 1);
          expect(() => decodeState(damaged, "/x/e1.0.state")).toThrow(UsageError);
        },
      ),
    );
  });

  test("a newer version is refused and says so", () => {
    const newer = encodeState(EMPTY_STATE).replace("state 1", "state 2");
    expect(() => decodeState(newer, "/x/e1.0.state")).toThrow(/\/x\/e1\.0\.state: version 2/);
  });

  test("what was saved is found again, and no other file is left", async () => {
    const inner = join(directory, "made", "when-needed");
    const path = stateFilePath(inner, 1, 0);
    expect(await loadState(path)).toBe(EMPTY_STATE);
    const state = {
      configString: Buffer.from([0, 255, 10]),
      mask: [0x020000000001],
      reservation: [],
    };
    await saveState(inner, path, EMPTY_STATE);
    await saveState(inner, path, state);
    expect(plain(await loadState(path))).toEqual(plain(state));
    expect(await readdir(inner)).toEqual(["e1.0.state"]);
    expect(await readFile(path, "utf8")).toContain("02:00:00:00:00:01");
  });

  test("a save that fails leaves the old state", async () => {
    const path = stateFilePath(directory, 1, 0);
    const old = { ...EMPTY_STATE, mask: [7] };
    await saveState(directory, path, old);
    await writeFile(join(directory, "in-the-way"), "");
    await expect(saveState(join(directory, "in-the-way"), path, EMPTY_STATE)).rejects.toThrow();
    expect(await loadState(path)).toEqual({ ...old, configString: Buffer.alloc(0) });
  });
});
