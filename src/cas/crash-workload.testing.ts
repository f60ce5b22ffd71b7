import { setImmediate as nextTurn } from "node:timers/promises";
import { FrameArena } from "../arena/frame-arena.ts";
import type { CrashDisk } from "../blob/crash-disk.testing.ts";
import { FileStore } from "../blob/file-store.ts";
import {
  BlockRequest,
  BlockStatus,
  type Durability,
  SECTOR_BYTES,
} from "../storage/block-storage.ts";
import { CasStore, type CasStoreOptions } from "./cas-store.ts";
import { type Change, type Content, CrashModel, isSame } from "./crash-model.testing.ts";
import { DiskFaults } from "./disk-faults.testing.ts";
import { GarbageCollector } from "./garbage-collector.ts";
import { Snapshots } from "./snapshots.ts";
import type { Volume } from "./volume.ts";

/** Three levels of the tree. */
const BLOCKS = 40_000;
const LEAF_BLOCKS = 128;
/** What one node above the leaves covers. */
const REGION_BLOCKS = 16_384;
/** The most sectors of a write: at MTU 1500 a frame has two, at MTU 9000 sixteen. */
const MOST_SECTORS = 4;
const MAX_SNAPSHOTS = 5;
/** Next to nothing, so that reads come from the store. */
const SMALL_CACHE_BYTES = 4096;
/** Room for every leaf of the tree that is read. */
const LARGE_CACHE_BYTES = 512 * 1024;

/** Blocks of 2 sectors are often written whole, blocks of 8 hardly ever. */
export type SectorsPerBlock = 2 | 8;

/** Sectors at the borders of leaves and of regions: all that hold anything begin at one of them. */
function placesOf(sectorsPerBlock: SectorsPerBlock): number[] {
  const leaf = LEAF_BLOCKS * sectorsPerBlock;
  const region = REGION_BLOCKS * sectorsPerBlock;
  const end = BLOCKS * sectorsPerBlock;
  const borders = [leaf, region].flatMap((at) => [at - 3, at - 2, at - 1, at, at + 1]);
  return [0, 1, 2, 3, ...borders, 1000, end - 3, end - 1];
}

const arena = new FrameArena(64);

class Request extends BlockRequest {
  readonly #done = Promise.withResolvers<BlockStatus>();

  whenDone: (status: BlockStatus) => void = () => {};

  completed(): void {
    this.whenDone(this.status);
    this.#done.resolve(this.status);
  }

  get done(): Promise<BlockStatus> {
    return this.#done.promise;
  }
}

export function openCas(disk: CrashDisk, segmentBytes = 64 * 1024): Promise<CasStore> {
  return openCasOn((reader) => FileStore.open({ disk, reader, segmentBytes }));
}

/** Of a new store: the blocks of a few groups fit. */
export function segmentBytesFor(sectorsPerBlock: SectorsPerBlock): number {
  return sectorsPerBlock * 32 * 1024;
}

/** With limits so small that checkpoints come often. */
export function openCasOn(open: CasStoreOptions["open"]): Promise<CasStore> {
  return CasStore.open({ open, tailLimitBytes: 60_000, dirtyLimitBlocks: 60 });
}

/** All sectors of a disk that may hold something. */
export async function contentOf(volume: Volume): Promise<Content> {
  const requests: Request[] = [];
  let used = 0;
  const { blockBytes } = volume.state.record;
  const { sectors } = volume.info();
  for (const place of placesOf((blockBytes / SECTOR_BYTES) as SectorsPerBlock)) {
    for (let sector = place; sector < Math.min(place + MOST_SECTORS, sectors); sector++) {
      const request = new Request();
      request.lba = sector;
      request.lengthSectors = 1;
      request.memoryOffset = used;
      used += SECTOR_BYTES;
      requests.push(request);
      volume.read(request);
    }
  }
  volume.submit();
  const content = new Map<number, number>();
  for (const request of requests) {
    const status = await request.done;
    if (status !== BlockStatus.ok)
      throw new Error(`sector ${request.lba} cannot be read: ${status}`);
    const data = new Uint32Array(arena.memory, request.memoryOffset, SECTOR_BYTES / 4);
    const [value] = data;
    if (!data.every((word) => word === value)) throw new Error(`sector ${request.lba} is mixed`);
    if (value !== 0) content.set(request.lba, value);
  }
  return content;
}

export async function snapshotContent(cas: CasStore, id: string): Promise<Content> {
  const record = new Snapshots(cas).get(id);
  const disk = await cas.openSnapshot(record, { memory: arena.bytes, cacheBytes: 4096 });
  const content = await contentOf(disk);
  await disk.close();
  return content;
}

export function openVolume(
  cas: CasStore,
  name: string,
  cacheBytes = SMALL_CACHE_BYTES,
  durability: Durability = "durable",
): Volume {
  return cas.openVolume(name, { memory: arena.bytes, cacheBytes, groupBytes: 8192, durability });
}

