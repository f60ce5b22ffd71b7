import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildProgram } from "../../src/cli/program.ts";
import { type CommandEntry, commandTable, everyCommand } from "../command-table.ts";
import { bashCompletion } from "./bash.ts";
import { fishCompletion } from "./fish.ts";
import { zshCompletion } from "./zsh.ts";

const table = commandTable(buildProgram());
const commands = everyCommand(table);
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "aoed-completions-"));
  writeFileSync(join(folder, "bash"), bashCompletion(table));
  writeFileSync(join(folder, "_aoed"), zshCompletion(table));
  writeFileSync(join(folder, "fish"), fishCompletion(table));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function isPresent(shell: string): boolean {
  return spawnSync(shell, ["-c", "true"]).status === 0;
}

/** The words that a shell must offer after a command and a "-". */
function optionsOf({ options }: CommandEntry): string[] {
  return options.map((option) => option.long);
}

function namesOf({ commands: children }: CommandEntry): string[] {
  return children.map((child) => child.path.at(-1) ?? "");
}

/** Asks one shell for the completions of many command lines: a process for each would be slow. */
interface Shell {
  readonly name: string;
  /** A script that prints a line "== N" and then what is offered, for each command line. */
  readonly script: (lines: readonly string[]) => string;
}

const bash: Shell = {
  name: "bash",
  script: (lines) =>
    `compopt() { :; }\nsource ${folder}/bash\n` +
    lines
      .map((line, index) => {
        const words = line.split(" ");
        const typed = `COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")})`;
        return `${typed}; COMP_CWORD=${words.length - 1}; _aoed; echo "== ${index}"; printf '%s\\n' "\${COMPREPLY[@]}"`;
      })
      .join("\n"),
};

const fish: Shell = {
  name: "fish",
  script: (lines) =>
    `source ${folder}/fish\n` +
    lines.map((line, index) => `echo "== ${index}"; complete -C '${line}'`).join("\n"),
};

/**
 * zsh completes only what is typed, so it is typed: in a second zsh, behind a terminal, which notes
 * what it would offer. A key of its own ends each line, so that nothing depends on time.
 */
const zsh: Shell = {
  name: "zsh",
  script: (lines) => {
    const offered = join(folder, "offered");
    writeFileSync(
      join(folder, "setup.zsh"),
      `fpath=(${folder} $fpath)
autoload -Uz compinit && compinit -u -D
unsetopt beep
lines=0
next-line() { print -r -- "== $lines" >>${offered}; lines=$((lines + 1)); BUFFER= }
zle -N next-line
bindkey '^X1' next-line
compadd() {
  if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
  local -a matches
  builtin compadd -O matches "$@"
  print -rl -- $matches >>${offered}
}
`,
    );
    return `zmodload zsh/zpty zsh/zselect
: >${offered}
zpty inner zsh -f -i
zpty -w inner "source ${folder}/setup.zsh"
for line in "" ${lines.map((line) => `'${line}'`).join(" ")}; do
  if [[ -n $line ]]; then zpty -w -n inner "$line"$'\\t'; fi
  zpty -w -n inner $'\\x181'
  count=$((count + 1))
  until [[ $(grep -c '^== ' ${offered}) = $count ]]; do
    while zpty -r -t inner drained; do :; done
    zselect -t 1
    if (( ++waits > 6000 )); then echo 'no answer from zsh' >&2; exit 1; fi
  done
done
zpty -d inner
sed '$d' ${offered}`;
  },
};

function completions({ name, script }: Shell, lines: readonly string[]): string[][] {
  const words = ["-c", script(lines)];
  const env = { ...process.env, HOME: folder };
  const { status, stdout, stderr } = spawnSync(name, words, { encoding: "utf8", env });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout
    .split(/^== \d+\n/m)
    .slice(1)
    .map((part) => part.split("\n").map((word) => word.split("\t")[0] ?? ""));
}

describe.each([bash, fish, zsh])("$name", (shell) => {
  test.skipIf(!isPresent(shell.name))("offers every command and every option", () => {
    const asked = commands.map((command) => ["aoed", ...command.path, ""].join(" "));
    const offered = completions(shell, [...asked, ...asked.map((line) => `${line}-`)]);
    expect(offered).toHaveLength(2 * commands.length);
    commands.forEach((command, index) => {
      expect(offered[index]).toEqual(expect.arrayContaining(namesOf(command)));
      expect(offered[index + commands.length]).toEqual(expect.arrayContaining(optionsOf(command)));
    });
  });

  test.skipIf(!isPresent(shell.name))("offers the values of an option, and files", () => {
    writeFileSync(join(folder, "disk.img"), "");
    const [ports, interfaces, files, folders] = completions(shell, [
      "aoed serve --port ",
      "aoed serve --size 1GiB --interface ",
      `aoed check-config ${folder}/dis`,
      `aoed gc --store ${folder.slice(0, -1)}`,
    ]);
    expect(ports).toEqual(expect.arrayContaining(["auto", "packet", "tap", "xdp"]));
    expect(interfaces).toContain("lo");
    // zsh offers the last part of a path.
    expect(files?.map((name) => basename(name))).toContain("disk.img");
    expect(folders?.map((name) => basename(name))).toContain(basename(folder));
  });
});

test("bash takes --option=value and the words of values for no commands", () => {
  const [ports, options] = completions(bash, [
    "aoed serve --port = t",
    "aoed snapshot list --store create --",
  ]);
  expect(ports).toContain("tap");
  expect(options).toContain("--store");
  expect(options).not.toContain("--description");
});
