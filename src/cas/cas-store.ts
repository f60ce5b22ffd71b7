import type { BlobStore, NoteReader } from "../blob/blob-store.ts";
import { StoreFault } from "../blob/blob-store.ts";
import { hashFromHex } from "../blob/hash.ts";
import { messageOf, UsageError } from "../errors.ts";
import { LineBudget } from "../log/line-budget.ts";
import { Mutex } from "../mutex.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { Catalog, type SnapshotRecord } from "./catalog.ts";
import { CatalogBatch } from "./catalog-batch.ts";
import { checkpointVolume, type CheckpointSubject, isCheckpointed } from "./checkpoint.ts";
import { isBlockSize, MAX_VOLUME_BYTES } from "./geometry.ts";
import { decodeRoot, type RootDescriptor } from "./merkle-node.ts";
import { Volume, type VolumeOptions } from "./volume.ts";
import { VolumeState } from "./volume-state.ts";

export interface CasStoreOptions {
  /** Opens the blob store; the reader is this store's catalog. */
  readonly open: (reader: NoteReader) => Promise<BlobStore>;
  /** Takes a warning or an error, in words. */
  readonly log?: (level: "warn" | "error", message: string) => void;
  /** A checkpoint begins when the log since the last one is this long: opening has to read it. */
  readonly tailLimitBytes?: number;
  /** A checkpoint begins when a volume has this many changed blocks. */
  readonly dirtyLimitBlocks?: number;
}

export interface VolumeDescription {
  readonly name: string;
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly created: string;
  readonly origin: string | null;
  readonly isOpen: boolean;
  /** Blocks that changed since the tree was built. */
  readonly dirtyBlocks: number;
}

/** A tree that must not lose blobs while it is held. */
export interface HeldTree {
  readonly top: Uint8Array;
  readonly height: number;
}

const DEFAULT_TAIL_LIMIT_BYTES = 256 * 1024 * 1024;
const DEFAULT_DIRTY_LIMIT_BLOCKS = 65536;
const RETRY_MS = 1000;

/** A blob store with volumes and snapshots in it. */
export class CasStore {
  readonly store: BlobStore;
  readonly catalog: Catalog;
  /** Operations that change the catalog or build trees: one at a time. */
  readonly mutex = new Mutex();
  /** Passes that mark blobs, or rely on blobs that nothing names yet: one at a time. */
  readonly maintenance = new Mutex();
  readonly held = new Set<HeldTree>();
  readonly log: (level: "warn" | "error", message: string) => void;
  /** A garbage collection is marking. */
  isCollecting = false;
  /** Groups of writes for which there was no space, since the store was opened. */
  noSpaceFaults = 0;
  readonly #options: CasStoreOptions;
  readonly #open = new Map<VolumeState, Volume>();
  #checkpointing: Promise<void> | undefined;
  #retryAfterMs = 0;
  #isClosing = false;

  private constructor(options: CasStoreOptions, store: BlobStore, catalog: Catalog) {
    this.#options = options;
    this.store = store;
    this.catalog = catalog;
    this.log = options.log ?? (() => {});
  }

  static async open(options: CasStoreOptions): Promise<CasStore> {
    const catalog = new Catalog();
    return new CasStore(options, await options.open(catalog), catalog);
  }

  get openVolumes(): Iterable<Volume> {
    return this.#open.values();
  }

  volumes(): VolumeDescription[] {
    return [...this.catalog.volumes.values()].map((state) => ({
      name: state.record.name,
      sizeBytes: state.record.sizeBytes,
      blockBytes: state.record.blockBytes,
      created: state.record.created,
      origin: state.record.origin ?? null,
      isOpen: this.#open.has(state),
      dirtyBlocks: state.dirtyBlocks,
    }));
  }

  /** @throws UsageError */
  state(name: string): VolumeState {
    const state = this.catalog.volumeNamed(name);
    if (state !== undefined) return state;
    const names = this.volumes().map((volume) => `'${volume.name}'`);
    const known = names.length === 0 ? "it has none" : `it has ${names.join(", ")}`;
    throw new UsageError(`there is no volume '${name}' in ${this.store.description}: ${known}`);
  }

  /** The volume if it is open. */
  opened(state: VolumeState): Volume | undefined {
    return this.#open.get(state);
  }

