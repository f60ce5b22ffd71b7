import { type CommandEntry, everyCommand, type ValueKind } from "../command-table.ts";

/** The completion of fish: a `complete` line for each command and option. */
export function fishCompletion(table: CommandEntry): string {
  const commands = everyCommand(table);
  const paths = commands.slice(1).map((command) => quoted(command.path.join(" ")));
  return `# fish completion of aoed, made of its command table
function __aoed_at -d "whether the words so far lead to this command of aoed"
    set -l path
    for word in (commandline -opc)[2..]
        if contains -- (string join -- " " $path $word) ${paths.join(" ")}
            set -a path $word
        end
    end
    test "$path" = "$argv[1]"
end

complete -c aoed -f
${commands.flatMap(commandLines).join("\n")}
`;
}

function quoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, "\\$&")}'`;
}

function commandLines(command: CommandEntry): string[] {
  const here = `complete -c aoed -n ${quoted(`__aoed_at ${quoted(command.path.join(" "))}`)}`;
  const children = command.commands.map(
    (child) => `${here} -a ${child.path.at(-1)} -d ${quoted(child.description)}`,
  );
  const options = command.options.map((option) => {
    const short = option.short === undefined ? "" : ` -s ${option.short.slice(1)}`;
    const value = option.placeholder === undefined ? "" : ` -x${offer(option.value)}`;
    const long = ` -l ${option.long.slice(2)}`;
    return `${here}${short}${long}${value} -d ${quoted(option.description)}`;
  });
  const words = command.arguments
    .map(({ value }) => offer(value))
    .filter((offered) => offered !== "")
    .map((offered) => `${here}${offered}`);
  return [...children, ...options, ...words];
}

function offer(value: ValueKind): string {
  switch (value.kind) {
    case "words":
      return ` -a ${quoted(value.words.join(" "))}`;
    case "file":
      return " -a '(__fish_complete_path (commandline -ct))'";
    case "folder":
      return " -a '(__fish_complete_directories (commandline -ct))'";
    case "interface":
      return " -a '(__fish_print_interfaces)'";
    default:
      return "";
  }
}
