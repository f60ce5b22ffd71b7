import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { replaceText } from "./saved-target.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aoed-saved-"));
  path = join(folder, "aoed.toml");
  writeFileSync(path, "# first\n");
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("changes saved at once are all kept", async () => {
  const numbers = [...Array(8).keys()];
  await Promise.all(
    numbers.map(async (n) => replaceText(path, (text) => `${text}# ${n}\n`, 30_000)),
  );
  const lines = readFileSync(path, "utf8").trimEnd().split("\n").slice(1);
  expect(lines.toSorted()).toEqual(numbers.map((n) => `# ${n}`));
  expect(readdirSync(folder)).toEqual(["aoed.toml"]);
});

test("what another has left is not overwritten, and the message says what to do", async () => {
  writeFileSync(`${path}.new`, "half");
  await expect(replaceText(path, () => "", 0)).rejects.toThrow(
    /another aoed is saving it; if none is, one was killed: remove .*aoed\.toml\.new and save/,
  );
  expect(readFileSync(`${path}.new`, "utf8")).toBe("half");
  expect(readFileSync(path, "utf8")).toBe("# first\n");
});

test("an edit that fails leaves the file, and nothing in the way of the next", async () => {
  const fail = (): never => {
    throw new Error("not understood");
  };
  await expect(replaceText(path, fail, 0)).rejects.toThrow("not understood");
  expect(readdirSync(folder)).toEqual(["aoed.toml"]);
});
