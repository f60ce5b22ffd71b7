import { readdirSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { FrameArena } from "../../src/arena/frame-arena.ts";
import { openFileStore } from "../../src/blob/open-file-store.ts";
import { CasStore } from "../../src/cas/cas-store.ts";
import { GarbageCollector } from "../../src/cas/garbage-collector.ts";
import type { BlockStorage } from "../../src/storage/block-storage.ts";
import { openFileStorage } from "../../src/storage/file-storage.ts";
import { openMemoryStorage } from "../../src/storage/memory-storage.ts";

export type BackendName = "cas" | "file" | "memory";

/** `reads` is written once, in order, and only read then; `writes` takes everything else. */
export type Disk = "reads" | "writes";

export interface BackendOptions {
  readonly directory: string;
  readonly durability: "durable" | "writeback";
  readonly diskBytes: number;
  readonly arena: FrameArena;
}

/** Two disks of one backend. */
export interface Backend {
  open(disk: Disk, cacheBytes: number): Promise<BlockStorage>;
  /** After writes, outside of what is measured: the next run begins as this one did. */
  tidy(): Promise<void>;
  /** Everything is on the disk, and forgotten in the memory of this process. */
  reopen(): Promise<void>;
  /** The files that hold the disks. */
  files(): string[];
  close(): Promise<void>;
}

export async function openBackend(name: BackendName, options: BackendOptions): Promise<Backend> {
  await mkdir(options.directory, { recursive: true });
  switch (name) {
    case "file":
      return new FileBackend(options);
    case "memory":
      return new MemoryBackend(options);
    case "cas": {
      const backend = new CasBackend(options);
      await backend.reopen();
      return backend;
    }
  }
}

class FileBackend implements Backend {
  readonly #options: BackendOptions;
  #storages: BlockStorage[] = [];

  constructor(options: BackendOptions) {
    this.#options = options;
  }

  async open(disk: Disk): Promise<BlockStorage> {
    await this.close();
    const { durability, diskBytes, arena } = this.#options;
    const path = this.#path(disk);
    const storage = await openFileStorage({ path, durability, sizeBytes: diskBytes }, arena);
    this.#storages.push(storage);
    return storage;
  }

  #path(disk: Disk): string {
    return join(this.#options.directory, `${disk}.img`);
  }

  tidy(): Promise<void> {
    return this.close();
  }

  reopen(): Promise<void> {
    return this.close();
  }

  files(): string[] {
    return [this.#path("reads"), this.#path("writes")];
  }

  async close(): Promise<void> {
    for (const storage of this.#storages.splice(0)) await storage.close();
  }
}

class CasBackend implements Backend {
  readonly #options: BackendOptions;
  #store: CasStore | undefined;

  constructor(options: BackendOptions) {
    this.#options = options;
  }

  async open(disk: Disk, cacheBytes: number): Promise<BlockStorage> {
    const store = this.#store as CasStore;
    for (const volume of store.openVolumes) await volume.close();
    const { durability, arena } = this.#options;
    return store.openVolume(disk, { memory: arena.bytes, durability, cacheBytes });
  }

  async tidy(): Promise<void> {
    const store = this.#store as CasStore;
    for (const volume of store.openVolumes) await volume.close();
    await new GarbageCollector(store).collect();
  }

  async reopen(): Promise<void> {
    await this.close();
    const { directory, diskBytes } = this.#options;
    const store = await CasStore.open({
      open: (reader) => openFileStore(directory, reader),
      log: (level, message) => process.stderr.write(`${level}: ${message}\n`),
    });
    this.#store = store;
    if (store.volumes().length > 0) return;
    await store.createVolume("reads", diskBytes);
    await store.createVolume("writes", diskBytes);
  }

  files(): string[] {
    const { directory } = this.#options;
    return readdirSync(directory)
      .filter((name) => name.startsWith("segment-"))
      .map((name) => join(directory, name));
  }

  async close(): Promise<void> {
    const store = this.#store;
    this.#store = undefined;
    await store?.close();
  }
}

/** Copies, and does nothing else: what the load itself costs. */
class MemoryBackend implements Backend {
  readonly #storages = new Map<Disk, BlockStorage>();
  readonly #options: BackendOptions;

  constructor(options: BackendOptions) {
    this.#options = options;
  }

  async open(disk: Disk): Promise<BlockStorage> {
    const { diskBytes, arena } = this.#options;
    const known = this.#storages.get(disk);
    if (known !== undefined) return known;
    const storage = openMemoryStorage({ sizeBytes: diskBytes }, arena);
    this.#storages.set(disk, storage);
    return storage;
  }

  async tidy(): Promise<void> {}

  async reopen(): Promise<void> {}

  files(): string[] {
    return [];
  }

  async close(): Promise<void> {
    for (const storage of this.#storages.values()) await storage.close();
  }
}
