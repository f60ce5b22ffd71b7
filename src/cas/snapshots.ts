import { hashOf, hashToHex } from "../blob/hash.ts";
import { UsageError } from "../errors.ts";
import type { CasStore, HeldTree } from "./cas-store.ts";
import type { SnapshotRecord, SnapshotTrigger } from "./catalog.ts";
import { checkpointVolume } from "./checkpoint.ts";
import { type LbaRange, LbaRanges } from "./lba-ranges.ts";
import { encodeRoot, type RootDescriptor } from "./merkle-node.ts";
import { NodeReader } from "./node-reader.ts";
import { encodeHead } from "./notes.ts";
import { diffTrees } from "./tree-walk.ts";
import type { VolumeState } from "./volume-state.ts";

export interface SnapshotOptions {
  readonly description?: string;
  readonly trigger?: SnapshotTrigger;
}

/** Hexadecimal digits that name a snapshot by its root hash. */
const SHORTEST_PREFIX = 8;

/** Snapshots of the volumes of a store. */
export class Snapshots {
  readonly #cas: CasStore;

  constructor(cas: CasStore) {
    this.#cas = cas;
  }

  /** In the order in which they were taken; of one volume, or of all. */
  list(volumeName?: string): SnapshotRecord[] {
    if (volumeName !== undefined) return this.#cas.catalog.snapshotsOf(volumeName);
    return [...this.#cas.catalog.snapshots.values()];
  }

  /**
   * A snapshot by its id, or by the beginning of its root hash (of several with this root: the
   * last). @throws UsageError
   */
  get(reference: string): SnapshotRecord {
    const byId = this.#cas.catalog.snapshots.get(reference);
    if (byId !== undefined) return byId;
    const matches =
      reference.length < SHORTEST_PREFIX
        ? []
        : this.list().filter(({ root_hash }) => root_hash.startsWith(reference.toLowerCase()));
    const last = matches.at(-1);
    if (last === undefined) {
      throw new UsageError(`there is no snapshot '${reference}': see 'aoed snapshot list'`);
    }
    if (matches.some(({ root_hash }) => root_hash !== last.root_hash)) {
      throw new UsageError(
        `'${reference}' is the beginning of several root hashes: give more of it`,
      );
    }
    return last;
  }

  /** Everything that was written before the call is in it. */
  async create(volumeName: string, options: SnapshotOptions = {}): Promise<SnapshotRecord> {
    const state = this.#cas.state(volumeName);
    await this.#cas.opened(state)?.drain();
    return this.#cas.change(() => this.#take(state, options));
  }

  async #take(state: VolumeState, options: SnapshotOptions): Promise<SnapshotRecord> {
    let record: SnapshotRecord | undefined;
    await checkpointVolume(this.#cas.subject(state), (batch, root) => {
      const blob = encodeRoot(root);
      record = this.#record(state, blob, options);
      batch.blob(blob).operation({ op: "snapshot", record });
      batch.operation({ op: "parent", id: state.id, snapshot: record.id });
    });
    return record as SnapshotRecord;
  }

  #record(state: VolumeState, root: Uint8Array, options: SnapshotOptions): SnapshotRecord {
    return {
      id: String(this.#cas.catalog.nextSnapshot),
      root_hash: hashToHex(hashOf(root)),
      timestamp: new Date().toISOString(),
      description: options.description ?? "",
      volume: state.record.name,
      size: state.record.sizeBytes,
      parent: state.record.parent ?? null,
      trigger: options.trigger ?? "manual",
    };
  }

  /** A record for a tree that came from elsewhere; all its blobs are stored. */
  adopt(root: RootDescriptor, record: Omit<SnapshotRecord, "id">): Promise<SnapshotRecord> {
    return this.#cas.change(async () => {
      const id = String(this.#cas.catalog.nextSnapshot);
      const adopted = { ...record, id };
      const batch = this.#cas.batch().blob(encodeRoot(root));
      await batch.operation({ op: "snapshot", record: adopted }).appendTo(this.#cas.store);
      return adopted;
    });
  }

  /** Its space is given back by the next collection. */
  delete(reference: string): Promise<SnapshotRecord> {
    return this.#cas.change(async () => {
      const record = this.get(reference);
      const batch = this.#cas.batch().operation({ op: "delete-snapshot", id: record.id });
      await batch.appendTo(this.#cas.store);
      return record;
    });
  }

  /**
   * Gives a volume the content (and size) of a snapshot, also while it is used: writes acknowledged
   * before take effect before, those that arrive meanwhile wait and take effect afterwards. What it held before is kept as a snapshot; newer
   * snapshots stay.
   */
  async rollback(
    volumeName: string,
    reference: string,
  ): Promise<{ restored: SnapshotRecord; safety: SnapshotRecord }> {
    await this.#cas.opened(this.#cas.state(volumeName))?.drain();
    return this.#cas.change(async () => {
      const state = this.#cas.state(volumeName);
      const restored = this.get(reference);
      const root = await this.#cas.loadRoot(restored.root_hash);
      this.#refuseOtherBlocks(state, root, restored);
      const volume = this.#cas.opened(state);
      // Most of the work is done before writes have to wait.
      await checkpointVolume(this.#cas.subject(state));
      await volume?.writer.hold();
      try {
        const description = `before the rollback to ${restored.id}`;
        const safety = await this.#take(state, { description, trigger: "rollback" });
        const batch = this.#cas.batch().note(encodeHead("reset", state.id, root));
        batch.operation({ op: "parent", id: state.id, snapshot: restored.id });
        await batch.appendTo(this.#cas.store);
        return { restored, safety };
      } finally {
        volume?.writer.release();
      }
    });
  }

  #refuseOtherBlocks(state: VolumeState, root: RootDescriptor, record: SnapshotRecord): void {
    const { name, blockBytes } = state.record;
    if (root.blockBytes === blockBytes) return;
    throw new UsageError(
      `snapshot ${record.id} has blocks of ${root.blockBytes} bytes, volume '${name}' of ` +
        `${blockBytes}: clone the snapshot instead`,
    );
  }

  /** A new writable volume with the content of a snapshot; they share all blocks. */
  clone(reference: string, volumeName: string): Promise<void> {
    return this.#cas.change(async () => {
      const snapshot = this.get(reference);
      this.#cas.refuseTakenName(volumeName);
      const root = await this.#cas.loadRoot(snapshot.root_hash);
      const record = {
        id: this.#cas.catalog.nextVolume,
        name: volumeName,
        blockBytes: root.blockBytes,
        sizeBytes: root.sizeBytes,
        created: new Date().toISOString(),
        origin: snapshot.id,
        parent: snapshot.id,
      };
      const head = { top: hashToHex(root.top), height: root.height };
      const batch = this.#cas.batch().operation({ op: "volume", record, head });
      await batch.appendTo(this.#cas.store);
    });
  }

  /** The sectors that differ; without a second snapshot: from what the volume holds now. */
  async diff(from: string, to?: string): Promise<LbaRange[]> {
    const first = this.get(from);
    const left = await this.#cas.loadRoot(first.root_hash);
    const right =
      to === undefined
        ? await this.current(first.volume)
        : await this.#cas.loadRoot(this.get(to).root_hash);
    if (left.blockBytes !== right.blockBytes) {
      throw new UsageError("the two have blocks of different sizes and cannot be compared");
    }
    const ranges = new LbaRanges(left.blockBytes, Math.max(left.sizeBytes, right.sizeBytes));
    await this.#cas.holding(left, () =>
      this.#cas.holding(right, () =>
        diffTrees(new NodeReader(this.#cas.store), left, right, (block, count) =>
          ranges.add(block, count),
        ),
      ),
    );
    return ranges.list;
  }

  /** The tree of a volume as it is now, after a checkpoint. */
  async current(volumeName: string): Promise<RootDescriptor & HeldTree> {
    const state = this.#cas.state(volumeName);
    await this.#cas.opened(state)?.drain();
    return this.#cas.mutex.run(() => checkpointVolume(this.#cas.subject(state)));
  }
}
