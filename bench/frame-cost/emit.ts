import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join } from "node:path";

const root = dirname(dirname(import.meta.dirname));

/**
 * Writes the sources as JavaScript to `folder`: without its compilers (`--jitless`) Node has no
 * WebAssembly, which it strips types with. Lines and columns stay what they are.
 */
export function emitSources(folder: string): void {
  for (const part of ["src", "bench/frame-cost"]) {
    for (const name of readdirSync(join(root, part), { recursive: true, encoding: "utf8" })) {
      if (!name.endsWith(".ts") || /\.(test|testing|compliance)\.ts$/.test(name)) continue;
      const source = stripTypeScriptTypes(readFileSync(join(root, part, name), "utf8"));
      const target = join(folder, part, name.replace(/\.ts$/, ".js"));
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, source.replaceAll(/(["']\.{1,2}\/[^"']*)\.ts(["'])/g, "$1.js$2"));
    }
  }
  for (const name of ["shim", "node_modules", "package.json"]) {
    symlinkSync(join(root, name), join(folder, name));
  }
}
