import * as v from "valibot";
import { nearest } from "./nearest.ts";

/** How values of any key are read: a message says what is wrong, then what would be right. */

/** A value of the file for a message: `"abc"`, `12`, `a table`. Always one line. */
export function describeValue(value: unknown): string {
  if (typeof value === "string") {
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  }
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (value === undefined) return "nothing";
  if (value instanceof Date) return "a date";
  return Array.isArray(value) ? "an array" : "a table";
}

/** Accepts what `read` turns into a value; says `wrong`, then `right`, of everything else. */
export function readWith<T>(read: (input: unknown) => T | undefined, wrong: string, right: string) {
  return v.pipe(
    v.custom<unknown>(
      (input) => read(input) !== undefined,
      ({ input }) =>
        input === undefined ? `is missing; ${right}` : `${describeValue(input)} ${wrong}; ${right}`,
    ),
    v.transform((input) => read(input) as T),
  );
}

export function oneOf<const T extends string>(choices: readonly T[], what: string) {
  const list = `use one of ${choices.map((choice) => `"${choice}"`).join(", ")}`;
  const find = (input: unknown) => choices.find((choice) => choice === input);
  return v.pipe(
    v.custom<unknown>(
      (input) => find(input) !== undefined,
      ({ input }) => {
        if (input === undefined) return `is missing; ${list}`;
        const meant = typeof input === "string" ? nearest(input, choices) : undefined;
        const right = meant === undefined ? list : `did you mean "${meant}"?`;
        return `${describeValue(input)} is not ${what}; ${right}`;
      },
    ),
    v.transform((input) => find(input) as T),
  );
}

export function wholeNumber(input: unknown, least: number, most: number): number | undefined {
  const isOne = typeof input === "number" && Number.isInteger(input);
  return isOne && input >= least && input <= most ? input : undefined;
}

export const flag = readWith(
  (input) => (typeof input === "boolean" ? input : undefined),
  "is not true or false",
  "write one of them without quotes",
);

export function pathSuchAs(example: string) {
  return readWith(
    (input) =>
      typeof input === "string" && input !== "" && !input.includes("\0") ? input : undefined,
    "is not a path",
    `use a string such as "${example}"`,
  );
}
