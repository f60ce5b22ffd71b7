import type { FrameArena } from "../arena/frame-arena.ts";
import { AutoCollector } from "../cas/auto-collector.ts";
import type { GarbageCollectionMode } from "../config/configuration.ts";
import type { StoreHint } from "../control/control-api.ts";
import type { CollectionStatus } from "../control/store-api.ts";
import { UsageError } from "../errors.ts";
import type { Log } from "../log/log.ts";
import { CasTargets } from "./cas-targets.ts";
import { LocalStore } from "./local-store.ts";
import { type OpenStore, StorePool } from "./store-pool.ts";

/** The stores of a server: what targets serve of them, what can be asked of them, their upkeep. */
export class ServerStores {
  readonly targets: CasTargets;
  readonly #pool: StorePool;
  readonly #gc: GarbageCollectionMode;
  readonly #apis = new Map<OpenStore, LocalStore>();
  readonly #collectors = new Map<OpenStore, AutoCollector>();
  readonly #collected = new Map<OpenStore, CollectionStatus>();
  /** The target, by its name, holds something else from now on. */
  onRolledBack: (target: string) => void = () => {};

  constructor(arena: FrameArena, log: Log, gc: GarbageCollectionMode) {
    this.#gc = gc;
    this.#pool = new StorePool((level, message) => log[level](message));
    this.targets = new CasTargets(this.#pool, arena, log);
  }

  /** The stores that targets use, or used. */
  all(): LocalStore[] {
    return this.targets.stores().map((store) => this.#api(store));
  }

  /** @throws UsageError when the hint means no store, or several */
  find(hint: StoreHint): LocalStore {
    return this.at(chooseStore(this.candidates(hint), hint).path);
  }

  /** @param path that of a store of `all()` */
  at(path: string): LocalStore {
    const store = this.all().find((candidate) => candidate.path === path);
    if (store === undefined) throw new Error(`no store ${path} is open here`);
    return store;
  }

  /** Every store, and whether it is what the hint names. */
  candidates({ path, volume, snapshot }: StoreHint): StoreCandidate[] {
    const wanted = path === undefined ? undefined : this.#pool.find(path)?.path;
    return this.all().map((store) => ({
      path: store.path,
      isNamed:
        path === undefined
          ? (volume !== undefined && store.volumeNamed(volume) !== undefined) ||
            (snapshot !== undefined && hasSnapshot(store, snapshot))
          : store.path === wanted,
    }));
  }

  #api(store: OpenStore): LocalStore {
    let api = this.#apis.get(store);
    if (api === undefined) {
      api = new LocalStore(store, {
        pool: this.#pool,
        targetOf: (volume) => this.targets.targetOf(store, volume),
        volumeOf: (target) => {
          const served = this.targets.served.get(target);
          return served?.store === store ? served.name : undefined;
        },
        rolledBack: (volume) => {
          const target = this.targets.targetOf(store, volume);
          if (target !== undefined) this.onRolledBack(target);
        },
        collected: () => this.#collected.get(store) ?? null,
      });
      this.#apis.set(store, api);
    }
    return api;
  }

  /** After targets were opened: stores that are new here are looked after. */
  tend(): void {
    if (this.#gc === "off") return;
    for (const store of this.targets.stores()) {
      if (this.#collectors.has(store)) continue;
      const collector = new AutoCollector(store.cas, {
        onEnd: (bytesFreed, failure) => {
          const ended = new Date().toISOString();
          this.#collected.set(store, { ended, bytesFreed, failure });
        },
      });
      this.#collectors.set(store, collector);
      collector.start();
    }
  }

  /** Before everything else of a stop: nothing waits for an object store for long from now on. */
  beginClosing(): void {
    this.#pool.beginClosing();
  }

  /** Ends jobs and collections; nothing changes a store by itself any more. */
  async quiesce(): Promise<void> {
    await Promise.all([...this.#apis.values()].map(async (api) => api.cancelJobs()));
    await Promise.all([...this.#collectors.values()].map(async (collector) => collector.stop()));
  }

  /** After the targets: writes checkpoints and lets go of the stores. */
  async close(): Promise<void> {
    await this.#pool.close();
  }
}

/** A store that a request may mean. */
export interface StoreCandidate {
  readonly path: string;
  /** The request names it, or something that it has. */
  readonly isNamed: boolean;
}

/** @throws UsageError when the hint means none of these stores, or several */
export function chooseStore<Candidate extends StoreCandidate>(
  stores: readonly Candidate[],
  { path }: StoreHint,
): Candidate {
  const named = stores.filter(({ isNamed }) => isNamed);
  if (path !== undefined && named.length === 0) {
    throw new UsageError(`this server has no store ${path} open; it has ${listOf(stores)}`);
  }
  const candidates = named.length > 0 ? named : stores;
  if (candidates.length === 1) return candidates[0];
  if (stores.length === 0) {
    throw new UsageError("this server serves no cas target: it has no store");
  }
  throw new UsageError(`name one of the stores with --store: ${listOf(candidates)}`);
}

function hasSnapshot(store: LocalStore, reference: string): boolean {
  try {
    store.findSnapshot(reference);
    return true;
  } catch (error) {
    if (error instanceof UsageError) return false;
    throw error;
  }
}

function listOf(stores: readonly { readonly path: string }[]): string {
  return stores.length === 0 ? "none" : stores.map(({ path }) => path).join(", ");
}
