import * as fc from "fast-check";
import { parse } from "smol-toml";
import { describe, expect, test } from "vitest";
import { type KeyPath, locateKeys } from "./key-locator.ts";

/** "line:column" of a key. */
function place(text: string, path: KeyPath): string {
  const { line, column } = locateKeys(text).of(path);
  return `${line}:${column}`;
}

describe("places of keys", () => {
  test("tables, dotted keys and quoted keys", () => {
    const text = ["[a]", "  b = 1", 'c."d e" = 2', "", "['x.y'.z]", '"\\u0066" = 3'].join("\n");
    parse(text);
    expect(place(text, ["a"])).toBe("1:2");
    expect(place(text, ["a", "b"])).toBe("2:3");
    expect(place(text, ["a", "c", "d e"])).toBe("3:3");
    expect(place(text, ["x.y", "z"])).toBe("5:8");
    expect(place(text, ["x.y", "z", "f"])).toBe("6:1");
  });

  test("arrays of tables, and tables of their last element", () => {
    const text = ["[[t]]", "a = 1", "[t.u]", "b = 2", "[[t]]", "a = 3", "[[t.v]]", "c = 4"].join(
      "\n",
    );
    parse(text);
    expect(place(text, ["t", 0])).toBe("1:1");
    expect(place(text, ["t", 0, "a"])).toBe("2:1");
    expect(place(text, ["t", 0, "u", "b"])).toBe("4:1");
    expect(place(text, ["t", 1, "a"])).toBe("6:1");
    expect(place(text, ["t", 1, "v", 0, "c"])).toBe("8:1");
  });

  test("inline tables, arrays over several lines, strings that look like keys", () => {
    const text = [
      "# [no]",
      "a = { b = 1, c = { d = [ 1, { e = 2 } ] } }",
      'm = """',
      'x = 1 "" \\"""',
      '""""',
      "n = '''it''s",
      "y = 2'''",
      "l = [ # one",
      "  'p = 1',",
      "  { q = ']' },",
      "]",
      "z = 5",
    ].join("\n");
    parse(text);
    expect(place(text, ["a", "c", "d", 1, "e"])).toBe("2:31");
    expect(place(text, ["l", 0])).toBe("9:3");
    expect(place(text, ["l", 1, "q"])).toBe("10:5");
    expect(place(text, ["z"])).toBe("12:1");
  });

  test("what is missing stands where its table begins", () => {
    const text = "\n[server]\nport = 'tap'\n";
    expect(place(text, ["server", "interface"])).toBe("2:2");
    expect(place(text, ["target", 3])).toBe("1:1");
  });
});

/** Every key of a parsed document. */
function allPaths(value: unknown, path: KeyPath = []): KeyPath[] {
  if (typeof value !== "object" || value === null || value instanceof Date) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const innerPath = [...path, Array.isArray(value) ? Number(key) : key];
    return [innerPath, ...allPaths(inner, innerPath)];
  });
}

const bareKey = fc.stringMatching(/^[a-z0-9_-]{1,4}$/);
const anyKey = fc.oneof(
  bareKey,
  fc.string({ maxLength: 6 }).map((key) => JSON.stringify(key.replace(/\p{Cc}/gu, "~"))),
  fc.stringMatching(/^[a-z.#=\]"[ ]{0,5}$/).map((key) => `'${key}'`),
);
const scalar = fc.constantFrom(
  "1",
  "-0.5",
  "true",
  "1979-05-27T07:32:00Z",
  '"a # = ] } \\" b"',
  "'c = [ { \"'",
  '"""\nx = 1\n"""',
  "'''\n[t]\n'''",
  '""',
  "''",
);
const { value } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    scalar,
    fc.array(tie("value"), { maxLength: 3 }).map((items) => `[${items.join(" ,\n # no = 1\n ")}]`),
    fc
      .array(fc.tuple(anyKey, tie("value")), { maxLength: 3 })
      .map((pairs) => `{ ${pairs.map(([key, inner]) => `${key} = ${inner}`).join(", ")} }`),
  ),
}));
const header = fc.array(anyKey, { minLength: 1, maxLength: 3 }).map((keys) => keys.join(" . "));
const line = fc.oneof(
  fc.tuple(header, value).map(([key, inner]) => `${key} = ${inner}`),
  header.map((name) => `[${name}]`),
  header.map((name) => `[[ ${name} ]] # [no]`),
  fc.constant("# comment = 1"),
  fc.constant(""),
);
const manyLines = fc
  .array(line, { maxLength: 12 })
  .map((lines) => lines.join("\n"))
  .filter(isToml);

function isToml(text: string): boolean {
  try {
    parse(text);
    return true;
  } catch {
    return false;
  }
}

test("every key of a random document is found, with its own name at that place", () => {
  fc.assert(
    fc.property(manyLines, (text) => {
      const positions = locateKeys(text);
      const lines = text.split("\n");
      for (const path of allPaths(parse(text))) {
        const last = path.at(-1);
        const { line: number, column } = positions.of(path);
        const there = lines[number - 1].slice(column - 1);
        const written =
          typeof last === "string"
            ? [last, `'${last}'`, JSON.stringify(last)].some((name) => there.startsWith(name))
            : there.length > 0;
        expect(written, `${JSON.stringify(path)} at ${number}:${column} of\n${text}`).toBe(true);
      }
    }),
    { numRuns: 500 },
  );
});
