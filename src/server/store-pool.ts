import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import type { CasStore } from "../cas/cas-store.ts";
import { Mutex } from "../mutex.ts";
import { UsageError } from "../errors.ts";
import { isStore, openStoreAt, placeOf, type StoreLog, type StorePlace } from "./store-place.ts";

/** A store that this process has opened, and so has locked against others. */
export interface OpenStore {
  /** The folder, without symbolic links. */
  readonly path: string;
  readonly cas: CasStore;
}

interface PooledStore extends OpenStore {
  users: number;
}

/** The stores that this process has open: each once, however many use it. */
export class StorePool {
  readonly #log: StoreLog;
  readonly #stores = new Map<string, PooledStore>();
  readonly #mutex = new Mutex();

  constructor(log: StoreLog) {
    this.#log = log;
  }

  all(): OpenStore[] {
    return [...this.#stores.values()];
  }

  /** The store if it is open. */
  find(folder: string): OpenStore | undefined {
    return this.#stores.get(realFolder(folder));
  }

  /**
   * Opens a store for one more user.
   * @param place a folder, a file that says where a store is, or all that such a file says
   * @param create whether to make one in a folder that has none
   * @throws UsageError when it is locked, damaged or missing
   */
  acquire(place: string | StorePlace, create: boolean): Promise<OpenStore> {
    return this.#mutex.run(async () => {
      const whole = typeof place === "string" ? placeOf(place) : place;
      const folder = whole.path;
      const open = this.find(folder) as PooledStore | undefined;
      if (open !== undefined) {
        open.users++;
        return open;
      }
      if (!create && whole.remote === undefined && !isStore(folder)) {
        throw new UsageError(`there is no store in ${folder}; check the path`);
      }
      const cas = await openStoreAt(whole, this.#log);
      const store = { path: realFolder(folder), cas, users: 1 };
      this.#stores.set(store.path, store);
      return store;
    });
  }

  /** One user less; after the last one the store is closed. */
  release(store: OpenStore): Promise<void> {
    return this.#mutex.run(async () => {
      const pooled = this.#stores.get(store.path);
      if (pooled === undefined || --pooled.users > 0) return;
      this.#stores.delete(store.path);
      await store.cas.close();
    });
  }

  /** The server stops: see `CasStore.beginClosing`. */
  beginClosing(): void {
    for (const { cas } of this.#stores.values()) cas.beginClosing();
  }

  /** Closes every store, used or not. */
  close(): Promise<void> {
    return this.#mutex.run(async () => {
      const stores = this.all();
      this.#stores.clear();
      const results = await Promise.allSettled(stores.map(async ({ cas }) => cas.close()));
      for (const result of results) if (result.status === "rejected") throw result.reason;
    });
  }
}

/** A folder without symbolic links: two names of one folder are equal then. */
export function realFolder(folder: string): string {
  try {
    return realpathSync(folder);
  } catch {
    // It does not exist yet.
    return resolve(folder);
  }
}
