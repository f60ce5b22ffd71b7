import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
  writeFileSync(join(folder, "zsh"), zshCompletion(table));
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

describe.each([bash, fish])("$name", (shell) => {
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
    expect(files).toContain(`${folder}/disk.img`);
    expect(folders?.map((name) => name.replace(/\/$/, ""))).toContain(folder);
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

test.skipIf(!isPresent("zsh"))(
  "zsh: the syntax is right, and every command has its function",
  () => {
    expect(spawnSync("zsh", ["-n", join(folder, "zsh")], { encoding: "utf8" })).toMatchObject({
      status: 0,
      stderr: "",
    });
    const text = zshCompletion(table);
    for (const command of commands) {
      const name = ["_aoed", ...command.path].join("_").replaceAll("-", "_");
      const body = text.slice(text.indexOf(`\n${name}() {`)).split("\n}\n")[0] ?? "";
      for (const word of [...namesOf(command), ...optionsOf(command)]) expect(body).toContain(word);
    }
  },
);
