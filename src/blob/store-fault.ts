import { systemErrorCode } from "../errors.ts";
import { StoreFault } from "./blob-store.ts";

/** What a store says of an error of the disk; anything else is a bug, and thrown on. */
export function storeFault(error: unknown): StoreFault {
  if (error instanceof StoreFault) return error;
  const code = systemErrorCode(error);
  if (code === undefined) throw error;
  const kind = isOutOfSpace(error) ? "noSpace" : "writeFault";
  return new StoreFault(kind, `the disk of the store refused (${code})`, { cause: error });
}

/** The disk, or the share of it that the store may use, is full. */
export function isOutOfSpace(error: unknown): boolean {
  const code = systemErrorCode(error);
  return code === "ENOSPC" || code === "EDQUOT";
}
