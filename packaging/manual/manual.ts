import { readFileSync } from "node:fs";
import { buildProgram } from "../../src/cli/program.ts";
import { VERSION } from "../../src/server/version.ts";
import { commandTable } from "../command-table.ts";
import { commandPages } from "./commands.ts";
import { markdownPage } from "./markdown.ts";
import { withoutEmptyParagraphs } from "./roff.ts";

/**
 * The man pages: docs/man holds what is written by hand, with a line of its own where the command
 * table, or the reference of the configuration file, comes in. Neither is written down twice.
 */
export const MAN_PAGES = ["aoed.8", "aoed.toml.5"] as const;
export type ManPage = (typeof MAN_PAGES)[number];

function document(path: string): string {
  return readFileSync(new URL(`../../docs/${path}`, import.meta.url), "utf8");
}

const PARTS: Readonly<Record<string, () => string[]>> = {
  '.\\" part: commands': () => commandPages(commandTable(buildProgram())),
  '.\\" part: configuration': () => markdownPage(document("configuration.md")),
};

export function manPage(name: ManPage): string {
  const lines = document(`man/${name}`).trimEnd().split("\n");
  const page = withoutEmptyParagraphs(lines.flatMap((line) => PARTS[line]?.() ?? [line]));
  return `${page.join("\n").replace("@VERSION@", VERSION)}\n`;
}
