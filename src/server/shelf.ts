import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Announcer } from "../aoe/announcer.ts";
import { type TargetConfiguration, targetName } from "../config/configuration.ts";
import { UsageError } from "../errors.ts";
import type { Log } from "../log/log.ts";
import type { BlockStorage } from "../storage/block-storage.ts";
import { loadState, saveState, stateFilePath } from "../target/state-file.ts";
import type { Target } from "../target/target.ts";
import type { TargetManager } from "../target/target-manager.ts";
import type { CasTargets } from "./cas-targets.ts";
import { beforeDeadline } from "./deadline.ts";
import { isStore } from "./store-place.ts";

/**
 * How long commands under way may take before a target is suspended all the same, and how long its
 * disk may then take to be closed before the change is refused.
 */
const SUSPEND_TIMEOUT_MS = 30_000;
const SUSPEND_POLL_MS = 1;

export interface ShelfOptions {
  readonly targets: TargetManager;
  readonly announcer: Announcer;
  readonly casTargets: CasTargets;
  readonly stateDirectory: string;
  readonly log: Log;
  /** Opens what a target exports. */
  readonly openStorage: (target: TargetConfiguration, mayCreate: boolean) => Promise<BlockStorage>;
  /** Other addresses are answered from now on. */
  readonly onAddressesChanged: () => void;
  /** Instead of 30 s, for tests. */
  readonly suspendTimeoutMs?: number | undefined;
}

/** Puts targets on the shelf and takes them away, with their storage and their state. */
export class Shelf {
  readonly #options: ShelfOptions;
  /** Disks that are being closed, also those that hang. */
  readonly #closing = new Map<Target, Promise<void>>();
  /** By the name of the target that the file was made for. */
  readonly #createdFiles = new Map<string, string>();
  readonly #missing: TargetConfiguration[] = [];
  /** Devices that were opened before the rest, by the name of their target. */
  readonly #acquired = new Map<string, BlockStorage>();

  constructor(options: ShelfOptions) {
    this.#options = options;
  }

  /** Opens the block devices, which the user that the server becomes may not. @throws UsageError */
  async acquire(configurations: readonly TargetConfiguration[]): Promise<void> {
    for (const configuration of configurations) {
      if (configuration.backend !== "device") continue;
      const storage = await this.#options.openStorage(configuration, false);
      this.#acquired.set(targetName(configuration), storage);
    }
  }

  /** What the configuration names and exists: nothing is made. @throws UsageError */
  async open(configurations: readonly TargetConfiguration[]): Promise<void> {
    await this.#options.casTargets.prepare(configurations);
    for (const configuration of configurations) {
      if (isMissing(configuration)) this.#missing.push(configuration);
      else await this.#add(configuration);
    }
  }

  /** What `open` found missing; nothing is announced. @throws UsageError */
  async make(): Promise<void> {
    for (const configuration of this.#missing.splice(0)) await this.#add(configuration);
  }

  /** One more target while the server runs. @throws UsageError */
  async add(configuration: TargetConfiguration): Promise<Target> {
    const { targets, announcer, casTargets, onAddressesChanged } = this.#options;
    const { shelf, slot } = configuration;
    if (targets.get(shelf, slot) !== undefined) {
      throw new UsageError(
        `${targetName(configuration)} is served already; remove it first, or take another address`,
      );
    }
    await casTargets.prepare([configuration]);
    const target = await this.#add(configuration);
    onAddressesChanged();
    announcer.announceTarget(target);
    return target;
  }

  async #add(configuration: TargetConfiguration): Promise<Target> {
    const { targets, stateDirectory, openStorage } = this.#options;
    const { shelf, slot, allow, wireChanges, configString } = configuration;
    const path = stateFilePath(stateDirectory, shelf, slot);
    const saved = await loadState(path);
    // The disk of a server without a configuration lives beside its state, in a folder of its own.
    if (dirname(configuration.path) === stateDirectory) {
      await mkdir(stateDirectory, { recursive: true, mode: 0o700 });
    }
    const isNew = configuration.backend === "file" && !existsSync(configuration.path);
    const name = targetName(configuration);
    const storage = this.#acquired.get(name) ?? (await openStorage(configuration, true));
    this.#acquired.delete(name);
    if (isNew) this.#createdFiles.set(name, configuration.path);
    else this.#createdFiles.delete(name);
    const added = targets.add({
      shelf,
      slot,
      storage,
      allow,
      wireChanges,
      state:
        saved.configString.length > 0 || configString === undefined
          ? saved
          : { ...saved, configString },
      saveState: async (state) => saveState(stateDirectory, path, state),
    });
    this.#followSize(added);
    return added;
  }

