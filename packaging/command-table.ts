import type { Argument, Command, Option } from "commander";

/**
 * The command line as plain data, read off the commander program that runs. Man page and
 * completions are made of it, so that they say what `--help` says.
 */
export interface CommandEntry {
  /** What is typed after "aoed": [] is aoed itself, ["snapshot", "create"] a command. */
  readonly path: readonly string[];
  /** "aoed snapshot create <volume>", without the options */
  readonly usage: string;
  readonly description: string;
  readonly arguments: readonly ArgumentEntry[];
  readonly options: readonly OptionEntry[];
  readonly commands: readonly CommandEntry[];
  /** What `--help` adds below: explanations and examples. */
  readonly helpText: string;
}

export interface ArgumentEntry {
  readonly name: string;
  readonly description: string;
  readonly isVariadic: boolean;
  readonly value: ValueKind;
}

export interface OptionEntry {
  /** "--interface", and "-i" where it has a short form. */
  readonly long: string;
  readonly short: string | undefined;
  /** "<name>", or undefined when it takes no value. */
  readonly placeholder: string | undefined;
  readonly description: string;
  readonly defaultValue: string | undefined;
  readonly value: ValueKind;
}

/** What a shell can offer in the place of a value. */
export type ValueKind =
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "file" | "folder" | "interface" | "other" };

export function commandTable(command: Command, path: readonly string[] = []): CommandEntry {
  const help = command.createHelp();
  return {
    path,
    usage: ["aoed", ...path, ...command.registeredArguments.map(argumentTerm)].join(" "),
    description: command.description(),
    arguments: command.registeredArguments.map(argumentEntry),
    options: help.visibleOptions(command).map(optionEntry),
    commands: help
      .visibleCommands(command)
      .map((child) => commandTable(child, [...path, child.name()])),
    helpText: textAfterHelp(command),
  };
}

/** The command and all below it. */
export function everyCommand(command: CommandEntry): CommandEntry[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

function argumentTerm(argument: Argument): string {
  const name = argument.variadic ? `${argument.name()}...` : argument.name();
  return argument.required ? `<${name}>` : `[${name}]`;
}

function argumentEntry(argument: Argument): ArgumentEntry {
  return {
    name: argument.name(),
    description: argument.description,
    isVariadic: argument.variadic,
    value: valueKind(argument.name(), argument.argChoices),
  };
}

function optionEntry(option: Option): OptionEntry {
  const placeholder = /[<[].*$/.exec(option.flags)?.[0];
  const name = option.long === "--interface" ? "interface" : (placeholder ?? "");
  return {
    long: option.long ?? "",
    short: option.short,
    placeholder,
    description: option.description,
    defaultValue: option.defaultValue === undefined ? undefined : String(option.defaultValue),
    value: valueKind(name, option.argChoices),
  };
}

function valueKind(placeholder: string, choices: readonly string[] | undefined): ValueKind {
  if (choices !== undefined) return { kind: "words", words: choices };
  const name = placeholder.replaceAll(/[<>[\]]|\.{3}/g, "");
  if (["file", "image", "path"].includes(name)) return { kind: "file" };
  if (["folder", "store"].includes(name)) return { kind: "folder" };
  return { kind: name === "interface" ? "interface" : "other" };
}

function textAfterHelp(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text.slice(command.helpInformation().length).trim();
}
