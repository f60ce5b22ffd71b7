import type { Configuration, TargetConfiguration } from "../config/configuration.ts";
import { targetName } from "../config/configuration.ts";
import type { ControlApi, TargetStatus } from "../control/control-api.ts";
import type { Log, LogOptions } from "../log/log.ts";
import type { ConfigurationSource } from "../server/changes.ts";
import { RunningServer, type ServerCore } from "../server/running-server.ts";
import { Placement } from "./placement.ts";
import { spreadTargets } from "./spread.ts";
import { Worker } from "./worker.ts";
import { WorkersApi } from "./workers-api.ts";

/**
 * Starts a server of `workers` threads: each has the targets that fall to it, its own sockets and
 * its own frames.
 * @param logging how the workers log, beside `log` of this thread
 * @throws UsageError when something of the configuration cannot be had; everything that was opened
 *   until then is closed again
 */
export async function startWorkers(
  configuration: Configuration,
  log: Log,
  logging: Pick<LogOptions, "level" | "humanReadable">,
  source?: ConfigurationSource,
): Promise<RunningServer<Workers>> {
  return RunningServer.start(new Workers(configuration, log, logging), configuration, log, source);
}

/** The workers of a server, which do each step of its life together. */
export class Workers implements ServerCore {
  readonly api: ControlApi;
  readonly failed: Promise<Error>;
  readonly #configuration: Configuration;
  readonly #log: Log;
  readonly #logging: Pick<LogOptions, "level" | "humanReadable">;
  readonly #fail: (error: Error) => void;
  readonly #workers: Worker[] = [];
  readonly #placement = new Placement();
  readonly #addresses: WorkersApi;

  constructor(
    configuration: Configuration,
    log: Log,
    logging: Pick<LogOptions, "level" | "humanReadable">,
  ) {
    this.#configuration = configuration;
    this.#log = log;
    this.#logging = logging;
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.failed = promise;
    this.#fail = resolve;
    this.#addresses = new WorkersApi(this.#workers, this.#placement);
    this.api = this.#addresses;
  }

  get hangs(): boolean {
    return this.#workers.some((worker) => worker.hangs);
  }

  async acquire(): Promise<void> {
    const { server, targets } = this.#configuration;
    const shares = spreadTargets(targets, server.workers);
    const onFailure = ({ failure }: Worker): void => {
      if (failure !== undefined) this.#fail(failure);
    };
    const onHang = (worker: Worker): void =>
      this.#log.error(
        { worker: worker.number },
        "the event loop of a worker stands still: its targets are not answered",
      );
    for (const [number, share] of shares.entries()) {
      this.#log.info({ worker: number, targets: share.map(targetName) }, "starting a worker");
      const configuration = { server, targets: share };
      const start = { worker: number, configuration, log: this.#logging };
      const worker = new Worker(start, onFailure, onHang);
      this.#workers.push(worker);
      for (const target of share) this.#placement.add(target, worker);
    }
    await this.#each(async (worker) => worker.server.acquire());
  }

  async open(): Promise<void> {
    await this.#each(async (worker) => worker.server.open());
  }

  async make(): Promise<void> {
    await this.#each(async (worker) => worker.server.make());
  }

  async begin(): Promise<void> {
    await this.#addresses.tellElsewhere();
    await this.#each(async (worker) => {
      await worker.server.begin();
      worker.watch();
    });
  }

  async addTarget(configuration: TargetConfiguration): Promise<TargetStatus> {
    return this.#addresses.addConfigured(configuration);
  }

  async withdrawTarget(shelf: number, slot: number): Promise<void> {
    await this.#addresses.withdraw(shelf, slot);
  }

  async restrictTarget(configuration: TargetConfiguration): Promise<void> {
    await this.#placement.at(configuration).server.restrictTarget(configuration);
  }

  async suspendTarget(shelf: number, slot: number): Promise<void> {
    await this.#placement.at({ shelf, slot }).server.suspendTarget(shelf, slot);
  }

  async resumeTarget(
    configuration: TargetConfiguration,
    mayCreate: boolean,
  ): Promise<TargetStatus> {
    await this.#addresses.refuseMove(configuration);
    return this.#placement.at(configuration).server.resumeTarget(configuration, mayCreate);
  }

  async resizeTarget(shelf: number, slot: number, sectors: number): Promise<TargetStatus> {
    return this.#placement.at({ shelf, slot }).server.resizeTarget(shelf, slot, sectors);
  }

  async abandon(): Promise<void> {
    await this.#end(async (worker) => worker.server.abandon());
  }

  /** Also when one has died or hangs: the others stop in order. */
  async stop(): Promise<void> {
    await this.#end(async (worker) => worker.server.stop());
  }

  async #end(letGo: (worker: Worker) => Promise<void>): Promise<void> {
    try {
      await this.#each(async (worker) => {
        if (worker.failure === undefined) await letGo(worker);
      });
    } finally {
      await Promise.all(this.#workers.map(async (worker) => worker.end()));
      this.#workers.length = 0;
    }
  }

  /** Waits for all, and then throws what the first of those threw that did. */
  async #each(action: (worker: Worker) => Promise<void>): Promise<void> {
    const results = await Promise.allSettled(this.#workers.map(action));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}
