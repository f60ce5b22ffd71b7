import { isDeepStrictEqual } from "node:util";
import { UsageError } from "../errors.ts";
import { type TargetConfiguration, targetName } from "./configuration.ts";
import { type DocumentParts, locateParts } from "./key-locator.ts";
import { parseConfiguration, parseTargetKeys } from "./load.ts";
import { mergedTable, type TargetTable, targetTable } from "./target-keys.ts";

/**
 * Changes of one target in the text of a configuration file: every other line, comment and blank
 * stays as it is. What comes out is read again and compared with what was meant, so that a layout
 * that these few rules do not understand is refused and never damaged.
 */

export interface TargetAddress {
  readonly shelf: number;
  readonly slot: number;
}

/** The text with one more [[target]] at its end. @throws UsageError */
export function withTargetAdded(text: string, path: string, keys: TargetTable): string {
  const before = parseConfiguration(text, path).targets;
  const target = parseTargetKeys(keys);
  if (before.some((other) => targetName(other) === targetName(target))) {
    throw new UsageError(`${path}: ${targetName(target)} is there already`);
  }
  const gap = text === "" || text.endsWith("\n\n") ? "" : text.endsWith("\n") ? "\n" : "\n\n";
  const edited = `${text}${gap}${tableText("target", keys, true)}`;
  return verified(edited, path, [...before, target]);
}

/** The text without the target, and without the comment that stands right above it. @throws UsageError */
export function withTargetRemoved(text: string, path: string, address: TargetAddress): string {
  const before = parseConfiguration(text, path).targets;
  const index = indexOf(before, address, path);
  const parts = locateParts(text);
  const { start, end } = blockOf(parts, text, index, path);
  const edited = text.slice(0, start) + text.slice(end).replace(/^\n/, "");
  return verified(edited, path, before.toSpliced(index, 1));
}

/** The text with other values for some keys of a target; null takes a key away. @throws UsageError */
export function withTargetChanged(
  text: string,
  path: string,
  address: TargetAddress,
  changes: TargetTable,
): string {
  const before = parseConfiguration(text, path).targets;
  const index = indexOf(before, address, path);
  const target = parseTargetKeys(mergedTable(targetTable(before[index]), changes));
  let edited = text;
  for (const [key, value] of Object.entries(changes)) {
    edited = withKey(edited, path, ["target", index], key, value);
  }
  return verified(edited, path, before.with(index, target));
}

function indexOf(targets: readonly TargetConfiguration[], address: TargetAddress, path: string) {
  const index = targets.findIndex((target) => targetName(target) === targetName(address));
  if (index !== -1) return index;
  throw new UsageError(
    `${path}: ${targetName(address)} is not in the file; leave --save away, or write it there`,
  );
}

function verified(text: string, path: string, wanted: readonly TargetConfiguration[]): string {
  if (isDeepStrictEqual(parseConfiguration(text, path).targets, wanted)) return text;
  throw handwork(path);
}

function handwork(path: string): UsageError {
  return new UsageError(
    `${path}: its layout is not one that can be changed by a command; change it in an editor, ` +
      "then aoed reload",
  );
}

type Place = readonly (string | number)[];

function isWithin(path: Place, table: Place): boolean {
  return table.every((part, index) => path[index] === part);
}

/** From the comment above the header to the next header that is not the target's. */
function blockOf(parts: DocumentParts, text: string, index: number, path: string) {
  const table: Place = ["target", index];
  const first = parts.headers.findIndex((header) => isDeepStrictEqual(header.path, table));
  if (first === -1) throw handwork(path);
  const next = parts.headers.slice(first).find((header) => !isWithin(header.path, table));
  const start = commentAbove(text, parts.headers[first].start);
  return { start, end: next === undefined ? text.length : commentAbove(text, next.start) };
}

/** Where the lines of comment begin that stand right above a line. */
function commentAbove(text: string, offset: number): number {
  let start = lineStart(text, offset);
  while (start > 0) {
    const above = lineStart(text, start - 1);
    if (!/^[ \t]*#/.test(text.slice(above, start))) break;
    start = above;
  }
  // What heads the file is about the file.
  return start === 0 ? lineStart(text, offset) : start;
}

function lineStart(text: string, offset: number): number {
  return text.lastIndexOf("\n", offset - 1) + 1;
}

function lineEnd(text: string, offset: number): number {
  const end = text.indexOf("\n", offset);
  return end === -1 ? text.length : end + 1;
}

function withKey(text: string, path: string, table: Place, key: string, value: unknown): string {
  const parts = locateParts(text);
  const present = parts.values.get(JSON.stringify([...table, key]));
  if (isTable(value) && present === undefined) {
    return Object.entries(value).reduce(
      (edited, [inner, innerValue]) => withKey(edited, path, [...table, key], inner, innerValue),
      text,
    );
  }
  if (present === undefined)
    return value === null ? text : withNewKey(text, path, table, key, value);
  if (value !== null)
    return text.slice(0, present.start) + valueText(value) + text.slice(present.end);
  return text.slice(0, lineStart(text, present.keyStart)) + text.slice(lineEnd(text, present.end));
}

/** Behind the last key of its own that the table has, indented as that one is. */
function withNewKey(text: string, path: string, table: Place, key: string, value: unknown): string {
  const parts = locateParts(text);
  const header = parts.headers.find((candidate) => isDeepStrictEqual(candidate.path, table));
  if (header === undefined) {
    // [target.cas.snapshots] and the like begin behind the rest of the target.
    const { end } = blockOf(parts, text, Number(table[1]), path);
    const added = `[${table.filter((part) => typeof part === "string").join(".")}]\n${key} = ${valueText(value)}\n`;
    const before = text.slice(0, end);
    return `${before}${before.endsWith("\n") ? "" : "\n"}${added}${text.slice(end)}`;
  }
  let last: number = header.start;
  for (const [name, { keyStart, end }] of parts.values) {
    const place = JSON.parse(name) as Place;
    const isOwn = place.length === table.length + 1 && isWithin(place, table);
    if (isOwn && keyStart > header.start) last = Math.max(last, end);
  }
  const end = lineEnd(text, last);
  const indent = /^[ \t]*/.exec(text.slice(lineStart(text, last)))?.[0] ?? "";
  const newline = text.slice(0, end).endsWith("\n") ? "" : "\n";
  return `${text.slice(0, end)}${newline}${indent}${key} = ${valueText(value)}\n${text.slice(end)}`;
}

function tableText(name: string, table: TargetTable, isElement: boolean): string {
  const inner = Object.entries(table).filter(([, value]) => isTable(value));
  const own = Object.entries(table).filter(([, value]) => !isTable(value));
  const lines = own.map(([key, value]) => `${key} = ${valueText(value)}\n`);
  const head = isElement ? `[[${name}]]\n` : `[${name}]\n`;
  const tables = inner.map(([key, value]) =>
    tableText(`${name}.${key}`, value as TargetTable, false),
  );
  return head + lines.join("") + tables.map((text) => `\n${text}`).join("");
}

function isTable(value: unknown): value is TargetTable {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(valueText).join(", ")}]`;
  // What JSON escapes in a string, TOML reads the same way.
  return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
}
