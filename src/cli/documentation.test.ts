import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { buildProgram } from "./program.ts";

/** What the documentation tells people to type, and where it sends them. Nothing is run here. */

const ROOT = resolve(import.meta.dirname, "../..");

function pagesIn(folder: string, ending: RegExp): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => ending.test(name))
    .map((name) => join(folder, name));
}

const MARKDOWN = ["README.md", ...pagesIn("docs", /\.md$/), "netns-tests/README.md"];
/** Those of the formats talk about other things that begin with the name of the program. */
const GUIDES = MARKDOWN.filter((page) => !page.startsWith("docs/formats/"));
const COMMENTED = ["Dockerfile", "packaging/debian/aoed.toml", "packaging/systemd/aoed.service"];
const MANUALS = pagesIn("docs/man", /\.\d$/);

function read(page: string): string {
  return readFileSync(join(ROOT, page), "utf8");
}

interface Typed {
  readonly page: string;
  readonly line: string;
}

/** Whole lines to be typed: those of a block, of a comment in an example, of a help text. */
function typedLines(): Typed[] {
  const lines = GUIDES.flatMap((page) =>
    [...read(page).matchAll(/^ {4}(.*)$/gm)].map(([, line]) => ({ page, line })),
  );
  for (const page of COMMENTED) {
    lines.push(...[...read(page).matchAll(/^#? {2,}(.*)$/gm)].map(([, line]) => ({ page, line })));
  }
  for (const page of MANUALS) {
    const typed = [...read(page).matchAll(/^\.EX\n([^]*?)^\.EE$/gm)].flatMap(([, text]) =>
      text.replaceAll(String.raw`\-`, "-").split("\n"),
    );
    lines.push(...typed.map((line) => ({ page, line })));
  }
  for (const command of everyCommand(buildProgram())) {
    let help = "";
    command.configureOutput({ writeOut: (text) => (help += text) });
    command.outputHelp();
    const added = help.slice(command.helpInformation().length);
    const page = `aoed ${command.name()} --help`;
    lines.push(...[...added.matchAll(/^ {2}(.*)$/gm)].map(([, line]) => ({ page, line })));
  }
  return lines;
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

/** The words after "aoed" as a shell splits them, or undefined for a line that is none of ours. */
function wordsOf(line: string): string[] | undefined {
  const typed = /^(?:sudo )?(?:npx |bin\/)?aoed (.*)$/.exec(line)?.[1];
  if (typed === undefined) return undefined;
  const own = typed.replace(/ {2,}.*$/, "").replace(/ +[#|].*$/, "");
  return [...own.matchAll(/(?:"[^"]*"|'[^']*'|\S)+/g)].map(([word]) =>
    word.replaceAll(/["']/g, ""),
  );
}

/** The complaint about these words, or undefined when they would run. */
function mistake(words: readonly string[]): string | undefined {
  const program = buildProgram();
  let complaint: string | undefined;
  for (const command of everyCommand(program)) {
    command.exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} });
    if (command.commands.length === 0) command.action(() => {});
  }
  try {
    program.parse(words, { from: "user" });
  } catch (error) {
    const { exitCode, message } = error as { exitCode?: number; message: string };
    if (exitCode !== 0) complaint = message;
  }
  return complaint;
}

test("every line with aoed that is to be typed is one that aoed takes", () => {
  const typed = typedLines().flatMap(({ page, line }) => {
    const words = wordsOf(line);
    return words === undefined ? [] : [{ page, line, mistake: mistake(words) }];
  });
  expect(typed.length).toBeGreaterThan(100);
  expect(typed.filter((one) => one.mistake !== undefined)).toEqual([]);
  expect(mistake(["snapshot", "creat"])).toContain("unknown command");
  expect(mistake(["serve", "--interfaces", "eth0"])).toContain("unknown option");
});

test("every command of aoed that the text names is there, with its options", () => {
  const wrong: Typed[] = [];
  let named = 0;
  for (const page of GUIDES) {
    for (const [, line] of read(page).matchAll(/`(?:sudo )?(?:npx )?(aoed [a-z][^`]*)`/g)) {
      const [, ...words] = line.split(/\s+/);
      let command: Command | undefined = buildProgram();
      while (
        command !== undefined &&
        command.commands.length > 0 &&
        /^[a-z]/.test(words[0] ?? "")
      ) {
        const word = words.shift();
        command = command.commands.find((child) => child.name() === word);
      }
      const flags = words.filter((word) => word.startsWith("--"));
      const known = command?.options.map(({ long }) => long) ?? [];
      named++;
      if (command === undefined || !flags.every((flag) => known.includes(flag))) {
        wrong.push({ page, line });
      }
    }
  }
  expect(named).toBeGreaterThan(30);
  expect(wrong).toEqual([]);
});

test("every make target and every script that the text names is there", () => {
  const targets = [...read("Makefile").matchAll(/^([a-z-]+):/gm)].map(([, name]) => name);
  const wrong: Typed[] = [];
  for (const page of MARKDOWN) {
    const text = read(page);
    const typed = [...text.matchAll(/^ {4}(?:sudo )?make ([a-z-]+)/gm)];
    for (const [line, target] of [...typed, ...text.matchAll(/`(?:sudo )?make ([a-z-]+)[^`]*`/g)]) {
      if (!targets.includes(target)) wrong.push({ page, line });
    }
    for (const [path] of text.matchAll(
      /\b(?:scripts|packaging|bench)\/[\w/-]+\.(?:sh|ts|service)\b/g,
    )) {
      if (!existsSync(join(ROOT, path))) wrong.push({ page, line: path });
    }
  }
  expect(wrong).toEqual([]);
});

/** As the anchors of rendered headings are made. */
function anchorsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

test("every link leads somewhere, and every page is linked to", () => {
  const wrong: Typed[] = [];
  const reached = new Set<string>();
  for (const page of MARKDOWN) {
    const text = read(page).replaceAll(/^```[^]*?^```$/gm, "");
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? page : relative(ROOT, resolve(ROOT, dirname(page), path));
      reached.add(target);
      const isThere = existsSync(join(ROOT, target));
      if (!isThere || (anchor !== undefined && !anchorsOf(read(target)).includes(anchor))) {
        wrong.push({ page, line: link });
      }
    }
  }
  expect(wrong).toEqual([]);
  // The decisions are linked to as a folder, like the tests' own page.
  const pages = MARKDOWN.filter((page) => /^docs\/(?!adr\/)/.test(page));
  expect(pages.filter((page) => !reached.has(page))).toEqual([]);
});
