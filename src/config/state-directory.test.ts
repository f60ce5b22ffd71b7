import { resolve } from "node:path";
import { expect, test } from "vitest";
import { defaultStateDirectory } from "./state-directory.ts";

const here = resolve("aoed-data");

test.each([
  { file: true, isRoot: true, unit: undefined, expected: "/var/lib/aoed" },
  { file: true, isRoot: false, unit: undefined, expected: here },
  { file: false, isRoot: true, unit: undefined, expected: here },
  {
    file: false,
    isRoot: true,
    unit: "/var/lib/private/a:/var/lib/b",
    expected: "/var/lib/private/a",
  },
  { file: true, isRoot: true, unit: "", expected: "/var/lib/aoed" },
])("with a file: $file, root: $isRoot, STATE_DIRECTORY: $unit", (given) => {
  const surroundings = { environment: { STATE_DIRECTORY: given.unit }, isRoot: given.isRoot };
  expect(defaultStateDirectory(given.file, surroundings)).toBe(given.expected);
});
