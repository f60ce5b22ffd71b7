import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { lockFile } from "../system/file-lock.ts";
import { ObjectFault } from "./object-store.ts";

/** A process that holds the lock for longer is stopped, or its file system hangs. */
const PATIENCE_MS = 30_000;
const LONGEST_PAUSE_MS = 20;

/** Lets one action at a time run, of this process and of others that lock the same file. */
export class FolderLock {
  readonly #path: string;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(path: string) {
    this.#path = path;
  }

  /** Makes the file when it is missing. */
  static async open(path: string): Promise<FolderLock> {
    const file = await open(path, "a", 0o600);
    await file.close();
    return new FolderLock(path);
  }

  run<T>(signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(async () => {
      await using file = await open(this.#path, "a");
      await this.#acquire(file, signal);
      // Awaited here: the lock goes with the descriptor, which is closed on return.
      return await action();
    });
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #acquire(file: FileHandle, signal: AbortSignal | undefined): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      signal?.throwIfAborted();
      if (lockFile(file.fd, false)) return;
      if (performance.now() > deadline) {
        throw new ObjectFault("unavailable", `another process holds ${this.#path}`);
      }
      await sleep(pauseMs);
    }
  }

  /** Resolves when nothing runs any more. */
  async close(): Promise<void> {
    await this.#last;
  }
}
