import { Mutex } from "../mutex.ts";
import { type TargetConfiguration, targetName } from "../config/configuration.ts";
import type {
  AddTargetRequest,
  ClearRequest,
  ControlApi,
  ServerStatus,
  StoreHint,
  TargetStateStatus,
  TargetStatus,
} from "../control/control-api.ts";
import type { JobName, Jobs, StoreApi } from "../control/store-api.ts";
import { NoAnswer, UsageError } from "../errors.ts";
import type { ServedAddress } from "../ethernet/shelf-filter.ts";
import { checkAddRequest } from "../server/added-target.ts";
import { storeKeyOf } from "../server/cas-targets.ts";
import { chooseStore, type StoreCandidate } from "../server/server-stores.ts";
import { placeOf } from "../server/store-place.ts";
import { mergeStatus } from "./merge-status.ts";
import type { Placement } from "./placement.ts";
import type { Worker } from "./worker.ts";

/** A worker that takes longer to say how it is hangs, or soon will be found to. */
const STATUS_TIMEOUT_MS = 5000;

type PlacedStore = StoreCandidate & { readonly worker: Worker };

/**
 * The ControlApi of several workers as one. What concerns a target goes to the worker that serves
 * it, what concerns a store to the one that has it open, and everything else to all.
 */
export class WorkersApi implements ControlApi {
  readonly #workers: readonly Worker[];
  readonly #placement: Placement;
  /** One change of the addresses at a time, so that no two workers get the same one. */
  readonly #changes = new Mutex();
  /** What each last said. */
  readonly #statuses = new Map<Worker, ServerStatus>();

  constructor(workers: readonly Worker[], placement: Placement) {
    this.#workers = workers;
    this.#placement = placement;
  }

  /** Of a worker that hangs: what it last said. */
  async status(): Promise<ServerStatus> {
    const isSilent = await this.#all(async (worker) => !(await this.#askStatus(worker)));
    const silent = this.#workers.filter((_, index) => isSilent[index]);
    const known = this.#workers.flatMap((worker) => this.#statuses.get(worker) ?? []);
    if (known.length === 0) throw new NoAnswer("no worker answers");
    return { ...mergeStatus(known), silentWorkers: silent.map(({ number }) => number) };
  }

