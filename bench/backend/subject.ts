import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { FrameArena } from "../../src/arena/frame-arena.ts";
import { type BlockStorage, SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { type Backend, type BackendName, type Disk, openBackend } from "./backends.ts";
import { BlockPattern } from "./block-pattern.ts";
import { ClosedLoop, type Load, type LoadSample } from "./closed-loop.ts";
import type { Line } from "./lines.ts";

/** What the process that measures one backend is told at its start, as JSON. */
export interface SubjectSettings {
  readonly backend: BackendName;
  readonly durability: "durable" | "writeback";
  readonly directory: string;
  readonly diskMebibytes: number;
  /** The program that takes files out of the page cache. */
  readonly generator: string;
}

/** Asks for one run. */
export interface RunRequest {
  readonly line: Line;
  readonly round: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

export type Answer = { readonly sample: LoadSample } | { readonly error: string } | "ready";

const MOST_REQUESTS = 64;
const MEBIBYTE = 2 ** 20;
/** A cache that holds the whole disk and the tree above it, and one for little but the tree. */
const WHOLE_CACHE_SHARE = 1.25;
const SMALL_CACHE_SHARE = 1 / 8;

/** The measuring process of one backend: does the runs that its parent asks for. */
class Subject {
  readonly #settings: SubjectSettings;
  readonly #backend: Backend;
  readonly #loop: ClosedLoop;
  /** What is open, and whether its cache is full. */
  #opened: { disk: Disk; cacheShare: number; storage: BlockStorage } | undefined;

  private constructor(settings: SubjectSettings, backend: Backend, loop: ClosedLoop) {
    this.#settings = settings;
    this.#backend = backend;
    this.#loop = loop;
  }

  /** Makes the disks, and writes all of them in order. */
  static async create(settings: SubjectSettings): Promise<Subject> {
    const arena = new FrameArena(MOST_REQUESTS);
    const loop = new ClosedLoop(arena, new BlockPattern(arena.memory), MOST_REQUESTS);
    const { backend: name, directory, durability, diskMebibytes } = settings;
    const diskBytes = diskMebibytes * MEBIBYTE;
    const backend = await openBackend(name, { directory, durability, diskBytes, arena });
    const subject = new Subject(settings, backend, loop);
    for (const disk of ["reads", "writes"] as const) await subject.#fill(disk);
    await subject.#tidy();
    return subject;
  }

  async #fill(disk: Disk): Promise<void> {
    const storage = await this.#open(disk, SMALL_CACHE_SHARE);
    await this.#loop.run(storage, this.#onePass("write"));
  }

  async #open(disk: Disk, cacheShare: number): Promise<BlockStorage> {
    if (this.#opened?.disk === disk && this.#opened.cacheShare === cacheShare) {
      return this.#opened.storage;
    }
    const cacheBytes = this.#settings.diskMebibytes * MEBIBYTE * cacheShare;
    const storage = await this.#backend.open(disk, cacheBytes);
    this.#opened = { disk, cacheShare, storage };
    return storage;
  }

  async run({ line, round, seconds, warmUpSeconds }: RunRequest): Promise<LoadSample> {
    const isOnce = line.data === "cold" || line.data === "old";
    const requests = isOnce ? this.#requestsOf(line.sectors) : Infinity;
    const load = { ...line, seed: round + 1, seconds, warmUpSeconds, requests };
    if (line.operation === "read") {
      return this.#loop.run(await this.#prepareReads(line), {
        ...load,
        warmUpSeconds: isOnce ? 0 : warmUpSeconds,
      });
    }
    if (line.data === "old") await this.#reopen();
    const storage = await this.#open("writes", SMALL_CACHE_SHARE);
    const sample = await this.#loop.run(storage, {
      ...load,
      warmUpSeconds: isOnce ? 0 : warmUpSeconds,
    });
    await this.#tidy();
    return sample;
  }

  async #tidy(): Promise<void> {
    await this.#backend.tidy();
    this.#opened = undefined;
  }

  async #prepareReads(line: Line): Promise<BlockStorage> {
    if (line.data === "cold") {
      await this.#reopen();
      const files = this.#backend.files();
      for (const file of files)
        await promisify(execFile)(this.#settings.generator, ["evict", file]);
      return this.#open("reads", SMALL_CACHE_SHARE);
    }
    const cacheShare = line.data === "hot" ? WHOLE_CACHE_SHARE : SMALL_CACHE_SHARE;
    const wasOpen = this.#opened;
    const storage = await this.#open("reads", cacheShare);
    if (this.#opened !== wasOpen) await this.#loop.run(storage, this.#onePass("read"));
    return storage;
  }

  async #reopen(): Promise<void> {
    await this.#backend.reopen();
    this.#opened = undefined;
  }

  /** How many requests meet each part of a disk once. */
  #requestsOf(sectors: number): number {
    return (this.#settings.diskMebibytes * MEBIBYTE) / (sectors * SECTOR_BYTES);
  }

  #onePass(operation: "read" | "write"): Load {
    return {
      operation,
      order: "sequential",
      data: "initial",
      sectors: 16,
      window: MOST_REQUESTS,
      seed: 0,
      seconds: Infinity,
      warmUpSeconds: 0,
      requests: this.#requestsOf(16),
    };
  }

  close(): Promise<void> {
    return this.#backend.close();
  }
}

function answer(value: Answer): void {
  process.send?.(value);
}

async function main(): Promise<void> {
  const subject = await Subject.create(JSON.parse(process.argv[2]) as SubjectSettings);
  process.on("message", (request: RunRequest | "close") => {
    if (request === "close") {
      void subject.close().then(() => process.disconnect?.());
      return;
    }
    subject.run(request).then(
      (sample) => answer({ sample }),
      (error: unknown) => answer({ error: String(error) }),
    );
  });
  answer("ready");
}

await main();
