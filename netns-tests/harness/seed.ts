import { fixedSeed } from "../../src/conformance/fixed-seed.testing.ts";

/** What a scenario's random choices begin with, to be noted in its log. SEED=NUMBER repeats one. */
export function chooseSeed(): number {
  return Number(process.env.SEED ?? fixedSeed() ?? Date.now()) % 1_000_000;
}
