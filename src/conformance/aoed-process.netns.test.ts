import { describe, test } from "vitest";
import { caseName, conformanceCases, runCaseInTurn } from "./cases.testing.ts";
import { AoedProcess, AoedWorkersProcess } from "./external-server.testing.ts";
import { AoedVolumeProcess } from "./aoed-volume.testing.ts";

/**
 * Of the list, what depends on the interface, the kernel or the end of a process: aoed as users
 * start it, over a veth pair. scripts/conformance.sh asks all cases of it.
 */
const NUMBERS = [1, 2, 8, 9, 13, 15, 16, 25, 52, 64, 70, 72, 73, 74, 75, 76, 77, 78, 79];

/** Of these, what depends on how a volume keeps its data. */
const VOLUME_NUMBERS = [33, 35, 39, 42, 47, 73, 76, 77];

/** Of these, what concerns several targets, the interface, or the life of a process. */
const WORKERS_NUMBERS = [6, 27, 52, 72, 73, 74, 75, 77, 79];

const servers = [
  { title: "bin/aoed on a real interface", numbers: NUMBERS, start: () => new AoedProcess() },
  {
    title: "bin/aoed with two workers",
    numbers: WORKERS_NUMBERS,
    start: () => new AoedWorkersProcess(),
  },
  { title: "bin/aoed with volumes", numbers: VOLUME_NUMBERS, start: () => new AoedVolumeProcess() },
];

describe.each(servers)("conformance of $title", ({ numbers, start }) => {
  for (const one of conformanceCases.filter(({ number }) => numbers.includes(number))) {
    test(caseName(one), { timeout: 600_000 }, async (context) => {
      const outcome = await runCaseInTurn(one, start);
      if (outcome.verdict === "failed") throw outcome.error;
      if (outcome.verdict === "not applicable") context.skip(outcome.reason);
    });
  }
});
