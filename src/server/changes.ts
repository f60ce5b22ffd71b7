import {
  type Configuration,
  type TargetConfiguration,
  targetName,
} from "../config/configuration.ts";
import { difference, reopens, type TargetChange } from "../config/difference.ts";
import { parseTargetKeys } from "../config/load.ts";
import { targetConflicts } from "../config/rules.ts";
import { mergedTable, targetTable } from "../config/target-keys.ts";
import { Mutex } from "../mutex.ts";
import type {
  AddTargetRequest,
  ControlApi,
  ManagementApi,
  ReloadReport,
  ReloadRequest,
  TargetStatus,
  TargetTable,
} from "../control/control-api.ts";
import { formatSize } from "../config/units.ts";
import { messageOf, NoAnswer, RuntimeFault, UsageError } from "../errors.ts";
import { impossible, isOtherDisk, refuseImpossible } from "./change-rules.ts";
import { beforeDeadline } from "./deadline.ts";
import type { Log } from "../log/log.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";

/** What the parts of a server do for changes: each concerns one target, wherever it is served. */
export interface ChangeableCore {
  readonly api: ControlApi;
  /** Serves one more target, as if the configuration had named it. @throws UsageError */
  addTarget(configuration: TargetConfiguration): Promise<TargetStatus>;
  /** Takes over what needs no pause: who is heard, and what the wire may change. */
  restrictTarget(configuration: TargetConfiguration): Promise<void>;
  /** Answers what is in flight and closes the disk; what comes is dropped, and asked again. */
  suspendTarget(shelf: number, slot: number): Promise<void>;
  /** Takes back `addTarget`, as if it had never been: nothing answers there, no new file is left. */
  withdrawTarget(shelf: number, slot: number): Promise<void>;
  /**
   * Opens the disk of a suspended target as the configuration says.
   * @param mayCreate whether a file, store or volume that is missing is made
   * @throws UsageError; the target is suspended as before
   */
  resumeTarget(configuration: TargetConfiguration, mayCreate: boolean): Promise<TargetStatus>;
  /** Gives a file or memory another size. @throws UsageError */
  resizeTarget(shelf: number, slot: number, sectors: number): Promise<TargetStatus>;
}

/** Where the configuration of a server came from, and how it is read again. */
export interface ConfigurationSource {
  readonly path: string;
  /** The same options of the command line go before it. @throws UsageError */
  read(): Configuration;
}

/**
 * How long the end of the server waits for a change that is under way: with what storages may take
 * afterwards it stays below the service manager's patience (packaging/systemd/aoed.service).
 */
const CLOSE_TIMEOUT_MS = 15_000;

/**
 * Changes of a running server, one after the other: each takes effect as a whole or not at all, and
 * touches no other target (docs/adr/0025-running-changes.md).
 */
export class Changes {
  readonly #core: ChangeableCore;
  readonly #server: Configuration["server"];
  readonly #source: ConfigurationSource | undefined;
  readonly #log: Log;
  readonly #turn = new Mutex();
  readonly #targets: Map<string, TargetConfiguration>;
  /** Targets that no file names. */
  readonly #addedByHand = new Set<string>();
  #isClosing = false;

  constructor(
    core: ChangeableCore,
    configuration: Configuration,
    source: ConfigurationSource | undefined,
    log: Log,
  ) {
    this.#core = core;
    this.#server = configuration.server;
    this.#source = source;
    this.#log = log;
    this.#targets = new Map(configuration.targets.map((target) => [targetName(target), target]));
  }