export interface WorkloadOptions {
  readonly durability?: Durability;
  /** 2 when nothing is said. */
  readonly sectorsPerBlock?: SectorsPerBlock;
  /** The disk of the store: its writes and syncs fail now and then. */
  readonly faultyDisk?: CrashDisk;
}

/** Random operations on a store, and the model of what they must leave behind. */
export class CrashWorkload {
  readonly model: CrashModel;
  readonly #random: () => number;
  readonly #options: WorkloadOptions;
  readonly #faults: DiskFaults;
  readonly #sectorsPerBlock: SectorsPerBlock;
  readonly #places: readonly number[];
  readonly #sectors: number;
  readonly #cas: CasStore;
  readonly #snapshots: Snapshots;
  readonly #volumes = new Map<string, Volume>();
  #names = 0;
  #values: number;

  private constructor(
    cas: CasStore,
    model: CrashModel,
    random: () => number,
    options: WorkloadOptions,
  ) {
    this.#cas = cas;
    this.#snapshots = new Snapshots(cas);
    this.model = model;
    this.#random = random;
    this.#options = options;
    this.#faults = new DiskFaults(options.faultyDisk, random);
    this.#sectorsPerBlock = options.sectorsPerBlock ?? 2;
    this.#places = placesOf(this.#sectorsPerBlock);
    this.#sectors = BLOCKS * this.#sectorsPerBlock;
    // Content of a run before this one may come again, too.
    this.#values = Math.floor(random() * 300);
  }

  static async begin(
    cas: CasStore,
    random: () => number,
    model = new CrashModel(),
    options: WorkloadOptions = {},
  ): Promise<CrashWorkload> {
    const workload = new CrashWorkload(cas, model, random, options);
    const sectorsPerBlock = workload.#sectorsPerBlock;
    if (model.volumes.size === 0) {
      model.pending = { kind: "clone", name: "first", content: new Map() };
      const blockBytes = sectorsPerBlock * SECTOR_BYTES;
      await cas.createVolume("first", BLOCKS * blockBytes, blockBytes);
      model.volumes.set("first", new Map());
      model.pending = undefined;
    }
    for (const name of model.volumes.keys()) workload.#openVolume(name);
    return workload;
  }

