import { lstatSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const OTHERS_MAY_WRITE = 0o022;

/**
 * Where compiled code is kept: systemd's CacheDirectory, else the machine's or the user's own. What
 * lies there is run, so a folder that others may write to is not used.
 * @returns undefined when there is none
 */
export function compileCacheDirectory(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  userId = process.geteuid?.() ?? -1,
): string | undefined {
  const folder = cacheFolder(environment, userId);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = lstatSync(folder);
    return uid === userId && (mode & OTHERS_MAY_WRITE) === 0 ? join(folder, "code") : undefined;
  } catch {
    // It is only faster with it.
    return undefined;
  }
}

function cacheFolder(
  environment: Readonly<Record<string, string | undefined>>,
  userId: number,
): string {
  const ofUnit = environment["CACHE_DIRECTORY"]?.split(":", 1)[0];
  if (ofUnit !== undefined && ofUnit !== "") return ofUnit;
  if (userId === 0) return "/var/cache/aoed";
  return join(environment["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "aoed");
}
