import { statfsSync } from "node:fs";
import type { CasStore } from "../cas/cas-store.ts";
import { Snapshots } from "../cas/snapshots.ts";
import { DEFAULT_CAS_BLOCK_SIZE_BYTES } from "../config/configuration.ts";
import type {
  CollectionStatus,
  JobControl,
  JobName,
  Jobs,
  NewVolume,
  RollbackReport,
  SectorRange,
  SnapshotStatus,
  StoreApi,
  StoreStatus,
  VolumeStatus,
} from "../control/store-api.ts";
import { Cancelled } from "../control/store-api.ts";
import { UsageError } from "../errors.ts";
import { runStoreJob } from "./store-jobs.ts";
import type { OpenStore, StorePool } from "./store-pool.ts";
import { checkVolumeName } from "./volume-name.ts";

/** What a store does not know of the server around it; offline there is nothing around it. */
export interface StoreSurroundings {
  /** The other store of a transfer comes from here. */
  readonly pool: StorePool;
  /** The target that serves a volume: "e1.0". */
  readonly targetOf?: (volume: string) => string | undefined;
  /** The volume of this store that a target serves. */
  readonly volumeOf?: (target: string) => string | undefined;
  /** A volume holds something else from now on. */
  readonly rolledBack?: (volume: string) => void;
  readonly collected?: () => CollectionStatus | null;
}

/** StoreApi for a store that this process has open. */
export class LocalStore implements StoreApi {
  readonly path: string;
  readonly cas: CasStore;
  readonly #snapshots: Snapshots;
  readonly #surroundings: StoreSurroundings;
  readonly #jobs = new Map<AbortController, Promise<unknown>>();

  constructor(store: OpenStore, surroundings: StoreSurroundings) {
    this.path = store.path;
    this.cas = store.cas;
    this.#snapshots = new Snapshots(store.cas);
    this.#surroundings = surroundings;
  }

  /**
   * The volume that people mean: its name, or the target that serves it ("e1.0", "1.0").
   * @returns undefined when there is none
   */
  volumeNamed(text: string): string | undefined {
    if (this.cas.catalog.volumeNamed(text) !== undefined) return text;
    if (!/^e?\d+\.\d+$/.test(text)) return undefined;
    const target = text.startsWith("e") ? text : `e${text}`;
    const served = this.#surroundings.volumeOf?.(target);
    if (served !== undefined) return served;
    return this.cas.catalog.volumeNamed(target) === undefined ? undefined : target;
  }