  /** @returns whether it answered in time */
  async #askStatus(worker: Worker): Promise<boolean> {
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), STATUS_TIMEOUT_MS);
    try {
      const status = await Promise.race([worker.control.status(), late.promise]);
      if (status !== undefined) this.#statuses.set(worker, status);
      return status !== undefined;
    } catch (error) {
      if (worker.hangs) return false;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async stores(): Promise<StoreApi[]> {
    return (await this.#stores({})).map((store) => this.#open(store));
  }

  async store(hint: StoreHint): Promise<StoreApi> {
    return this.#open(chooseStore(await this.#stores(hint), hint));
  }

  async addTarget(request: AddTargetRequest): Promise<TargetStatus> {
    checkAddRequest(request);
    return this.#changes.run(async () => {
      const worker = await this.#workerFor(request);
      return this.#add(request, worker, async () => worker.control.addTarget(request));
    });
  }

  /** The same for a target as the configuration has it. @throws UsageError */
  async addConfigured(target: TargetConfiguration): Promise<TargetStatus> {
    return this.#changes.run(async () => {
      const key = storeKeyOf(target);
      const owner = key === undefined ? undefined : await this.#ownerOf(key);
      const worker = owner ?? this.#placement.removedFrom(target) ?? this.#leastBusy();
      return this.#add(target, worker, async () => worker.server.addTarget(target));
    });
  }

  /** A target stays in its worker while its disk is another. @throws UsageError */
  async refuseMove(target: TargetConfiguration): Promise<void> {
    const key = storeKeyOf(target);
    const owner = key === undefined ? undefined : await this.#ownerOf(key);
    if (owner === undefined || owner === this.#placement.at(target)) return;
    throw new UsageError(
      `${targetName(target)}: another worker has the store that it is to use: restart the server, ` +
        "or remove the target and add it again",
    );
  }

  async removeTarget(shelf: number, slot: number): Promise<void> {
    return this.#changes.run(async () => {
      const worker = this.#placement.at({ shelf, slot });
      // It is off the shelf also when its disk could not be closed.
      await this.#leave(
        async () => worker.control.removeTarget(shelf, slot),
        () => this.#placement.remove({ shelf, slot }),
      );
    });
  }

  /** Takes back `addConfigured`. */
  async withdraw(shelf: number, slot: number): Promise<void> {
    return this.#changes.run(async () => {
      const worker = this.#placement.at({ shelf, slot });
      await this.#leave(
        async () => worker.server.withdrawTarget(shelf, slot),
        () => this.#placement.forget({ shelf, slot }),
      );
    });
  }

  /** Only a worker that does not answer still serves what it was to let go of. */
  async #leave(leave: () => Promise<void>, note: () => void): Promise<void> {
    let failure: unknown;
    try {
      await leave();
    } catch (error) {
      if (error instanceof NoAnswer) throw error;
      failure = error;
    }
    note();
    await this.tellElsewhere();
    if (failure !== undefined) throw failure;
  }

  async clear(shelf: number, slot: number, what: ClearRequest): Promise<TargetStateStatus> {
    return this.#placement.at({ shelf, slot }).control.clear(shelf, slot, what);
  }

  /**
   * Tells the first worker what it need not count, because others answer it. If it does not answer,
   * it counts too much until it is told the next time, and what came before has been done.
   */
  async tellElsewhere(): Promise<void> {
    const [first] = this.#workers;
    try {
      await first.server.setElsewhere(this.#placement.elsewhere(first));
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
    }
  }

  async #add(
    address: ServedAddress,
    worker: Worker,
    add: () => Promise<TargetStatus>,
  ): Promise<TargetStatus> {
    if (this.#placement.has(address)) {
      throw new UsageError(
        `${targetName(address)} is served already; remove it first, or take another address`,
      );
    }
    // Two that answer at one address, one of them with a fault, would corrupt what uses it.
    const former = this.#placement.removedFrom(address);
    const leaves = former === undefined || former === worker ? undefined : former.server;
    await leaves?.forgetRemoved(address.shelf, address.slot);
    let status: TargetStatus;
    try {
      status = await add();
    } catch (error) {
      await leaves?.recallRemoved();
      throw error;
    }
    this.#placement.add(address, worker);
    await this.tellElsewhere();
    return status;
  }

  async #workerFor({ store: path, volume, snapshot }: AddTargetRequest): Promise<Worker> {
    if (path !== undefined) return (await this.#ownerOf(path)) ?? this.#leastBusy();
    const hint = { volume, snapshot };
    return chooseStore(await this.#stores(hint), hint).worker;
  }

  async #ownerOf(path: string): Promise<Worker | undefined> {
    return (await this.#stores({ path })).find(({ isNamed }) => isNamed)?.worker;
  }

  #leastBusy(): Worker {
    const count = (worker: Worker): number => this.#placement.countOf(worker);
    return this.#workers.reduce((least, one) => (count(one) < count(least) ? one : least));
  }

  async #stores(hint: StoreHint): Promise<PlacedStore[]> {
    const stores = await this.#all(async (worker) => {
      const candidates = await worker.server.storeCandidates(hint);
      return candidates.map((candidate) => ({ ...candidate, worker }));
    });
    return stores.flat();
  }

  #open({ worker, path }: PlacedStore): StoreApi {
    const store = worker.store(path);
    return {
      ...store,
      run: async <Name extends JobName>(
        name: Name,
        request: Jobs[Name]["request"],
        control: Parameters<StoreApi["run"]>[2],
      ): Promise<Jobs[Name]["report"]> => {
        await this.#refuseTransfer(worker, request);
        return store.run(name, request, control);
      },
    };
  }

  /** A transfer opens the other store in the worker that runs it, and a store has one owner. */
  async #refuseTransfer(worker: Worker, request: object): Promise<void> {
    const { to, from } = request as { readonly to?: string; readonly from?: string };
    const other = to ?? from;
    if (other === undefined) return;
    const owner = await this.#ownerOf(placeOf(other).path);
    if (owner === undefined || owner === worker) return;
    throw new UsageError(
      `${other}: another worker of this server has this store; set workers = 1, or stop the ` +
        "server and do it offline",
    );
  }

  async #all<T>(ask: (worker: Worker) => Promise<T>): Promise<T[]> {
    return Promise.all(this.#workers.map(ask));
  }
}
