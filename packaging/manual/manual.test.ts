import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildProgram } from "../../src/cli/program.ts";
import { azureSchema, directorySchema, s3Schema } from "../../src/config/object-store-keys.ts";
import { casSchema, serverSchema, snapshotsSchema, targetSchema } from "../../src/config/schema.ts";
import { commandTable, everyCommand } from "../command-table.ts";
import { MAN_PAGES, manPage } from "./manual.ts";
import { markdownPage } from "./markdown.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "aoed-manual-"));
  for (const name of MAN_PAGES) writeFileSync(join(folder, name), manPage(name));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const hasMandoc = spawnSync("mandoc", ["-V"]).error === undefined;
const reason = hasMandoc ? "" : " (left out: mandoc is missing, in Debian's package of that name)";

/** A page as it is read, on lines of any length and without overstriking. */
function read(name: string): string {
  const words = ["-Tutf8", "-Owidth=200", join(folder, name)];
  const shown = spawnSync("mandoc", words, { encoding: "utf8" }).stdout;
  return shown.replaceAll(new RegExp(String.raw`.\x08`, "g"), "");
}

describe.skipIf(!hasMandoc)(`the man pages, as mandoc shows them${reason}`, () => {
  test.each(MAN_PAGES)("%s has no mistake in its markup", (name) => {
    const words = ["-T", "lint", "-W", "warning", join(folder, name)];
    expect(spawnSync("mandoc", words, { encoding: "utf8" })).toMatchObject({
      stdout: "",
      status: 0,
    });
  });

  test("aoed(8) has every command, every argument and every option", () => {
    const text = read("aoed.8");
    for (const command of everyCommand(commandTable(buildProgram()))) {
      if (command.path.at(-1) === "help") continue;
      const words = ["aoed", ...command.path].join(" ");
      const page = text.slice(text.search(new RegExp(`^ +${words}( [<[]|$)`, "m")));
      expect(page, words).not.toBe("");
      const names = command.options.flatMap(({ long, short }) =>
        short === undefined ? [long] : [`${short}, ${long}`],
      );
      for (const name of names) expect(text).toContain(name);
      for (const argument of command.arguments) expect(page).toContain(argument.name);
    }
  });

  test("aoed.toml(5) has every key, as an entry of its own", () => {
    const text = read("aoed.toml.5");
    const entries = [...text.matchAll(/^ {5,9}([a-z0-9_, ]+?)(?: \(.*)?$/gm)].flatMap(([, names]) =>
      names?.split(", "),
    );
    const schemas = [serverSchema, targetSchema, casSchema, snapshotsSchema];
    const keys = [...schemas, directorySchema, s3Schema, azureSchema]
      .flatMap(({ entries: ofTable }) => Object.keys(ofTable))
      .filter((key) => !["cas", "directory", "s3", "azure"].includes(key));
    expect(keys.filter((key) => !entries.includes(key))).toEqual([]);
  });
});

test("Markdown becomes text that no macro is hidden in", () => {
  const page = markdownPage("# Title\n\n.SH no\n\n- a `b-c`\n- [d](e.md)\n\n```\n'typed\n```\n");
  const lines = String.raw`
.PP
\&.SH no
.IP \(bu 4
a \fBb\-c\fR
.IP \(bu 4
d
.PP
.in +4n
.EX
\(aqtyped
.EE
.in`;
  expect(page).toEqual(lines.split("\n").slice(1));
});

test("Markdown that a man page cannot show is refused, not left out", () => {
  expect(() => markdownPage("![picture](a.png)")).toThrow(/image/);
});
