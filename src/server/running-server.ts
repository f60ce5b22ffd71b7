import type {
  Configuration,
  ServerConfiguration,
  TargetConfiguration,
} from "../config/configuration.ts";
import type { ManagementApi, TargetStatus } from "../control/control-api.ts";
import { ControlServer } from "../control/control-server.ts";
import type { WebServer } from "../web/web-server.ts";
import type { Log } from "../log/log.ts";
import { findAccount, findGroupId } from "../system/account.ts";
import { type ChangeableCore, Changes, type ConfigurationSource } from "./changes.ts";
import { Privileges } from "./privileges.ts";

/**
 * What serves on the wire, in one thread or in several. It starts in steps, each of them in every
 * part before the next one, so that a start that is refused has made nothing.
 */
export interface ServerCore extends ChangeableCore {
  /** Resolves when a part of it has died: what is left must be stopped. */
  readonly failed: Promise<Error>;
  /** A part of it stands still, and does not answer any more. */
  readonly hangs: boolean;
  /** Opens interfaces and block devices: what may need privileges. @throws UsageError */
  acquire(): Promise<void>;
  /** Opens what exists of stores and files; makes nothing. @throws UsageError */
  open(): Promise<void>;
  /** Makes files, stores and volumes that are missing. @throws UsageError */
  make(): Promise<void>;
  /** Begins to answer, and announces every target. */
  begin(): Promise<void>;
  /** Ends a start that was refused, and leaves the disk as it was. */
  abandon(): Promise<void>;
  /** Answers what is in flight, makes it durable and lets go of everything. */
  stop(): Promise<void>;
}

/** A server that runs, with the ways in that people and programs have beside the wire. */
export class RunningServer<Core extends ServerCore = ServerCore> {
  readonly core: Core;
  readonly api: ManagementApi;
  readonly #changes: Changes;
  readonly #control: ControlServer | undefined;
  readonly #web: WebServer | undefined;

  private constructor(
    core: Core,
    changes: Changes,
    api: ManagementApi,
    control: ControlServer | undefined,
    web: WebServer | undefined,
  ) {
    this.core = core;
    this.#changes = changes;
    this.api = api;
    this.#control = control;
    this.#web = web;
  }

  /**
   * @param source where the configuration came from; undefined: from no file
   * @throws UsageError when something of the configuration cannot be had; everything that was
   *   opened until then is closed again
   */
  static async start<Core extends ServerCore>(
    core: Core,
    configuration: Configuration,
    log: Log,
    source?: ConfigurationSource,
  ): Promise<RunningServer<Core>> {
    const { server } = configuration;
    const changes = new Changes(core, configuration, source, log);
    const api = changes.api();
    let privileges: Privileges | undefined;
    let control: ControlServer | undefined;
    let web: WebServer | undefined;
    try {
      // What can be refused comes before what is made: a refused start leaves the disk as it was.
      privileges = Privileges.of(server);
      await privileges?.prepare(server);
      control = await controlServer(server, api);
      await core.acquire();
      await privileges?.drop(server, log);
      web = await webServer(server, api);
      await core.open();
      await core.make();
      control?.begin();
      await core.begin();
      web?.begin();
    } catch (error) {
      await web?.close();
      await control?.abandon();
      await core.abandon();
      await privileges?.abandon();
      throw error;
    }
    return new RunningServer(core, changes, api, control, web);
  }

  get failed(): Promise<Error> {
    return this.core.failed;
  }

  get hangs(): boolean {
    return this.core.hangs;
  }

  async addTarget(configuration: TargetConfiguration): Promise<TargetStatus> {
    return this.core.addTarget(configuration);
  }

  /** Answers what is in flight, makes it durable and lets go of everything. */
  async stop(): Promise<void> {
    await this.#web?.close();
    await this.#control?.close();
    await this.#changes.close();
    await this.core.stop();
  }
}

/** Loaded only when it is wanted: with the library for Prometheus. */
async function webServer(
  { metrics }: ServerConfiguration,
  api: ManagementApi,
): Promise<WebServer | undefined> {
  if (metrics === undefined) return undefined;
  const web = await import("../web/web-server.ts");
  return web.WebServer.listen(api, metrics);
}

async function controlServer(
  configuration: ServerConfiguration,
  api: ManagementApi,
): Promise<ControlServer | undefined> {
  const { controlSocket: path, controlSocketAccess } = configuration;
  if (path === undefined) return undefined;
  const { owner, group, mode } = controlSocketAccess;
  return ControlServer.listen(path, api, {
    mode,
    userId: owner === undefined ? undefined : findAccount(owner).userId,
    groupId: group === undefined ? undefined : findGroupId(group),
  });
}