  /** Everything that can be asked of the server. */
  api(): ManagementApi {
    const { api } = this.#core;
    return {
      status: async () => api.status(),
      stores: async () => api.stores(),
      store: async (hint) => api.store(hint),
      clear: async (shelf, slot, what) => api.clear(shelf, slot, what),
      addTarget: async (request) => this.#inTurn(async () => this.#add(request)),
      removeTarget: async (shelf, slot) =>
        this.#inTurn(async () => this.#remove(this.#find(shelf, slot))),
      setTarget: async (shelf, slot, keys) =>
        this.#inTurn(async () => this.#set(this.#find(shelf, slot), keys)),
      resizeTarget: async (shelf, slot, sizeBytes, shrink) =>
        this.#inTurn(async () => this.#resize(this.#find(shelf, slot), sizeBytes, shrink)),
      configurationFile: () => this.#source?.path ?? null,
      reload: async (request) => this.#inTurn(async () => this.#reload(request)),
    };
  }

  /** Before the core stops: refuses further changes, and waits for the one that is under way. */
  async close(timeoutMs = CLOSE_TIMEOUT_MS): Promise<void> {
    this.#isClosing = true;
    const message = "a change was still under way when the server stopped";
    try {
      await beforeDeadline(
        this.#turn.run(async () => {}),
        timeoutMs,
        message,
      );
    } catch {
      this.#log.warn(message);
    }
  }

