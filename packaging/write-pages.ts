import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buildProgram } from "../src/cli/program.ts";
import { commandTable } from "./command-table.ts";
import { bashCompletion } from "./completions/bash.ts";
import { fishCompletion } from "./completions/fish.ts";
import { zshCompletion } from "./completions/zsh.ts";
import { MAN_PAGES, manPage } from "./manual/manual.ts";

/**
 * Writes the man pages and the shells' completions where Debian looks for them.
 *
 *   bin/node packaging/write-pages.ts FOLDER
 */
const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: bin/node packaging/write-pages.ts FOLDER");

function write(path: string, text: string): void {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

const table = commandTable(buildProgram());
write("usr/share/bash-completion/completions/aoed", bashCompletion(table));
write("usr/share/zsh/vendor-completions/_aoed", zshCompletion(table));
write("usr/share/fish/vendor_completions.d/aoed.fish", fishCompletion(table));
for (const page of MAN_PAGES) write(`usr/share/man/man${page.at(-1)}/${page}`, manPage(page));
