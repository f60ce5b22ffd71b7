import { readdirSync } from "node:fs";
import { join } from "node:path";
import { FrameArena } from "../../src/arena/frame-arena.ts";
import { openFileStore } from "../../src/blob/open-file-store.ts";
import { CasStore, type CasStoreOptions } from "../../src/cas/cas-store.ts";
import type { Volume } from "../../src/cas/volume.ts";
import { BlockRequest, BlockStatus } from "../../src/storage/block-storage.ts";
import { BlockPattern } from "../backend/block-pattern.ts";
import { ClosedLoop } from "../backend/closed-loop.ts";

const WINDOW = 64;
const SECTORS_PER_BLOCK = 8;

/** Memory for requests, and a load to write with: one for each process. */
export class Workbench {
  readonly arena = new FrameArena(2 * WINDOW);
  readonly pattern = new BlockPattern(this.arena.memory);
  readonly loop = new ClosedLoop(this.arena, this.pattern, WINDOW);

  /** Writes so many blocks of the volume at random, each once and each with new content. */
  async writeBlocks(volume: Volume, blocks: number, seed = 1): Promise<void> {
    await this.loop.run(volume, {
      operation: "write",
      order: "random",
      data: "unique",
      sectors: SECTORS_PER_BLOCK,
      window: WINDOW,
      seed,
      seconds: Infinity,
      warmUpSeconds: 0,
      requests: blocks,
    });
  }
}

export function openStore(
  directory: string,
  limits: Pick<CasStoreOptions, "tailLimitBytes" | "dirtyLimitBlocks"> = {},
): Promise<CasStore> {
  return CasStore.open({
    ...limits,
    open: (reader) => openFileStore(directory, reader),
    log: (level, message) => process.stderr.write(`${level}: ${message}\n`),
  });
}

/** Nothing begins a checkpoint but what is measured. */
export const NO_CHECKPOINTS = { tailLimitBytes: Infinity, dirtyLimitBlocks: Infinity };

export function segmentFiles(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.startsWith("segment-"))
    .map((name) => join(directory, name));
}

/** A request that is waited for. */
export class AwaitedRequest extends BlockRequest {
  readonly #result = Promise.withResolvers<number>();
  readonly #beganMs = performance.now();

  /** Resolves with how long it took, in ms. @throws Error when it failed */
  get tookMs(): Promise<number> {
    return this.#result.promise;
  }

  override completed(): void {
    if (this.status === BlockStatus.ok) this.#result.resolve(performance.now() - this.#beganMs);
    else this.#result.reject(new Error(`LBA ${this.lba}: status ${this.status}`));
  }
}