  #followSize(target: Target): void {
    const { announcer, log } = this.#options;
    const { storage } = target;
    storage.onResize = () => {
      log.info({ target: target.name, sectors: storage.info().sectors }, "the size changed");
      if (!target.isRemoved) announcer.announceTarget(target);
    };
  }

  /** What the administrator says of a target in use, without a pause. @throws UsageError */
  async restrict(configuration: TargetConfiguration): Promise<void> {
    const target = this.#find(configuration);
    const { allow, wireChanges, configString } = configuration;
    target.restrict(allow, wireChanges);
    if (configString === undefined) return;
    await target.changeState((state) =>
      state.configString.length > 0 ? undefined : { ...state, configString },
    );
  }

  /**
   * Answers what is in flight and lets go of the storage; the target's frames are dropped, so that
   * initiators ask again, until it is resumed or removed.
   */
  async suspend(shelf: number, slot: number): Promise<void> {
    const target = this.#find({ shelf, slot });
    if (target.isSuspended) return this.#closed(target);
    target.isSuspended = true;
    // A command may have more to hand to the storage before it is answered.
    const deadlineMs = performance.now() + this.#suspendTimeoutMs;
    while (target.commandsUnderWay > 0 && performance.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, SUSPEND_POLL_MS));
    }
    this.#letGo(target);
    await this.#closed(target);
  }

  /**
   * Opens the storage that the configuration says; without success it stays suspended.
   * @param mayCreate whether a file, store or volume that is missing is made
   * @throws UsageError
   */
  async resume(wanted: TargetConfiguration, mayCreate: boolean): Promise<Target> {
    const { announcer, casTargets, openStorage } = this.#options;
    const target = this.#find(wanted);
    if (this.#closing.has(target)) throw new UsageError(hangs(target));
    const configuration = mayCreate ? wanted : withoutCreation(wanted);
    await casTargets.prepare([configuration]);
    const before = target.storage.info().sectors;
    const storage = await openStorage(configuration, mayCreate);
    try {
      await this.restrict(configuration);
    } catch (error) {
      await casTargets.leave(target.name);
      await storage.close();
      throw error;
    }
    target.storage = storage;
    this.#followSize(target);
    target.isSuspended = false;
    if (storage.info().sectors !== before) announcer.announceTarget(target);
    return target;
  }

  /** @throws UsageError when it cannot have that size, or there is no such target */
  async resize(shelf: number, slot: number, sectors: number): Promise<Target> {
    const target = this.#find({ shelf, slot });
    if (target.storage.resize === undefined) {
      throw new UsageError(
        `${target.name}: the size of ${target.storage.info().description} is fixed`,
      );
    }
    await target.storage.resize(sectors);
    return target;
  }

  #find(address: { readonly shelf: number; readonly slot: number }): Target {
    const target = this.#options.targets.get(address.shelf, address.slot);
    if (target !== undefined) return target;
    throw new UsageError(`${targetName(address)}: this server has no such target`);
  }

  /** Removes the files that were made for targets: a start that is refused leaves none. */
  async removeCreatedFiles(): Promise<void> {
    for (const path of this.#createdFiles.values()) await rm(path, { force: true });
  }

  /** Takes back `add`: nothing answers at the address, and a file that was made for it is gone. */
  async withdraw(shelf: number, slot: number): Promise<void> {
    const { name } = this.#find({ shelf, slot });
    const path = this.#createdFiles.get(name);
    try {
      await this.remove(shelf, slot);
    } finally {
      this.#options.targets.forgetRemoved(shelf, slot);
      this.#options.onAddressesChanged();
    }
    if (path !== undefined) await rm(path, { force: true });
  }

  /**
   * Takes a target away: what is in flight is answered, and then its storage is let go.
   * @throws UsageError when there is no such target, Error when its disk cannot be closed or does
   *   not answer: it is off the shelf all the same
   */
  async remove(shelf: number, slot: number): Promise<void> {
    const target = this.#find({ shelf, slot });
    this.#options.targets.remove(target);
    // One that is suspended has let go already, and answers again: with a fault.
    if (!target.isSuspended) this.#letGo(target);
    target.isSuspended = false;
    this.#createdFiles.delete(target.name);
    await this.#closed(target);
  }

  /** Begins to close the storage, which goes on however long it takes; see `#closed`. */
  #letGo(target: Target): void {
    const closing = this.#close(target).finally(() => this.#closing.delete(target));
    this.#closing.set(target, closing);
    // Whoever waits for it has given up, perhaps.
    closing.catch((error: unknown) => {
      this.#options.log.error(
        { target: target.name, error: String(error) },
        "the disk was closed with a fault",
      );
    });
  }

  async #close(target: Target): Promise<void> {
    await this.#options.casTargets.leave(target.name);
    await target.settled();
    await target.storage.close();
  }

  /** Waits until the storage is closed, unless it hangs: then other changes must go on. */
  async #closed(target: Target): Promise<void> {
    const closing = this.#closing.get(target);
    if (closing !== undefined) await beforeDeadline(closing, this.#suspendTimeoutMs, hangs(target));
  }

  get #suspendTimeoutMs(): number {
    return this.#options.suspendTimeoutMs ?? SUSPEND_TIMEOUT_MS;
  }

  /** Closes every storage; rejects, after all are closed, when one could not be made durable. */
  async close(): Promise<void> {
    await this.#options.casTargets.leaveAll();
    const unused = [...this.#acquired.values()].map(async (storage) => storage.close());
    const closing = [this.#options.targets.close(), ...unused, ...this.#closing.values()];
    const results = await Promise.allSettled(closing);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}

function hangs({ name }: Target): string {
  return `${name}: the disk does not answer: it is still being closed`;
}

/** What is missing of it is not made. */
function withoutCreation(target: TargetConfiguration): TargetConfiguration {
  return target.cas === undefined
    ? target
    : { ...target, cas: { ...target.cas, createsVolume: false } };
}

/** What the target serves must be made first. */
function isMissing({ backend, path, cas }: TargetConfiguration): boolean {
  if (backend === "file") return !existsSync(path);
  return cas?.createsVolume === true && cas.path !== undefined && !isStore(cas.path);
}
