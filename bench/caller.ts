import { chownSync } from "node:fs";

/** Under sudo, what was made belongs to the user who called, so that no root-owned file is left. */
export function giveToCaller(...paths: readonly string[]): void {
  const { SUDO_UID, SUDO_GID } = process.env;
  if (!SUDO_UID || !SUDO_GID) return;
  for (const path of paths) chownSync(path, Number(SUDO_UID), Number(SUDO_GID));
}
