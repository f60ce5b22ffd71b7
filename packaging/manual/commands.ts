import { type CommandEntry, everyCommand, type OptionEntry } from "../command-table.ts";
import { bold, italic, literal, paragraph, plain, subsection, tagged } from "./roff.ts";

/** The commands of aoed(8), each with its arguments, options and what `--help` adds. */
export function commandPages(table: CommandEntry): string[] {
  return everyCommand(table)
    .filter(isToldHere)
    .flatMap((command) => [
      ...(command.path.length === 0 ? [] : subsection(command.usage)),
      ...paragraph(plain(sentence(command.description))),
      ...command.arguments.flatMap(({ name, description, isVariadic }) =>
        tagged(italic(isVariadic ? `${name}...` : name), [plain(sentence(description))]),
      ),
      ...command.options.filter(isOwn(command)).flatMap(optionLines),
      ...helpLines(command.helpText),
    ]);
}

/** `aoed help` shows what a reader of this page has before him. */
function isToldHere({ path }: CommandEntry): boolean {
  return path.at(-1) !== "help";
}

/** `--help` is told once, at the top: every command has it. */
function isOwn(command: CommandEntry): (option: OptionEntry) => boolean {
  return (option) => option.long !== "--help" || command.path.length === 0;
}

function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

function optionLines(option: OptionEntry): string[] {
  const names = [option.short, option.long].filter((name) => name !== undefined).map(bold);
  const value = option.placeholder === undefined ? "" : ` ${italic(option.placeholder)}`;
  const notes = [
    option.value.kind === "words" ? `One of ${option.value.words.join(", ")}.` : "",
    option.defaultValue === undefined ? "" : `Default: ${option.defaultValue}.`,
  ];
  const text = [sentence(option.description), ...notes].filter((note) => note !== "");
  return tagged(names.join(", ") + value, [plain(text.join(" "))]);
}

/** Paragraphs of a help text; its indented lines are what one types. */
function helpLines(helpText: string): string[] {
  const lines: string[] = [];
  let words: string[] = [];
  let typed: string[] = [];
  const end = (): void => {
    if (words.length > 0) lines.push(...paragraph(plain(words.join("\n"))));
    if (typed.length > 0) lines.push(...literal(typed.join("\n")));
    words = [];
    typed = [];
  };
  for (const row of helpText.split("\n")) {
    const isTyped = row.startsWith("  ");
    if (row === "" || (isTyped ? words : typed).length > 0) end();
    if (isTyped) typed.push(row.slice(2));
    else if (row !== "") words.push(row);
  }
  end();
  return lines;
}
