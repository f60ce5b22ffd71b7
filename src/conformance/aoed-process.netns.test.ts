import { describe, test } from "vitest";
import { caseName, conformanceCases, runCase } from "./cases.testing.ts";
import { AoedProcess } from "./external-server.testing.ts";

/**
 * Of the list, what depends on the interface, the kernel or the end of a process: aoed as users
 * start it, over a veth pair. scripts/conformance.sh asks all cases of it.
 */
const NUMBERS = [1, 2, 8, 9, 13, 15, 16, 25, 52, 64, 70, 72, 73, 74, 75, 76, 78, 79];

describe("conformance of bin/aoed on a real interface", () => {
  for (const one of conformanceCases.filter(({ number }) => NUMBERS.includes(number))) {
    test(caseName(one), { timeout: 60_000 }, async (context) => {
      const outcome = await runCase(one, new AoedProcess());
      if (outcome.verdict === "failed") throw outcome.error;
      if (outcome.verdict === "not applicable") context.skip(outcome.reason);
    });
  }
});
