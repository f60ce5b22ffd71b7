import { type FileHandle, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { readText } from "../config/load.ts";
import { systemErrorCode, UsageError } from "../errors.ts";
import { askServer } from "./control-client.ts";

/** How long another command may take to save its change of the same file. */
const LOCK_PATIENCE_MS = 5000;
const LOCK_POLL_MS = 20;

/** A change of the text of a configuration file. @throws UsageError when it cannot be made */
export type Edit = (text: string, path: string) => string;

/**
 * Writes a change of a running server back to its configuration file. Whether that can be done is
 * found out before the server is asked.
 */
export class SavedTarget {
  readonly #path: string;
  readonly #edit: Edit;

  private constructor(path: string, edit: Edit) {
    this.#path = path;
    this.#edit = edit;
  }

  /** @throws UsageError when the server has no file, or it cannot be changed so */
  static async prepare(socket: string | undefined, edit: Edit): Promise<SavedTarget> {
    const answer = await askServer<{ file: string | null }>(socket, "GET", "/v1/configuration");
    if (answer.file === null) {
      throw new UsageError(
        "the server was started without a configuration file; leave --save away",
      );
    }
    const path = await realpath(answer.file);
    edit(readText(path), path);
    return new SavedTarget(path, edit);
  }

  /** @returns the file @throws Error when it could not be written: the server has changed all the same */
  async write(): Promise<string> {
    try {
      await replaceText(this.#path, this.#edit);
    } catch (error) {
      const reason = systemErrorCode(error) ?? (error instanceof Error ? error.message : "unknown");
      throw new UsageError(`the server has changed, but ${this.#path} was not saved: ${reason}`, {
        cause: error,
      });
    }
    return this.#path;
  }
}

/**
 * As a whole or not at all, with the owner and the mode that the file has. Others that do the same
 * wait: each changes the text that the one before it has left.
 */
export async function replaceText(
  path: string,
  edit: Edit,
  patienceMs = LOCK_PATIENCE_MS,
): Promise<void> {
  const { mode, uid, gid } = await stat(path);
  const temporary = `${path}.new`;
  const file = await openAlone(temporary, mode & 0o7777, patienceMs);
  try {
    try {
      await file.writeFile(edit(readText(path), path));
      if (process.geteuid?.() === 0) await file.chown(uid, gid);
      await file.chmod(mode & 0o7777);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** The new file is the lock as well: only one can make it, and its renaming gives it back. */
async function openAlone(path: string, mode: number, patienceMs: number): Promise<FileHandle> {
  const deadlineMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await open(path, "wx", mode);
    } catch (error) {
      if (systemErrorCode(error) !== "EEXIST") throw error;
      if (performance.now() >= deadlineMs) {
        throw new UsageError(
          `another aoed is saving it; if none is, one was killed: remove ${path} and save again`,
          { cause: error },
        );
      }
    }
    await delay(LOCK_POLL_MS);
  }
}