  /** @throws UsageError that says which volumes there are */
  #volume(text: string): string {
    return this.volumeNamed(text) ?? this.cas.state(text).record.name;
  }

  status(): Promise<StoreStatus> {
    return Promise.resolve(this.statusNow());
  }

  statusNow(): StoreStatus {
    const { catalog, store } = this.cas;
    const { blobs, blobBytes, diskBytes, indexBytes, ...others } = store.statistics;
    const duplicateBytes = blobs === 0 ? 0 : others.duplicateBlobs * (blobBytes / blobs);
    return {
      path: this.path,
      volumes: catalog.volumes.size,
      snapshots: catalog.snapshots.size,
      blobs,
      blobBytes,
      diskBytes,
      freeBytes: freeBytesAt(this.path),
      indexBytes,
      receivedBytes: Math.round(others.appendedBytes + duplicateBytes),
      storedBytes: others.appendedBytes,
      damagedBlobs: others.damagedBlobs,
      tailBytes: others.tailBytes,
      scrubbed: catalog.scrub.completed,
      collected: this.#surroundings.collected?.() ?? null,
      remote: store.remote ?? null,
    };
  }

  volumes(): Promise<VolumeStatus[]> {
    return Promise.resolve(this.cas.volumes().map(({ name }) => this.#volumeStatus(name)));
  }

  #volumeStatus(name: string): VolumeStatus {
    const state = this.cas.state(name);
    const { sizeBytes, blockBytes, created, origin } = state.record;
    return {
      name,
      sizeBytes,
      blockBytes,
      created,
      origin: origin ?? null,
      snapshots: this.#snapshots.list(name).length,
      dirtyBlocks: state.dirtyBlocks,
      target: this.#surroundings.targetOf?.(name) ?? null,
    };
  }

  async createVolume(request: NewVolume): Promise<VolumeStatus> {
    const { name, sizeBytes, blockBytes = DEFAULT_CAS_BLOCK_SIZE_BYTES } = request;
    checkVolumeName(name);
    await this.cas.createVolume(name, sizeBytes, blockBytes);
    return this.#volumeStatus(name);
  }

  async resizeVolume(volume: string, sizeBytes: number): Promise<VolumeStatus> {
    const name = this.#volume(volume);
    await this.cas.resizeVolume(name, sizeBytes);
    return this.#volumeStatus(name);
  }

  async deleteVolume(volume: string): Promise<void> {
    const name = this.#volume(volume);
    const target = this.#surroundings.targetOf?.(name);
    if (target !== undefined) {
      throw new UsageError(
        `volume '${name}' is served as ${target}: aoed target remove ${target}, then delete it`,
      );
    }
    await this.cas.deleteVolume(name);
  }

  async snapshots(volume?: string): Promise<SnapshotStatus[]> {
    if (volume === undefined) return this.#snapshots.list();
    // Snapshots outlive their volume.
    const named = this.#snapshots.list(volume);
    return Promise.resolve(named.length > 0 ? named : this.#snapshots.list(this.#volume(volume)));
  }

  async snapshot(reference: string): Promise<SnapshotStatus> {
    return Promise.resolve(this.findSnapshot(reference));
  }

  /** @throws UsageError */
  findSnapshot(reference: string): SnapshotStatus {
    return this.#snapshots.get(reference);
  }

  async createSnapshot(volume: string, description: string): Promise<SnapshotStatus> {
    return this.#snapshots.create(this.#volume(volume), { description });
  }

  deleteSnapshot(reference: string): Promise<SnapshotStatus> {
    return this.#snapshots.delete(reference);
  }

  async rollback(reference: string, volume: string): Promise<RollbackReport> {
    const name = this.#volume(volume);
    const report = await this.#snapshots.rollback(name, reference);
    this.#surroundings.rolledBack?.(name);
    return report;
  }

  async clone(reference: string, volume: string): Promise<VolumeStatus> {
    checkVolumeName(volume);
    await this.#snapshots.clone(reference, volume);
    return this.#volumeStatus(volume);
  }

  async diff(from: string, to?: string): Promise<SectorRange[]> {
    return this.#snapshots.diff(from, to);
  }

  async run<Name extends JobName>(
    name: Name,
    request: Jobs[Name]["request"],
    control: JobControl,
  ): Promise<Jobs[Name]["report"]> {
    const ending = new AbortController();
    const signal = AbortSignal.any([control.signal, ending.signal]);
    const onProgress: JobControl["onProgress"] = (progress) => {
      // The passes over a store have no signal of their own: they end at the next report.
      if (signal.aborted) throw new Cancelled();
      control.onProgress(progress);
    };
    const job = runStoreJob(this.#jobStore(), name, request, { onProgress, signal });
    this.#jobs.set(ending, job);
    try {
      return await job;
    } finally {
      this.#jobs.delete(ending);
    }
  }

  #jobStore(): Parameters<typeof runStoreJob>[0] {
    return {
      cas: this.cas,
      pool: this.#surroundings.pool,
      volumeNamed: (text) => this.#volume(text),
    };
  }

  /** Ends the jobs that run; resolves when they have. */
  async cancelJobs(): Promise<void> {
    for (const ending of this.#jobs.keys()) ending.abort();
    await Promise.allSettled(this.#jobs.values());
  }
}

function freeBytesAt(path: string): number | null {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch {
    return null;
  }
}
