import { writeFileSync } from "node:fs";
import {
  caseName,
  conformanceCases,
  type Outcome,
  runCase,
} from "../src/conformance/cases.testing.ts";
import { AoedProcess, VbladeProcess } from "../src/conformance/external-server.testing.ts";
import { InProcessServer } from "../src/conformance/in-process.testing.ts";
import type { ServerUnderTest } from "../src/conformance/rig.testing.ts";

/**
 * Asks every wire case of several servers in one run, in a network namespace that
 * scripts/conformance.sh makes, and prints what came out.
 *
 *   conformance.ts [--server NAME]… [--case NUMBER]… [--json FILE]
 */
const SERVERS: Record<string, () => ServerUnderTest> = {
  aoed: () => new AoedProcess(),
  "in-process": () => new InProcessServer(),
  vblade: () => new VbladeProcess(),
};

function valuesOf(option: string): string[] {
  return process.argv.flatMap((word, index) =>
    word === option ? [process.argv[index + 1] ?? ""] : [],
  );
}

export interface ServerResults {
  readonly name: string;
  /** By the number of the case. */
  readonly outcomes: Record<number, Outcome>;
}

const chosenServers = valuesOf("--server");
const chosenCases = valuesOf("--case").map(Number);

async function runAgainst(name: string, makeServer: () => ServerUnderTest): Promise<ServerResults> {
  const outcomes: Record<number, Outcome> = {};
  for (const one of conformanceCases) {
    if (chosenCases.length > 0 && !chosenCases.includes(one.number)) continue;
    const outcome = await runCase(one, makeServer());
    outcomes[one.number] = outcome;
    console.log(`${name}: ${outcome.verdict}: ${caseName(one)}`);
    if (outcome.verdict === "failed")
      console.log(`    ${outcome.reason.split("\n").join("\n    ")}`);
    if (outcome.verdict === "not applicable") console.log(`    ${outcome.reason}`);
  }
  return { name, outcomes };
}

const results: ServerResults[] = [];
for (const [name, makeServer] of Object.entries(SERVERS)) {
  if (chosenServers.length > 0 && !chosenServers.includes(name)) continue;
  results.push(await runAgainst(name, makeServer));
}
for (const { name, outcomes } of results) {
  const verdicts = Object.values(outcomes).map((outcome) => outcome.verdict);
  const count = (verdict: Outcome["verdict"]): number =>
    verdicts.filter((one) => one === verdict).length;
  console.log(
    `${name}: ${count("passed")} passed, ${count("failed")} failed, ${count("not applicable")} not applicable`,
  );
}
for (const path of valuesOf("--json")) {
  writeFileSync(path, `${JSON.stringify({ servers: results }, omitErrors, 1)}\n`);
}

function omitErrors(key: string, value: unknown): unknown {
  return key === "error" ? undefined : value;
}
