import { chmodSync, chownSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { compileCacheDirectory } from "./compile-cache.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aoed-cache-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const me = process.geteuid?.() ?? -1;

test("a folder of the unit's or the user's own is made for this user alone", () => {
  const unit = join(folder, "unit");
  expect(compileCacheDirectory({ CACHE_DIRECTORY: `${unit}:/other` }, me)).toBe(join(unit, "code"));
  expect(statSync(unit).mode & 0o777).toBe(0o700);
  if (me === 0) return;
  expect(compileCacheDirectory({ XDG_CACHE_HOME: folder }, me)).toBe(join(folder, "aoed", "code"));
});

test("a folder that somebody else owns, may write to, or has put in its place is not used", () => {
  const environment = { CACHE_DIRECTORY: folder };
  expect(compileCacheDirectory(environment, me + 1)).toBeUndefined();
  chmodSync(folder, 0o777);
  expect(compileCacheDirectory(environment, me)).toBeUndefined();
  chmodSync(folder, 0o700);
  expect(compileCacheDirectory(environment, me)).toBe(join(folder, "code"));
  if (me === 0) chownSync(folder, 65534, 65534);
  else chmodSync(folder, 0o777);
  expect(compileCacheDirectory({ CACHE_DIRECTORY: folder }, me)).toBeUndefined();
  expect(compileCacheDirectory({ CACHE_DIRECTORY: join(folder, "no\0name") }, me)).toBeUndefined();
});
