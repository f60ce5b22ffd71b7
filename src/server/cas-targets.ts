import type { FrameArena } from "../arena/frame-arena.ts";
import {
  type CasConfiguration,
  DEFAULT_VOLUME_BYTES,
  type TargetConfiguration,
  targetName,
} from "../config/configuration.ts";
import { formatSize } from "../config/units.ts";
import { UsageError } from "../errors.ts";
import type { Log } from "../log/log.ts";
import type { BlockStorage } from "../storage/block-storage.ts";
import { Snapshots } from "../cas/snapshots.ts";
import { SnapshotTimer } from "../cas/snapshot-timer.ts";
import type { Volume, VolumeOptions } from "../cas/volume.ts";
import { isStore, type StorePlace } from "./store-place.ts";
import { type OpenStore, realFolder, type StorePool } from "./store-pool.ts";

/** A volume or snapshot that a target serves. */
export interface ServedVolume {
  readonly store: OpenStore;
  readonly volume: Volume;
  /** The volume's name; undefined for a snapshot. */
  readonly name: string | undefined;
  readonly snapshot: string | undefined;
}

/** The volumes and snapshots of stores that targets serve. */
export class CasTargets {
  readonly #pool: StorePool;
  readonly #arena: FrameArena;
  readonly #log: Log;
  readonly #served = new Map<string, ServedVolume>();
  readonly #timers = new Map<string, SnapshotTimer>();
  readonly #stores = new Set<OpenStore>();
  /** Folders before object stores that a target writes to: they are opened with a lease. */
  readonly #writable = new Set<string>();

  constructor(pool: StorePool, arena: FrameArena, log: Log) {
    this.#pool = pool;
    this.#arena = arena;
    this.#log = log;
  }

  /** By the target's name. */
  get served(): ReadonlyMap<string, ServedVolume> {
    return this.#served;
  }

  /** What targets use or have used: such a store stays open until the server ends. */
  stores(): OpenStore[] {
    return [...this.#stores];
  }

  /** The target that serves a volume of a store. */
  targetOf(store: OpenStore, volume: string): string | undefined {
    for (const [target, served] of this.#served) {
      if (served.store === store && served.name === volume) return target;
    }
    return undefined;
  }

  /**
   * Opens the stores that exist and compares what they hold with what is wanted of them; makes
   * nothing. @throws UsageError
   */
  async prepare(targets: readonly TargetConfiguration[]): Promise<void> {
    for (const { cas, readOnly } of targets) {
      if (cas?.path !== undefined && !readOnly) this.#writable.add(cas.path);
    }
    for (const target of targets) {
      if (target.cas === undefined) continue;
      await namingTarget(target, async () => this.#prepare(target, storeOf(target)));
    }
  }

  async #prepare(target: TargetConfiguration, cas: PlacedCasConfiguration): Promise<void> {
    if (cas.createsVolume && !isStore(cas.path)) return;
    checkVolume(await this.#store(cas, false), target, cas);
  }

  async #store(cas: PlacedCasConfiguration, create: boolean): Promise<OpenStore> {
    const store = await this.#pool.acquire(this.#placeOf(cas), create);
    if (this.#stores.has(store)) await this.#pool.release(store);
    else this.#stores.add(store);
    return store;
  }

  #placeOf({ path, objectStore, front }: PlacedCasConfiguration): StorePlace | string {
    if (objectStore === undefined) return path;
    const readOnly = !this.#writable.has(path);
    return { path, remote: { settings: objectStore, front: front ?? {}, readOnly } };
  }

  /** Makes the volume when it is missing, and the store. @throws UsageError */
  async open(target: TargetConfiguration): Promise<BlockStorage> {
    return namingTarget(target, async () => this.#open(target, storeOf(target)));
  }

  async #open(target: TargetConfiguration, cas: PlacedCasConfiguration): Promise<Volume> {
    const store = await this.#store(cas, cas.createsVolume);
    checkVolume(store, target, cas);
    const options: VolumeOptions = {
      memory: this.#arena.bytes,
      durability: target.durability,
      readOnly: target.readOnly,
      cacheBytes: cas.cacheBytes,
      writebackIntervalMs: target.writebackIntervalMs,
    };
    const { snapshot, volume: name } = cas;
    if (snapshot !== undefined) {
      const record = new Snapshots(store.cas).get(snapshot);
      const volume = await store.cas.openSnapshot(record, options);
      this.#serve(target, { store, volume, name: undefined, snapshot: record.id });
      return volume;
    }
    await this.#makeOrGrow(store, target, cas);
    const volume = store.cas.openVolume(name, options);
    this.#serve(target, { store, volume, name, snapshot: undefined });
    this.#startTimer(target, store, cas);
    return volume;
  }

  #serve(target: TargetConfiguration, served: ServedVolume): void {
    this.#served.set(targetName(target), served);
  }

