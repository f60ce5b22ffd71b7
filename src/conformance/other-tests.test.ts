import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { otherTests } from "../../netns-tests/conformance-other-tests.ts";
import { caseName, conformanceCases } from "./cases.testing.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

test("the tests that the conformance table names exist", () => {
  const missing = Object.values(otherTests)
    .flat()
    .filter((path) => !existsSync(`${root}${path}`));
  expect(missing).toEqual([]);
});

test("every number of the list is one case, or names the tests that cover it", () => {
  const numbers = conformanceCases.map(({ number }) => number);
  const expected = Array.from({ length: 79 }, (_, index) => index + 1);
  expect(numbers).toEqual(expected);
  expect(otherTests[80]).toBeDefined();
});

test("the table of docs/conformance.md has a row for each case, with its title of now", () => {
  const document = readFileSync(`${root}docs/conformance.md`, "utf8");
  const absent = conformanceCases.filter(
    ({ number, title }) => !document.includes(`| ${number} | ${title} |`),
  );
  expect(absent.map(caseName)).toEqual([]);
});
