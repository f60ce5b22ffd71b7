import { conformanceCases } from "../src/conformance/cases.testing.ts";
import type { Outcome } from "../src/conformance/cases.testing.ts";
import { otherTests } from "./conformance-other-tests.ts";

export interface ServerResults {
  readonly name: string;
  /** By the number of the case. */
  readonly outcomes: Record<number, Outcome>;
}

const BEGIN = "<!-- results: written by scripts/conformance.sh -->";
const END = "<!-- end of results -->";

const HEADINGS: Record<string, string> = {
  aoed: "aoed, process on veth",
  "two-workers": "aoed, two workers",
  "in-process": "aoed, in process",
  vblade: "vblade 25",
};

/**
 * The document with its table made anew from these results; the text around it stays.
 * @throws Error when the marks that enclose the table are missing
 */
export function withTable(document: string, servers: readonly ServerResults[]): string {
  const begin = document.indexOf(BEGIN);
  const end = document.indexOf(END);
  if (begin === -1 || end < begin) {
    throw new Error(`docs/conformance.md: the lines '${BEGIN}' and '${END}' are missing`);
  }
  const head = document.slice(0, begin + BEGIN.length);
  return `${head}\n\n${table(servers)}\n${summary(servers)}\n${notes(servers)}\n${document.slice(end)}`;
}

function table(servers: readonly ServerResults[]): string {
  const columns = servers.map(({ name }) => HEADINGS[name] ?? name);
  const lines = [
    `| case | what | ${columns.join(" | ")} | also tested by |`,
    `|---:|---|${columns.map(() => ":---:|").join("")}---|`,
  ];
  for (const { number, title } of conformanceCases) {
    const cells = servers.map(({ outcomes }) => cell(outcomes[number]));
    const others = (otherTests[number] ?? []).map((test) => `\`${test}\``).join(", ");
    lines.push(`| ${number} | ${title} | ${cells.join(" | ")} | ${others} |`);
  }
  const own = new Set(conformanceCases.map((one) => one.number));
  for (const [number, tests] of Object.entries(otherTests)) {
    if (own.has(Number(number))) continue;
    const blank = servers.map(() => "").join(" | ");
    lines.push(`| ${number} | | ${blank} | ${tests.map((test) => `\`${test}\``).join(", ")} |`);
  }
  return `${lines.join("\n")}\n`;
}

function cell(outcome: Outcome | undefined): string {
  if (outcome === undefined || outcome.verdict === "not applicable") return "–";
  if (outcome.verdict === "failed") return "**fail**";
  return outcome.notApplied.length === 0 ? "pass" : "pass ¹";
}

function summary(servers: readonly ServerResults[]): string {
  const lines = servers.map(({ name, outcomes }) => {
    const verdicts = Object.values(outcomes).map(({ verdict }) => verdict);
    const passed = verdicts.filter((verdict) => verdict === "passed").length;
    const failed = verdicts.filter((verdict) => verdict === "failed").length;
    const left = verdicts.length - passed - failed;
    return `- ${HEADINGS[name] ?? name}: ${passed} pass, ${failed} fail, ${left} not applicable`;
  });
  return `${lines.join("\n")}\n`;
}

/** What failed and why, in the words of the test; and what a "pass ¹" left out. */
function notes(servers: readonly ServerResults[]): string {
  const lines: string[] = [];
  for (const { name, outcomes } of servers) {
    const heading = HEADINGS[name] ?? name;
    for (const { number } of conformanceCases) {
      const outcome = outcomes[number];
      if (outcome?.verdict === "failed") {
        lines.push(`- ${heading}, case ${number}: ${firstLine(outcome.reason)}`);
      } else if (outcome?.verdict === "passed" && outcome.notApplied.length > 0) {
        const parts = outcome.notApplied.join("; ");
        lines.push(`- ¹ ${heading}, case ${number}, without: ${parts}`);
      }
    }
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

/** The first line of a message, with the next where it only introduces that. */
function firstLine(reason: string): string {
  const [first = "", second = ""] = reason
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const line = first.endsWith(":") ? `${first} ${second}` : first;
  const said = line.replace(/, but got$/, "");
  const shown = said.length > 120 ? `${said.slice(0, 117)}...` : said;
  return shown.replaceAll("|", "\\|");
}
