import {
  type CommandEntry,
  everyCommand,
  type OptionEntry,
  type ValueKind,
} from "../command-table.ts";

/** The completion of bash: one function, with the command table in its `case` statements. */
export function bashCompletion(table: CommandEntry): string {
  const commands = everyCommand(table);
  return `# bash completion of aoed, made of its command table
_aoed_offer() {
    case $1 in
        file) compopt -o filenames; COMPREPLY=($(compgen -f -- "$current")) ;;
        folder) compopt -o filenames; COMPREPLY=($(compgen -d -- "$current")) ;;
        interface) COMPREPLY=($(compgen -W "$(ls /sys/class/net 2>/dev/null)" -- "$current")) ;;
        other) ;;
        *) COMPREPLY=($(compgen -W "$1" -- "$current")) ;;
    esac
}

# What an option of a command takes: sets kind, or fails when it takes nothing.
_aoed_value() {
    case "$1 $2" in
${commands.flatMap(valueCases).join("\n")}
        *) return 1 ;;
    esac
}

_aoed() {
    COMPREPLY=()
    local current=\${COMP_WORDS[COMP_CWORD]} path="" kind="" word i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=\${COMP_WORDS[i]}
        if _aoed_value "$path" "$word"; then
            # bash splits --port=tap into three words.
            [[ \${COMP_WORDS[i + 1]} == "=" ]] && ((i++))
            if ((i + 1 >= COMP_CWORD)); then
                [[ $current == "=" ]] && current=""
                _aoed_offer "$kind"
                return
            fi
            ((i++))
            continue
        fi
        case "$path $word" in
${commands.flatMap(pathCases).join("\n")}
        esac
    done
    case "$path" in
${commands.map(offerCase).join("\n")}
    esac
}
complete -F _aoed aoed
`;
}

function pathOf(command: CommandEntry): string {
  return command.path.map((word) => ` ${word}`).join("");
}

function spellings(option: OptionEntry): string[] {
  return [option.long, ...(option.short === undefined ? [] : [option.short])];
}

function kindWord(value: ValueKind): string {
  return value.kind === "words" ? value.words.join(" ") : value.kind;
}

function valueCases(command: CommandEntry): string[] {
  return command.options
    .filter((option) => option.placeholder !== undefined)
    .map((option) => {
      const patterns = spellings(option).map((spelling) => `"${pathOf(command)} ${spelling}"`);
      return `        ${patterns.join(" | ")}) kind="${kindWord(option.value)}" ;;`;
    });
}

function pathCases(command: CommandEntry): string[] {
  return command.commands.map(
    (child) => `            "${pathOf(child)}") path="${pathOf(child)}" ;;`,
  );
}

function offerCase(command: CommandEntry): string {
  const names = command.commands.map((child) => child.path.at(-1) ?? "");
  const options = command.options.flatMap(spellings);
  const words = [...names, ...options].join(" ");
  const [argument] = command.arguments;
  const kind = argument === undefined ? "other" : kindWord(argument.value);
  return `        "${pathOf(command)}")
            if [[ $current == -* || ${names.length} -gt 0 ]]; then _aoed_offer "${words}"
            else _aoed_offer "${kind}"; fi ;;`;
}
