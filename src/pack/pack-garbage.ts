import { ObjectFault, type ObjectStore } from "../object/object-store.ts";
import type { Clock } from "./clock.ts";
import { idOfKey, PACKS, RUNS } from "./pack-names.ts";
import type { ReaderPins } from "./reader-pins.ts";

interface Removed {
  readonly key: string;
  /** The first head that does not name it. */
  readonly head: number;
}

export interface PackGarbageOptions {
  readonly objects: ObjectStore;
  readonly pins: ReaderPins;
  readonly clock: Clock;
  /** Of the lease; objects of this epoch that no head names may be on their way to one. */
  readonly epoch: number;
  /** Whether the lease is held at this moment. */
  readonly isOwner: () => boolean;
}

/** Between two looks at who reads old heads. */
const PAUSE_MS = 5000;

/**
 * Deletes packs and indexes that no head names any more. The order makes it safe: a head without
 * them is stored first, then the readers are listed, then they are deleted; and a reader
 * announces itself before it reads the head. So a reader that is not listed reads a head that does
 * not name them. What a crash leaves behind is found by `sweepOrphans`.
 */
export class PackGarbage {
  readonly #options: PackGarbageOptions;
  #replaced: string[] = [];
  #removed: Removed[] = [];
  #nextMs = 0;
  #isCollecting = false;
  #isStopped = false;
  deletedObjects = 0;

  constructor(options: PackGarbageOptions) {
    this.#options = options;
  }

  /** Objects that are still to be deleted. */
  get pendingObjects(): number {
    return this.#removed.length + this.#replaced.length;
  }

  /** Other packs hold the same: the next head does not name these. */
  replaced(keys: readonly string[]): void {
    this.#replaced.push(...keys);
  }

  takeReplaced(): string[] {
    const keys = this.#replaced;
    this.#replaced = [];
    return keys;
  }

  /** A head that does not name these is stored. */
  removed(keys: readonly string[], head: number): void {
    for (const key of keys) this.#removed.push({ key, head });
  }

  /** Nothing more is deleted. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Deletes what nobody reads. A store that is away is tried again later. */
  async collect(isUrgent = false): Promise<void> {
    const { clock, pins, objects, isOwner } = this.#options;
    if (this.#removed.length === 0 || this.#isCollecting) return;
    if (!isUrgent && clock.nowMs() < this.#nextMs) return;
    this.#isCollecting = true;
    try {
      const oldestRead = await pins.oldestHead();
      const kept: Removed[] = [];
      const deletable: Removed[] = [];
      for (const item of this.#removed) (item.head <= oldestRead ? deletable : kept).push(item);
      this.#removed = kept;
      while (deletable.length > 0 && !this.#isStopped && isOwner()) {
        const item = deletable[deletable.length - 1];
        await objects.delete(item.key).catch((error: unknown) => {
          this.#removed.push(...deletable);
          throw error;
        });
        deletable.pop();
        this.deletedObjects++;
      }
      this.#removed.push(...deletable);
    } catch (error) {
      if (!(error instanceof ObjectFault)) throw error;
    } finally {
      this.#nextMs = clock.nowMs() + PAUSE_MS;
      this.#isCollecting = false;
    }
  }

  /**
   * Finds what writers before left: objects of older epochs that the head does not name. The head
   * must have been stored under this epoch: none of the older ones can follow.
   *
   * @param named every key that the head names
   */
  async sweepOrphans(named: ReadonlySet<string>, head: number): Promise<number> {
    const { objects, epoch } = this.#options;
    let found = 0;
    for (const prefix of [PACKS, RUNS]) {
      for await (const { key } of objects.list(prefix)) {
        const id = idOfKey(key);
        if (id === undefined || id.epoch >= epoch || named.has(key)) continue;
        this.#removed.push({ key, head });
        found++;
      }
    }
    return found;
  }
}
