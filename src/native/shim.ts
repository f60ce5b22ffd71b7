import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { UsageError } from "../errors.ts";

/**
 * The C shim as TypeScript sees it. Calls on the data path return a count or a negative errno and
 * never throw; they throw only on misuse, which is a bug of ours. What each part does is said in
 * its C file.
 */
export interface Shim {
  /** shim/memory.c */
  mapMemory(lengthBytes: number): ArrayBuffer;
}

const built = fileURLToPath(new URL("../../shim/build/", import.meta.url));

/** `AOED_SHIM=sanitized` takes the build with AddressSanitizer (see `make test-sanitized`). */
function shimPath(): string {
  const variant = process.env["AOED_SHIM"] === "sanitized" ? "aoed_shim.sanitized" : "aoed_shim";
  return `${built}${variant}.node`;
}

function load(): Shim {
  const path = shimPath();
  if (!existsSync(path)) {
    throw new UsageError(`the C shim is not built (${path} is missing): run 'make'`);
  }
  return createRequire(import.meta.url)(path) as Shim;
}

export const shim: Shim = load();