  /**
   * Runs a change of the catalog, one at a time. It is acknowledged as the writes of the volumes
   * are: when one of them has `durability = "remote"`, the change is in the object store, too.
   */
  async change<T>(action: () => Promise<T>): Promise<T> {
    const result = await this.mutex.run(action);
    const isRemote = [...this.#open.values()].some(
      (volume) => volume.info().durability === "remote",
    );
    await this.store.confirm?.(isRemote);
    return result;
  }

  /** A new volume of zeros. It takes no space. @throws UsageError */
  createVolume(name: string, sizeBytes: number, blockBytes = 4096): Promise<void> {
    return this.change(async () => {
      this.refuseTakenName(name);
      refuseBadSize(name, sizeBytes);
      if (!isBlockSize(blockBytes)) {
        throw new UsageError(
          `volume '${name}': block_size ${blockBytes} is not a power of two from 512 to 65536`,
        );
      }
      const id = this.catalog.nextVolume;
      const created = new Date().toISOString();
      const record = { id, name, sizeBytes, blockBytes, created };
      await this.batch().operation({ op: "volume", record }).appendTo(this.store);
    });
  }

  refuseTakenName(name: string): void {
    if (name === "") throw new UsageError("a volume needs a name");
    if (this.catalog.volumeNamed(name) !== undefined) {
      throw new UsageError(`there is a volume '${name}' already: choose another name`);
    }
  }

  /** The volume for reading and writing, by one user at a time. @throws UsageError */
  openVolume(name: string, options: VolumeOptions): Volume {
    const state = this.state(name);
    if (this.#open.has(state)) throw new UsageError(`volume '${name}' is in use already`);
    return this.#attach(state, `volume ${name} in ${this.store.description}`, options);
  }

  /** A snapshot as a disk that cannot be written. @throws UsageError */
  async openSnapshot(record: SnapshotRecord, options: VolumeOptions): Promise<Volume> {
    const root = await this.loadRoot(record.root_hash);
    const state = new VolumeState({
      id: 0,
      name: `${record.volume}@${record.id}`,
      blockBytes: root.blockBytes,
      sizeBytes: root.sizeBytes,
      created: record.timestamp,
    });
    state.base = { top: root.top, height: root.height };
    const description = `snapshot ${record.id} of ${record.volume} in ${this.store.description}`;
    return this.#attach(state, description, { ...options, readOnly: true });
  }

  #attach(state: VolumeState, description: string, options: VolumeOptions): Volume {
    // Every read of a bad block is one more, and every write that fails.
    const budget = new LineBudget();
    const logLimited = (kind: string, message: string): void => {
      const leftOut = budget.take(kind);
      if (leftOut === undefined) return;
      const more = leftOut === 0 ? "" : ` (and ${leftOut} more before)`;
      this.log("error", `${description}: ${message}${more}`);
    };
    const volume = new Volume(state, this.store, description, options, {
      committed: () => this.#checkLimits(state),
      failed: ({ kind, message }) => {
        // A full disk is told by whoever collects garbage, which may be all that it needs.
        if (kind === "noSpace") this.noSpaceFaults++;
        else logLimited("failed", `writes could not be stored: ${message}`);
      },
      damaged: (firstLba, lengthSectors, blob) => {
        const range = `LBA ${firstLba} to ${firstLba + lengthSectors - 1}`;
        logLimited("damaged", `${range} cannot be read: ${blob}`);
      },
      closed: async () => {
        this.#open.delete(state);
      },
    });
    this.#open.set(state, volume);
    return volume;
  }

