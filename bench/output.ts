import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { UsageError } from "../src/errors.ts";
import { giveToCaller } from "./caller.ts";

/** A file of the user who called, also under sudo. */
export function writeForCaller(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  giveToCaller(path);
}

/** @throws UsageError */
export function wholeNumber(text: string, name: string, least: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least) {
    throw new UsageError(`${name}: ${JSON.stringify(text)} is not a whole number from ${least}`);
  }
  return value;
}