  #openVolume(name: string): void {
    const cacheBytes = this.#random() < 0.5 ? SMALL_CACHE_BYTES : LARGE_CACHE_BYTES;
    this.#volumes.set(name, openVolume(this.#cas, name, cacheBytes, this.#options.durability));
  }

  #pick<T>(items: Iterable<T>): T | undefined {
    const list = [...items];
    return list[Math.floor(this.#random() * list.length)];
  }

  /** @returns false when the store takes nothing any more, and must be opened again */
  async step(): Promise<boolean> {
    const choice = this.#random();
    if (choice < 0.6) await this.#faults.run(() => this.#write());
    else if (choice < 0.7) await this.#takeSnapshot();
    else if (choice < 0.75) await this.#rollBack();
    else if (choice < 0.8) await this.#clone();
    else if (choice < 0.86) await this.#deleteSomething();
    else if (choice < 0.93) await this.#faults.run(() => this.#collect());
    else await this.#faults.run(() => this.#checkpoint());
    this.model.settle();
    return this.#isAvailable();
  }

  async #isAvailable(): Promise<boolean> {
    return this.#cas.store.barrier().then(
      () => true,
      () => false,
    );
  }

  /** What is read before is in the caches after; a write of a part of a block relies on them. */
  async #checkpoint(): Promise<void> {
    await this.#checkVolumes();
    const region = REGION_BLOCKS * this.#sectorsPerBlock;
    await this.#write(this.#random() < 0.7 ? region : 0);
    this.model.settle();
    await Promise.all([this.#faults.tolerate(this.#cas.checkpoint()), this.#write()]);
    this.model.settle();
    await this.#checkVolumes();
  }

  /** Several writes and trims at once, of one volume or of two; first a trim of so many sectors. */
  async #write(trimFirst = 0): Promise<void> {
    const statuses: Promise<BlockStatus>[] = [];
    const touched = new Set<Volume>();
    const count = 1 + Math.floor(this.#random() * 8);
    for (let index = 0; index < count; index++) {
      const name = this.#pick(this.#volumes.keys()) ?? "";
      const volume = this.#volumes.get(name) as Volume;
      const isTrim = index === 0 && trimFirst > 0;
      const change: Change = isTrim
        ? { volume: name, first: 0, count: trimFirst, value: 0 }
        : this.#change(name);
      const request = new Request();
      request.lba = change.first;
      request.lengthSectors = change.count;
      request.memoryOffset = 65536 + index * 4096;
      this.model.changes.push(change);
      if (change.value === 0) {
        volume.trim(request);
      } else {
        const words = (change.count * SECTOR_BYTES) / 4;
        new Uint32Array(arena.memory, request.memoryOffset, words).fill(change.value);
        volume.write(request);
      }
      touched.add(volume);
      request.whenDone = (status) => {
        change.outcome = status === BlockStatus.ok ? "stored" : "failed";
      };
      statuses.push(request.done);
    }
    for (const volume of touched) volume.submit();
    for (const status of await Promise.all(statuses)) {
      if (status !== BlockStatus.ok && !this.#faults.areOn) {
        throw new Error(`a write failed: ${status}`);
      }
    }
  }

  #change(volume: string): Change {
    const isTrim = this.#random() < 0.2;
    const isWide = isTrim && this.#random() < 0.3;
    // Many trims from the beginning clear whole regions.
    const place = isWide && this.#random() < 0.5 ? 0 : (this.#pick(this.#places) as number);
    const count = isWide
      ? 1 + Math.floor(this.#random() * this.#sectors)
      : 1 + Math.floor(this.#random() * MOST_SECTORS);
    return {
      volume,
      first: place,
      count: Math.min(count, this.#sectors - place),
      value: isTrim ? 0 : this.#value(),
    };
  }

  /** Mostly new content, sometimes one that was there before and may be garbage by now. */
  #value(): number {
    if (this.#values > 0 && this.#random() < 0.3) {
      return Math.max(1, this.#values - Math.floor(this.#random() * 200));
    }
    return ++this.#values;
  }

  async #takeSnapshot(): Promise<void> {
    if (this.model.snapshots.size >= MAX_SNAPSHOTS) return;
    const volume = this.#pick(this.#volumes.keys()) as string;
    this.model.pending = { kind: "snapshot", volume };
    // Writes go on while the snapshot is taken; it may hold some of them.
    const isBusy = this.#random() < 0.5;
    const [record] = await Promise.all([
      this.#snapshots.create(volume),
      isBusy ? this.#write() : undefined,
    ]);
    this.model.snapshots.set(record.id, await snapshotContent(this.#cas, record.id));
  }

  async #rollBack(): Promise<void> {
    const id = this.#pick(this.model.snapshots.keys());
    const volume = this.#pick(this.#volumes.keys()) as string;
    if (id === undefined || this.model.snapshots.size >= MAX_SNAPSHOTS) return;
    const to = this.model.snapshots.get(id) as Content;
    this.model.pending = { kind: "rollback", volume, to };
    const { safety } = await this.#snapshots.rollback(volume, id);
    this.model.snapshots.set(safety.id, this.model.volumes.get(volume) as Content);
    this.model.volumes.set(volume, to);
  }

  async #clone(): Promise<void> {
    const id = this.#pick(this.model.snapshots.keys());
    if (id === undefined || this.#volumes.size >= 3) return;
    const name = `clone ${++this.#names} ${this.#random()}`;
    const content = this.model.snapshots.get(id) as Content;
    this.model.pending = { kind: "clone", name, content };
    await this.#snapshots.clone(id, name);
    this.model.volumes.set(name, content);
    this.#openVolume(name);
  }

  async #deleteSomething(): Promise<void> {
    if (this.#volumes.size > 2 && this.#random() < 0.5) {
      const name = [...this.#volumes.keys()].at(-1) as string;
      await this.#volumes.get(name)?.close();
      this.#volumes.delete(name);
      this.model.pending = { kind: "delete-volume", name };
      await this.#cas.deleteVolume(name);
      this.model.volumes.delete(name);
      return;
    }
    const snapshot = this.#pick(this.model.snapshots.keys());
    if (snapshot === undefined) return;
    this.model.pending = { kind: "delete", snapshot };
    await this.#snapshots.delete(snapshot);
    this.model.snapshots.delete(snapshot);
  }

  async #collect(): Promise<void> {
    const collector = new GarbageCollector(this.#cas);
    const collection = { isRunning: true };
    const collecting = this.#faults
      .tolerate(collector.collect({ liveThreshold: 0.8 }))
      .finally(() => {
        collection.isRunning = false;
      });
    const writesAtMost = this.#random() < 0.7 ? Infinity : 0;
    for (let count = 0; count < writesAtMost && collection.isRunning; count++) {
      const isCheckpoint = this.#random() < 0.2;
      const checkpoint = isCheckpoint ? this.#faults.tolerate(this.#cas.checkpoint()) : undefined;
      await Promise.all([this.#write(), checkpoint]);
      this.model.settle();
      // The disk of the test takes no time; the collection waits for turns of the event loop.
      await nextTurn();
    }
    await collecting;
  }

  /** Reads everything through the running store. */
  async check(): Promise<void> {
    await this.#checkVolumes();
    for (const [id, content] of this.model.snapshots) {
      const found = await snapshotContent(this.#cas, id);
      if (!isSame(found, content)) throw new Error(`snapshot ${id} has changed`);
    }
  }

  async #checkVolumes(): Promise<void> {
    for (const [name, content] of this.model.volumes) {
      const found = await contentOf(this.#volumes.get(name) as Volume);
      if (!isSame(found, content)) throw new Error(`volume ${name} holds something else`);
    }
  }

  close(): Promise<void> {
    return this.#cas.close();
  }
}
