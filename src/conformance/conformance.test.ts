import { describe, test } from "vitest";
import { caseName, conformanceCases, runCase } from "./cases.testing.ts";
import { InProcessServer } from "./in-process.testing.ts";

/** The list of wire cases (docs/conformance.md) against our own layers, without a network. */
describe("conformance in process", () => {
  for (const one of conformanceCases) {
    test(caseName(one), async (context) => {
      const outcome = await runCase(one, new InProcessServer());
      if (outcome.verdict === "failed") throw outcome.error;
      if (outcome.verdict === "not applicable") context.skip(outcome.reason);
    });
  }
});
