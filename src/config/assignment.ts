import { parse, TomlError } from "smol-toml";
import { UsageError } from "../errors.ts";
import type { TargetTable } from "./target-keys.ts";

/**
 * Reads `KEY=VALUE` as somebody types it: the value is one of TOML, or else text without its quotes;
 * without a value the key is taken away. `cas.cache=1GiB` → `{ cas: { cache: "1GiB" } }`.
 * @throws UsageError
 */
export function parseAssignment(text: string): TargetTable {
  const match = /^([a-z_]+(?:\.[a-z_]+)*)=(.*)$/s.exec(text);
  if (match === null) {
    throw new UsageError(
      `${JSON.stringify(text)} is no change; use KEY=VALUE such as durability=writeback, or KEY=`,
    );
  }
  const [, key, value] = match;
  return key
    .split(".")
    .reduceRight<unknown>((inner, name) => ({ [name]: inner }), readValue(value)) as TargetTable;
}

function readValue(text: string): unknown {
  if (text === "") return null;
  try {
    return parse(`value = ${text}`)["value"];
  } catch (error) {
    if (error instanceof TomlError) return text;
    throw error;
  }
}
