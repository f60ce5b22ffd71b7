import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { caseName, conformanceCases, runCaseInTurn } from "../src/conformance/cases.testing.ts";
import type { Outcome } from "../src/conformance/cases.testing.ts";
import {
  AoedProcess,
  AoedWorkersProcess,
  VbladeProcess,
} from "../src/conformance/external-server.testing.ts";
import { InProcessServer } from "../src/conformance/in-process.testing.ts";
import type { ServerUnderTest } from "../src/conformance/rig.testing.ts";
import { withTable } from "./conformance-table.ts";
import type { ServerResults } from "./conformance-table.ts";

/**
 * Asks every wire case of several servers in one run and prints what came out; run by
 * scripts/conformance.sh in a network namespace of its own. Exits with 1 when a case of ours fails.
 */
const SERVERS: Record<string, () => ServerUnderTest> = {
  aoed: () => new AoedProcess(),
  "two-workers": () => new AoedWorkersProcess(),
  "in-process": () => new InProcessServer(),
  vblade: () => new VbladeProcess(),
};

const DOCUMENT = fileURLToPath(new URL("../docs/conformance.md", import.meta.url));

function valuesOf(option: string): string[] {
  return process.argv.flatMap((word, index) =>
    word === option ? [process.argv[index + 1] ?? ""] : [],
  );
}

function print(name: string, outcome: Outcome, title: string): void {
  console.log(`${name}: ${outcome.verdict}: ${title}`);
  if (outcome.verdict === "passed") return;
  console.log(`    ${outcome.reason.trim().split("\n").join("\n    ")}`);
}

async function runAgainst(
  name: string,
  makeServer: () => ServerUnderTest,
  chosenCases: readonly number[],
): Promise<ServerResults> {
  const outcomes: Record<number, Outcome> = {};
  for (const one of conformanceCases) {
    if (chosenCases.length > 0 && !chosenCases.includes(one.number)) continue;
    const outcome = await runCaseInTurn(one, makeServer);
    outcomes[one.number] = outcome;
    print(name, outcome, caseName(one));
  }
  return { name, outcomes };
}

function count(results: ServerResults, verdict: Outcome["verdict"]): number {
  return Object.values(results.outcomes).filter((one) => one.verdict === verdict).length;
}

const chosenServers = valuesOf("--server");
const chosenCases = valuesOf("--case").map(Number);
const everyResult: ServerResults[] = [];
for (const [name, makeServer] of Object.entries(SERVERS)) {
  if (chosenServers.length > 0 && !chosenServers.includes(name)) continue;
  everyResult.push(await runAgainst(name, makeServer, chosenCases));
}

for (const results of everyResult) {
  const [passed, failed] = [count(results, "passed"), count(results, "failed")];
  const left = count(results, "not applicable");
  console.log(`${results.name}: ${passed} passed, ${failed} failed, ${left} not applicable`);
}
for (const path of valuesOf("--json")) {
  writeFileSync(path, `${JSON.stringify({ servers: everyResult }, withoutErrors, 1)}\n`);
}
if (chosenServers.length === 0 && chosenCases.length === 0) {
  writeFileSync(DOCUMENT, withTable(readFileSync(DOCUMENT, "utf8"), everyResult));
  console.log(`the table of ${DOCUMENT} is new`);
}
const ours = everyResult.filter(({ name }) => name !== "vblade");
if (ours.some((results) => count(results, "failed") > 0)) process.exitCode = 1;

function withoutErrors(key: string, value: unknown): unknown {
  return key === "error" ? undefined : value;
}