  async #inTurn<T>(action: () => Promise<T>): Promise<T> {
    return this.#turn.run(async () => {
      if (this.#isClosing) throw new UsageError("the server is stopping");
      return action();
    });
  }

  async #add(request: AddTargetRequest): Promise<TargetStatus> {
    const { shelf, slot, keys } = request;
    const name = targetName(request);
    let status: TargetStatus;
    let target: TargetConfiguration;
    if (keys === undefined) {
      status = await this.#core.api.addTarget(request);
      target = parseTargetKeys(tableOfAdded(status));
    } else {
      target = parseTargetKeys({ ...keys, shelf, slot });
      if (!this.#targets.has(name)) this.#refuseConflicts([...this.#targets.values(), target]);
      status = await this.#core.addTarget(target);
    }
    this.#targets.set(name, target);
    this.#addedByHand.add(name);
    this.#log.info({ target: name }, "added");
    return status;
  }

  async #remove(target: TargetConfiguration): Promise<void> {
    const name = targetName(target);
    try {
      await this.#core.api.removeTarget(target.shelf, target.slot);
      this.#forget(name);
    } catch (error) {
      // It is off the shelf also when its disk could not be closed.
      if (!(error instanceof NoAnswer)) this.#forget(name);
      throw error;
    }
    this.#log.info({ target: name }, "removed");
  }

  #forget(name: string): void {
    this.#targets.delete(name);
    this.#addedByHand.delete(name);
  }

  async #set(target: TargetConfiguration, changes: TargetTable): Promise<TargetStatus> {
    for (const key of ["shelf", "slot", "backend"]) {
      if (key in changes) throw new UsageError(`${key}: remove the target and add another one`);
    }
    if ("size" in changes) throw new UsageError("size: use aoed target resize");
    const next = parseTargetKeys(mergedTable(targetTable(target), changes));
    const others = [...this.#targets.values()].filter((other) => other !== target);
    this.#refuseConflicts([...others, next]);
    const plan = difference(this.#configuration([target]), this.#configuration([next]));
    const problem = plan.targets.map(impossible).find((message) => message !== undefined);
    if (problem !== undefined) throw new UsageError(problem.message);
    await this.#freshTargets();
    await this.#open(plan.targets);
    await this.#finish(plan.targets);
    return this.#statusOf(target);
  }

  async #resize(
    target: TargetConfiguration,
    sizeBytes: number,
    shrink: boolean,
  ): Promise<TargetStatus> {
    if (sizeBytes === 0 || sizeBytes % SECTOR_BYTES !== 0) {
      throw new UsageError(`${sizeBytes} is not a size in whole sectors: use a multiple of 512`);
    }
    const { shelf, slot, cas } = target;
    const { storage } = statusIn(await this.#freshTargets(), target);
    const present = storage.sectors * SECTOR_BYTES;
    if (sizeBytes < present && !shrink) {
      throw new UsageError(
        `${targetName(target)} has ${formatSize(present)}, and what lies beyond ${formatSize(sizeBytes)} would be ` +
          "lost; say --shrink when that is meant",
      );
    }
    let resized: TargetStatus | undefined;
    if (cas === undefined)
      resized = await this.#core.resizeTarget(shelf, slot, sizeBytes / SECTOR_BYTES);
    else if (cas.snapshot !== undefined)
      throw new UsageError("a snapshot has the size that it has");
    else {
      const store = await this.#core.api.store({ path: cas.path, volume: cas.volume });
      await store.resizeVolume(cas.volume, sizeBytes);
    }
    if (target.sizeBytes !== undefined) {
      this.#targets.set(targetName(target), { ...target, sizeBytes });
    }
    return resized ?? this.#statusOf(target);
  }

  async #reload({ dryRun }: ReloadRequest): Promise<ReloadReport> {
    const source = this.#source;
    if (source === undefined) {
      throw new UsageError(
        "this server was started without a configuration file: start it with --config FILE to reload one",
      );
    }
    const next = source.read();
    const plan = difference(this.#configuration([...this.#targets.values()]), next);
    const kept = plan.targets.filter((change) => this.#isKept(change));
    const keptTargets = kept.map(({ target }) => target);
    const changes = await this.#withSuspended(
      plan.targets.filter((change) => !this.#isKept(change)),
      [...next.targets, ...keptTargets],
    );
    refuseImpossible({ ...plan, targets: changes }, next, keptTargets, source.path);
    if (!dryRun) {
      await this.#open(changes);
      for (const target of next.targets) this.#addedByHand.delete(targetName(target));
      await this.#finish(changes);
      this.#log.info(
        { file: source.path, changes: changes.length },
        "the configuration was reloaded",
      );
    }
    return {
      file: source.path,
      applied: !dryRun,
      changes: changes.map((change) => ({
        target: targetName(change.target),
        change: change.kind,
        keys: change.kind === "change" ? change.keys : [],
        reopens: reopens(change),
      })),
      kept: keptTargets.map(targetName),
    };
  }

  #isKept({ kind, target }: TargetChange): boolean {
    return kind === "remove" && this.#addedByHand.has(targetName(target));
  }

  /** A target whose disk is closed is to be opened, though nothing else is to change of it. */
  async #withSuspended(
    changes: readonly TargetChange[],
    next: readonly TargetConfiguration[],
  ): Promise<TargetChange[]> {
    const targets = await this.#freshTargets();
    const suspended = new Set(targets.filter((one) => one.suspended).map(targetName));
    const changed = new Set(changes.map(({ target }) => targetName(target)));
    const unchanged = next.filter((target) => !changed.has(targetName(target)));
    return [
      ...changes.map((change) =>
        change.kind === "change" && suspended.has(targetName(change.target))
          ? { ...change, isSuspended: true }
          : change,
      ),
      ...unchanged
        .filter((target) => suspended.has(targetName(target)))
        .map((target) => {
          return { kind: "change", target, before: target, keys: [], isSuspended: true } as const;
        }),
    ];
  }

  /**
   * Everything that can fail comes before what cannot be taken back: disks that change, or that give
   * way to others, are closed first, then all new ones are opened; if one cannot be, the former ones
   * are opened again. Initiators of the disks concerned wait meanwhile. Memory gives way to nothing,
   * and would be lost.
   */
  async #open(changes: readonly TargetChange[]): Promise<void> {
    const reopened = changes.filter(reopens);
    const added = changes.filter(({ kind }) => kind === "add");
    const opens = [...reopened, ...added].length > 0;
    const givingWay = changes.filter(
      ({ kind, target }) => opens && kind === "remove" && target.backend !== "memory",
    );
    const undo: (() => Promise<unknown>)[] = [];
    try {
      for (const change of [...reopened, ...givingWay]) {
        const before = change.kind === "change" ? change.before : change.target;
        undo.push(async () => this.#core.resumeTarget(before, false));
        await this.#core.suspendTarget(before.shelf, before.slot);
      }
      for (const change of reopened) {
        const { target } = change;
        await this.#core.resumeTarget(target, isOtherDisk(change));
        undo.push(async () => this.#core.suspendTarget(target.shelf, target.slot));
      }
      for (const { target } of added) {
        await this.#core.addTarget(target);
        undo.push(async () => this.#core.withdrawTarget(target.shelf, target.slot));
      }
    } catch (error) {
      for (const step of undo.toReversed()) await this.#undo(step);
      throw error;
    }
    for (const { kind, target } of [...reopened, ...added]) this.#note(kind, target);
  }

  /**
   * What is left of a change when all disks are open. One that fails must not keep the others from
   * it. @throws Error that names those that failed
   */
  async #finish(changes: readonly TargetChange[]): Promise<void> {
    const failures: string[] = [];
    for (const change of changes) {
      if (change.kind === "add" || reopens(change)) continue;
      const { kind, target } = change;
      try {
        if (kind === "remove") await this.#remove(target);
        else {
          await this.#core.restrictTarget(target);
          this.#note(kind, target);
        }
      } catch (error) {
        failures.push(`${targetName(target)}: ${messageOf(error)}`);
      }
    }
    if (failures.length === 0) return;
    throw new Error(`${failures.join("; ")}; everything else has changed as was asked`);
  }

  /** One that cannot be taken back must not keep the others from it. */
  async #undo(step: () => Promise<unknown>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#log.error(
        { error: messageOf(error) },
        "a change that was refused could not be taken back",
      );
    }
  }

  #note(kind: TargetChange["kind"], target: TargetConfiguration): void {
    const name = targetName(target);
    this.#targets.set(name, target);
    this.#log.info({ target: name, change: kind }, "the target has changed");
  }

  #configuration(targets: TargetConfiguration[]): Configuration {
    return { server: this.#server, targets };
  }

  #find(shelf: number, slot: number): TargetConfiguration {
    const name = targetName({ shelf, slot });
    const target = this.#targets.get(name);
    if (target === undefined) throw new UsageError(`${name}: this server has no such target`);
    return target;
  }

  #refuseConflicts(targets: readonly TargetConfiguration[]): void {
    const [conflict] = targetConflicts(targets);
    if (conflict !== undefined) throw new UsageError(`${conflict.key}: ${conflict.message}`);
  }

  /**
   * What a change is decided by, and not what some part of the server said some time ago.
   * @throws RuntimeFault
   */
  async #freshTargets(): Promise<readonly TargetStatus[]> {
    const { targets, silentWorkers } = await this.#core.api.status();
    if (silentWorkers.length === 0) return targets;
    const silent = `worker ${silentWorkers.join(", ")} does not answer`;
    throw new RuntimeFault(`${silent}, so the state of its disks is not known; try again`);
  }

  /** After a change, which `#freshTargets` came before: of a worker that is slow now, from then. */
  async #statusOf(target: TargetConfiguration): Promise<TargetStatus> {
    return statusIn((await this.#core.api.status()).targets, target);
  }
}

function statusIn(
  targets: readonly TargetStatus[],
  { shelf, slot }: TargetConfiguration,
): TargetStatus {
  const status = targets.find((target) => target.shelf === shelf && target.slot === slot);
  if (status === undefined) throw new Error(`${targetName({ shelf, slot })} has no status`);
  return status;
}

/** What was added by its volume or snapshot, as a file would say it. */
export function tableOfAdded({ shelf, slot, storage, cas }: TargetStatus): TargetTable {
  if (cas === null) throw new Error("only volumes and snapshots are added without keys");
  const { store: path, volume, snapshot } = cas;
  const what = volume === null ? { snapshot } : { volume };
  const readOnly = storage.readOnly && volume !== null ? { read_only: true } : {};
  const durability = storage.durability === "writeback" ? { durability: "writeback" } : {};
  return { shelf, slot, backend: "cas", ...readOnly, ...durability, cas: { path, ...what } };
}
