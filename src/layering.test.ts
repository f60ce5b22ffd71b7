import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/**
 * The architecture as a test: what each folder of src may import. The layers come first, top to
 * bottom; below them what every layer may use; last what puts the layers together.
 */
const foundations = [
  "errors",
  "mac-address",
  "mutex",
  "remote-status",
  "native",
  "arena",
  "metrics",
  "log",
  "system",
];
const mayImport: Record<string, string[]> = {
  ethernet: ["aoe", "target", ...foundations],
  aoe: ["ata", "target", "storage", ...foundations],
  ata: ["target", "storage", ...foundations],
  target: ["storage", ...foundations],
  storage: [...foundations],
  cas: ["storage", "blob", ...foundations],
  blob: [...foundations],
  pack: ["blob", "object", ...foundations],
  object: [...foundations],

  errors: [],
  "mac-address": [],
  mutex: [],
  "remote-status": [],
  native: ["errors"],
  arena: ["native"],
  metrics: [],
  log: [],
  system: ["errors"],

  config: ["errors", "mac-address", "storage", "target", "object", "system"],
  initiator: ["ethernet", "aoe", "ata", "target", "storage", ...foundations],
  web: ["control", ...foundations],
  control: ["ethernet", "target", "aoe", "storage", ...foundations],
  server: [
    "config",
    "control",
    "web",
    "ethernet",
    "aoe",
    "ata",
    "target",
    "cas",
    "pack",
    "blob",
    "object",
    "storage",
    ...foundations,
  ],
  workers: ["server", "config", "control", "ethernet", ...foundations],
  cli: [
    "workers",
    "server",
    "config",
    "control",
    "initiator",
    "ethernet",
    "target",
    "storage",
    ...foundations,
  ],
};

const source = dirname(fileURLToPath(import.meta.url));

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !/\.(test|compliance|testing)\.ts$/.test(name))
    .map((name) => join(folder, name));
}

function layerOf(file: string): string {
  return relative(source, file).replace(/\.ts$/, "").split("/")[0] ?? "";
}

function importedFiles(file: string): string[] {
  const text = readFileSync(file, "utf8");
  const specifiers = text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g);
  return [...specifiers].map((match) => resolve(dirname(file), match[1] ?? ""));
}

test("imports go downward through the layers only", () => {
  const violations: string[] = [];
  for (const file of sourceFiles(source)) {
    const layer = layerOf(file);
    const allowed = mayImport[layer];
    if (allowed === undefined) {
      violations.push(`${relative(source, file)}: '${layer}' is not a layer; add it to this test`);
      continue;
    }
    for (const imported of importedFiles(file)) {
      const below = layerOf(imported);
      if (below !== layer && !allowed.includes(below)) {
        violations.push(`${relative(source, file)} imports ${relative(source, imported)}`);
      }
    }
  }
  expect(violations).toEqual([]);
});

test("a file of src stays readable: at most 400 lines", () => {
  const long = sourceFiles(source)
    .map((file) => ({ file, lines: readFileSync(file, "utf8").split("\n").length }))
    .filter(({ lines }) => lines > 420)
    .map(({ file, lines }) => `${relative(source, file)}: ${lines}`);
  expect(long).toEqual([]);
});

test("the clients of object stores are loaded only when a target is on one", () => {
  const early = sourceFiles(source).filter((file) =>
    /^import (?!type )[^;]*from "@(?:aws-sdk|azure|smithy)\//m.test(readFileSync(file, "utf8")),
  );
  expect(early).toEqual([]);
});
