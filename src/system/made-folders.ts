import { lchown, mkdir, rmdir } from "node:fs/promises";
import { dirname } from "node:path";

/** A folder with those above it that were missing, so that they can be taken back. */
export class MadeFolders {
  /** Innermost first; none when it was there already. */
  readonly #paths: string[] = [];

  private constructor(folder: string, first: string | undefined) {
    if (first === undefined) return;
    for (let path = folder; path.length >= first.length; path = dirname(path)) {
      this.#paths.push(path);
    }
  }

  /** @throws Error of the system */
  static async make(folder: string, mode: number): Promise<MadeFolders> {
    return new MadeFolders(folder, await mkdir(folder, { recursive: true, mode }));
  }

  /** Gives all that were made to a user. @throws Error of the system */
  async give(userId: number, groupId: number): Promise<void> {
    for (const path of this.#paths) await lchown(path, userId, groupId);
  }

  /** Removes what was made; what holds something by now, or may not be removed any more, stays. */
  async remove(): Promise<void> {
    for (const path of this.#paths) await rmdir(path).catch(() => undefined);
  }
}
