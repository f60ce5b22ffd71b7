import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { run } from "./child-process.ts";
import type { Medium } from "./suites.ts";

const MEMORY_DIRECTORY = "/dev/shm";
const SECTORS_PER_MEBIBYTE = 2048;

/**
 * The disks that are served: an image for each server and medium, filled with a pattern (no holes,
 * no blocks alike), removed at the end.
 */
export class Images implements AsyncDisposable {
  readonly sizeMebibytes: number;
  readonly #generator: string;
  readonly #directories: Record<"memory" | "file", string>;
  readonly #made = new Set<string>();
  readonly #loops = new Map<string, string>();

  constructor(options: { generator: string; diskDirectory: string; sizeMebibytes: number }) {
    this.sizeMebibytes = options.sizeMebibytes;
    this.#generator = options.generator;
    mkdirSync(options.diskDirectory, { recursive: true });
    this.#directories = {
      memory: mkdtempSync(join(MEMORY_DIRECTORY, "aoedbench-")),
      file: mkdtempSync(join(options.diskDirectory, "aoedbench-")),
    };
  }

  /** Of the disk that the files of medium "file" and "loop" are on. */
  get diskDirectory(): string {
    return this.#directories.file;
  }

  /** The path to serve; the image is made when it is asked for the first time. */
  async path(server: string, medium: Medium): Promise<string> {
    const directory = this.#directories[medium === "memory" ? "memory" : "file"];
    const file = join(directory, `${server}.img`);
    if (!this.#made.has(file)) {
      this.#made.add(file);
      const sectors = this.sizeMebibytes * SECTORS_PER_MEBIBYTE;
      await run(this.#generator, "image", file, String(sectors));
      await this.evict(file);
    }
    return medium === "loop" ? this.#loopDevice(file) : file;
  }

  /** Writes the pages of a file back and takes them out of the page cache. */
  async evict(path: string): Promise<void> {
    await run(this.#generator, "evict", path);
  }

  /** Reads all of a file or device, so that it is in the page cache as far as it fits. */
  async warm(path: string): Promise<void> {
    await run("dd", `if=${path}`, "of=/dev/null", "bs=1M", "status=none");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const device of this.#loops.values()) await run("losetup", "--detach", device);
    for (const directory of Object.values(this.#directories)) {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  async #loopDevice(file: string): Promise<string> {
    const known = this.#loops.get(file);
    if (known !== undefined) return known;
    const device = (await run("losetup", "--find", "--show", file)).trim();
    this.#loops.set(file, device);
    return device;
  }
}