  deleteVolume(name: string): Promise<void> {
    return this.change(async () => {
      const state = this.state(name);
      if (this.#open.has(state)) throw new UsageError(`volume '${name}' is in use`);
      await this.batch().operation({ op: "delete-volume", id: state.id }).appendTo(this.store);
    });
  }

  /** Makes a volume larger, also while it is used. @throws UsageError */
  resizeVolume(name: string, sizeBytes: number): Promise<void> {
    return this.change(async () => {
      const state = this.state(name);
      refuseBadSize(name, sizeBytes);
      const before = state.record.sizeBytes;
      if (sizeBytes < before) {
        throw new UsageError(
          `volume '${name}' has ${before} bytes and cannot shrink to ${sizeBytes}`,
        );
      }
      const { id } = state;
      await this.batch().operation({ op: "resize", id, sizeBytes }).appendTo(this.store);
    });
  }

  batch(): CatalogBatch {
    return new CatalogBatch(this.catalog);
  }

  /** @throws StoreFault */
  async loadRoot(rootHash: string): Promise<RootDescriptor> {
    const hash = hashFromHex(rootHash);
    const root = hash === undefined ? undefined : decodeRoot(await this.store.get(hash));
    if (root === undefined)
      throw new StoreFault("damaged", `${rootHash} is not the root of a disk`);
    return root;
  }

  /** Keeps a tree from being collected while `action` reads it. */
  async holding<T>(tree: HeldTree, action: () => Promise<T>): Promise<T> {
    const held = { ...tree };
    this.held.add(held);
    try {
      return await action();
    } finally {
      this.held.delete(held);
    }
  }

  subject(state: VolumeState): CheckpointSubject {
    return {
      store: this.store,
      catalog: this.catalog,
      state,
      volume: this.#open.get(state),
      isCollecting: () => this.isCollecting,
    };
  }

  #checkLimits(state: VolumeState): void {
    const { tailLimitBytes, dirtyLimitBlocks } = this.#options;
    const isOver =
      this.store.tailBytes > (tailLimitBytes ?? DEFAULT_TAIL_LIMIT_BYTES) ||
      state.dirtyBlocks > (dirtyLimitBlocks ?? DEFAULT_DIRTY_LIMIT_BLOCKS);
    if (!isOver || this.#checkpointing !== undefined || this.#isClosing) return;
    if (performance.now() < this.#retryAfterMs) return;
    this.#checkpointing = this.checkpoint()
      .catch((error: unknown) => {
        this.#retryAfterMs = performance.now() + RETRY_MS;
        this.log("error", `${this.store.description}: no checkpoint: ${messageOf(error)}`);
      })
      .finally(() => {
        this.#checkpointing = undefined;
      });
  }

  /**
   * Builds the trees of all volumes, and lets the log begin anew after that. A tree that cannot be
   * built stays as it is, with the changes on top of it, and holds up no other one.
   *
   * @throws StoreFault when that happened to any of them, in the end
   */
  checkpoint(): Promise<void> {
    return this.mutex.run(() => this.checkpointAll());
  }

  /** The same for those who hold the mutex. */
  async checkpointAll(): Promise<void> {
    let fault: StoreFault | undefined;
    for (const state of this.catalog.volumes.values()) {
      const subject = this.subject(state);
      if (isCheckpointed(subject)) continue;
      await checkpointVolume(subject).catch((error: unknown) => {
        if (!(error instanceof StoreFault)) throw error;
        const message = `volume '${state.record.name}': ${error.message}`;
        fault ??= new StoreFault(error.kind, message, { cause: error });
      });
    }
    await this.store.checkpoint(() => this.catalog.encode());
    if (fault !== undefined) throw fault;
  }

  /** Whether opening the store again would have to read more than it had to this time. */
  #hasChanged(): boolean {
    const states = [...this.catalog.volumes.values()];
    return this.store.statistics.appendedBytes > 0 || states.some((state) => !state.isClean);
  }

  /** Before volumes are closed that others hold: what that waits for is bounded from now on. */
  beginClosing(): void {
    this.store.beginClosing?.();
  }

  /** Closes volumes that are still open, and lets go of the store. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.beginClosing();
    const volumes = [...this.#open.values()];
    const results = await Promise.allSettled(volumes.map((volume) => volume.close()));
    await this.#checkpointing;
    await this.maintenance.run(async () => {});
    try {
      if (this.store.isReadOnly !== true && this.#hasChanged()) await this.checkpoint();
    } finally {
      await this.store.close();
    }
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}

function refuseBadSize(name: string, sizeBytes: number): void {
  const isGood =
    Number.isSafeInteger(sizeBytes) &&
    sizeBytes > 0 &&
    sizeBytes % SECTOR_BYTES === 0 &&
    sizeBytes <= MAX_VOLUME_BYTES;
  if (isGood) return;
  throw new UsageError(
    `volume '${name}': a size of ${sizeBytes} bytes is not possible; ` +
      `it must be a multiple of ${SECTOR_BYTES} up to ${MAX_VOLUME_BYTES}`,
  );
}
