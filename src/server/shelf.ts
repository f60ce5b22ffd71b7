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
import { isStore } from "./store-place.ts";

export interface ShelfOptions {
  readonly targets: TargetManager;
  readonly announcer: Announcer;
  readonly casTargets: CasTargets;
  readonly stateDirectory: string;
  readonly log: Log;
  /** Opens what a target exports. */
  readonly openStorage: (target: TargetConfiguration) => Promise<BlockStorage>;
  /** Other addresses are answered from now on. */
  readonly onAddressesChanged: () => void;
}

/** Puts targets on the shelf and takes them away, with their storage and their state. */
export class Shelf {
  readonly #options: ShelfOptions;
  readonly #removing = new Set<Promise<void>>();
  readonly #createdFiles: string[] = [];
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
      const storage = await this.#options.openStorage(configuration);
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
    const { targets, announcer, stateDirectory, log, openStorage } = this.#options;
    const { shelf, slot, allow, wireChanges, configString } = configuration;
    const path = stateFilePath(stateDirectory, shelf, slot);
    const saved = await loadState(path);
    // The disk of a server without a configuration lives beside its state, in a folder of its own.
    if (dirname(configuration.path) === stateDirectory) {
      await mkdir(stateDirectory, { recursive: true, mode: 0o700 });
    }
    const isNew = configuration.backend === "file" && !existsSync(configuration.path);
    const name = targetName(configuration);
    const storage = this.#acquired.get(name) ?? (await openStorage(configuration));
    this.#acquired.delete(name);
    if (isNew) this.#createdFiles.push(configuration.path);
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
    storage.onResize = () => {
      log.info({ target: added.name, sectors: storage.info().sectors }, "the size changed");
      if (!added.isRemoved) announcer.announceTarget(added);
    };
    return added;
  }

  /** Removes the files that were made for targets: a start that is refused leaves none. */
  async removeCreatedFiles(): Promise<void> {
    for (const path of this.#createdFiles) await rm(path, { force: true });
  }

  /**
   * Takes a target away: what is in flight is answered, and then its storage is let go.
   * @throws UsageError when there is no such target
   */
  async remove(shelf: number, slot: number): Promise<void> {
    const { targets } = this.#options;
    const target = targets.get(shelf, slot);
    if (target === undefined) {
      throw new UsageError(`${targetName({ shelf, slot })}: this server has no such target`);
    }
    targets.remove(target);
    const removal = this.#letGo(target);
    this.#removing.add(removal);
    try {
      await removal;
    } finally {
      this.#removing.delete(removal);
    }
  }

  async #letGo(target: Target): Promise<void> {
    await this.#options.casTargets.leave(target.name);
    await target.settled();
    await target.storage.close();
  }

  /** Closes every storage; rejects, after all are closed, when one could not be made durable. */
  async close(): Promise<void> {
    await this.#options.casTargets.leaveAll();
    const unused = [...this.#acquired.values()].map(async (storage) => storage.close());
    const closing = [this.#options.targets.close(), ...unused, ...this.#removing];
    const results = await Promise.allSettled(closing);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}

/** What the target serves must be made first. */
function isMissing({ backend, path, cas }: TargetConfiguration): boolean {
  if (backend === "file") return !existsSync(path);
  return cas?.createsVolume === true && cas.path !== undefined && !isStore(cas.path);
}
