import {
  type CommandEntry,
  everyCommand,
  type OptionEntry,
  type ValueKind,
} from "../command-table.ts";

/** The completion of zsh: a function for each command, built on `_arguments`. */
export function zshCompletion(table: CommandEntry): string {
  return `#compdef aoed
# zsh completion of aoed, made of its command table
${everyCommand(table).map(commandFunction).join("\n")}
_aoed "$@"
`;
}

function functionName(command: CommandEntry): string {
  return ["_aoed", ...command.path].join("_").replaceAll("-", "_");
}

/** Inside of single quotes; a bracket or a colon would end the description. */
function quoted(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, "\\$&").replaceAll("'", "'\\''");
}

function commandFunction(command: CommandEntry): string {
  const specifications = command.options.map(optionSpecification);
  const below =
    command.commands.length > 0
      ? ["'1:command:->command'", "'*::word:->word'"]
      : argumentsOf(command);
  const lines = [...specifications, ...below].map((line) => `        ${line}`).join(" \\\n");
  const [states, end] = command.commands.length > 0 ? [subcommandStates(command), ""] : ["", ""];
  return `${functionName(command)}() {
    local context state line
    typeset -A opt_args
    _arguments -S${command.commands.length > 0 ? " -C" : ""} \\
${lines}
${states}${end}}
`;
}

function optionSpecification(option: OptionEntry): string {
  const description = `[${quoted(option.description)}]`;
  const value =
    option.placeholder === undefined
      ? ""
      : `:${quoted(option.placeholder.replaceAll(/[<>]/g, ""))}:${action(option.value)}`;
  // An option that may be repeated must not exclude itself.
  const repeats = option.description.includes("repeat") ? "*" : "";
  if (option.short === undefined) return `'${repeats}${option.long}${description}${value}'`;
  const excluded = repeats === "" ? `(${option.short} ${option.long})` : repeats;
  return `'${excluded}'{${option.short},${option.long}}'${description}${value}'`;
}

function action(value: ValueKind): string {
  switch (value.kind) {
    case "words":
      return `(${value.words.join(" ")})`;
    case "file":
      return "_files";
    case "folder":
      return "_files -/";
    case "interface":
      return "_net_interfaces";
    default:
      return " ";
  }
}

function argumentsOf(command: CommandEntry): string[] {
  return command.arguments.map(({ name, value, isVariadic }, index) => {
    return `'${isVariadic ? "*" : index + 1}:${quoted(name)}:${action(value)}'`;
  });
}

function subcommandStates(command: CommandEntry): string {
  const described = command.commands.map(
    (child) => `            '${child.path.at(-1)}:${quoted(child.description)}'`,
  );
  const calls = command.commands.map(
    (child) => `        ${child.path.at(-1)}) ${functionName(child)} ;;`,
  );
  return `    case $state in
    command)
        local -a commands=(
${described.join("\n")}
        )
        _describe command commands ;;
    word)
        case $line[1] in
${calls.join("\n")}
        esac ;;
    esac
`;
}
