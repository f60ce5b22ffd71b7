import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TargetConfiguration } from "../config/configuration.ts";
import { parseConfiguration } from "../config/load.ts";
import { spreadTargets } from "./spread.ts";

/** Targets e1.0, e1.1 …: a store's name for a cas target, or null for one in memory. */
function targetsOf(stores: readonly (string | null)[]): TargetConfiguration[] {
  const tables = stores.map((store, slot) => {
    const target = `[[target]]\nshelf = 1\nslot = ${slot}\n`;
    if (store === null) return `${target}backend = "memory"\nsize = "1MiB"\n`;
    return `${target}backend = "cas"\n[target.cas]\npath = "${store}"\n`;
  });
  const server = '[server]\ninterface = "eth0"\n';
  return parseConfiguration(server + tables.join(""), "/absent/aoed.toml").targets;
}

function slots(shares: readonly (readonly TargetConfiguration[])[]): number[][] {
  return shares.map((share) => share.map(({ slot }) => slot));
}

describe("which worker serves which target", () => {
  test.each<[string, (string | null)[], number, number[][]]>([
    [
      "in turn, in the order of the configuration",
      [null, null, null, null, null],
      2,
      [
        [0, 2, 4],
        [1, 3],
      ],
    ],
    [
      "the targets of a store together",
      [null, "s", null, "s", null],
      2,
      [
        [1, 3, 4],
        [0, 2],
      ],
    ],
    ["a store by any of its names", ["s", null, "./s", "x/../s"], 2, [[0, 2, 3], [1]]],
    [
      "two stores apart",
      ["a", "a", "b", null],
      2,
      [
        [0, 1],
        [2, 3],
      ],
    ],
    ["fewer targets than workers", [null], 3, [[0], [], []]],
  ])("%s", (_name, stores, workers, expected) => {
    expect(slots(spreadTargets(targetsOf(stores), workers))).toEqual(expected);
  });

  test("each target once, a store in one worker, the rest even, and the same every time", () => {
    const store = fc.option(fc.constantFrom("a", "b", "c"));
    fc.assert(
      fc.property(
        fc.array(store, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 8 }),
        (stores, workers) => {
          const targets = targetsOf(stores);
          const shares = slots(spreadTargets(targets, workers));
          expect(slots(spreadTargets(targets, workers))).toEqual(shares);
          expect(shares.flat().toSorted((a, b) => a - b)).toEqual(stores.map((_, slot) => slot));
          for (const share of shares) expect(share).toEqual(share.toSorted((a, b) => a - b));
          for (const name of ["a", "b", "c"]) {
            const having = shares.filter((share) => share.some((slot) => stores[slot] === name));
            expect(having.length).toBeLessThanOrEqual(1);
          }
          // Whoever has a target of its own has at most one more than any other worker.
          const least = Math.min(...shares.map(({ length }) => length));
          for (const share of shares) {
            if (share.some((slot) => stores[slot] === null)) {
              expect(share.length).toBeLessThanOrEqual(least + 1);
            }
          }
        },
      ),
    );
  });
});