  async #makeOrGrow(
    store: OpenStore,
    target: TargetConfiguration,
    cas: PlacedCasConfiguration,
  ): Promise<void> {
    const { sizeBytes, readOnly } = target;
    const present = store.cas.catalog.volumeNamed(cas.volume);
    if (present === undefined) {
      const newBytes = sizeBytes ?? DEFAULT_VOLUME_BYTES;
      await store.cas.createVolume(cas.volume, newBytes, cas.blockSizeBytes);
      this.#inform(target, `made the volume ${cas.volume} of ${formatSize(newBytes)}`);
    } else if (sizeBytes !== undefined && sizeBytes > present.record.sizeBytes && !readOnly) {
      await store.cas.resizeVolume(cas.volume, sizeBytes);
      this.#inform(target, `the volume ${cas.volume} has grown to ${formatSize(sizeBytes)}`);
    }
  }

  #inform(target: TargetConfiguration, message: string): void {
    this.#log.info({ target: targetName(target) }, message);
  }

  #startTimer(target: TargetConfiguration, store: OpenStore, cas: PlacedCasConfiguration): void {
    if (cas.snapshots === undefined) return;
    const name = targetName(target);
    const timer = new SnapshotTimer(new Snapshots(store.cas), {
      volume: cas.volume,
      ...cas.snapshots,
      log: (level, message) => this.#log[level]({ target: name }, message),
    });
    this.#timers.set(name, timer);
    timer.start();
  }

  /** Before the target's storage is closed: resolves when no snapshot is being taken. */
  async leave(target: string): Promise<void> {
    const timer = this.#timers.get(target);
    this.#timers.delete(target);
    await timer?.stop();
    this.#served.delete(target);
  }

  async leaveAll(): Promise<void> {
    await Promise.all([...this.#served.keys()].map(async (target) => this.leave(target)));
  }
}

type PlacedCasConfiguration = CasConfiguration & { readonly path: string };

function storeOf({ cas }: TargetConfiguration): PlacedCasConfiguration {
  if (cas?.path === undefined) throw new Error("this is no cas target");
  return { ...cas, path: cas.path };
}

/** Equal for the targets of one store, which one thread must serve; undefined for other targets. */
export function storeKeyOf({ cas }: TargetConfiguration): string | undefined {
  if (cas === undefined) return undefined;
  return cas.path === undefined ? JSON.stringify(cas.objectStore) : realFolder(cas.path);
}

/** What is wrong, before anything is made. */
function checkVolume(
  { cas, path }: OpenStore,
  target: TargetConfiguration,
  { volume, snapshot, blockSizeBytes, createsVolume }: PlacedCasConfiguration,
): void {
  if (snapshot !== undefined) {
    new Snapshots(cas).get(snapshot);
    return;
  }
  const present = cas.catalog.volumeNamed(volume)?.record;
  if (present === undefined && !createsVolume) {
    const right = target.readOnly ? "or remove read_only" : "or make it: aoed volume create";
    throw new UsageError(`there is no volume ${volume} in ${path}; name one that exists, ${right}`);
  }
  if (present === undefined || blockSizeBytes === undefined) return;
  if (present.blockBytes === blockSizeBytes) return;
  const right = "a volume keeps the block size it was made with: correct the key, or remove it";
  throw new UsageError(
    `cas.block_size: the volume ${volume} has blocks of ${present.blockBytes}; ${right}`,
  );
}

async function namingTarget<T>(target: TargetConfiguration, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`target ${targetName(target)}: ${error.message}`, { cause: error });
  }
}
