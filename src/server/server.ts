import { Announcer, type ForeignServer } from "../aoe/announcer.ts";
import { Responder } from "../aoe/responder.ts";
import { FrameArena } from "../arena/frame-arena.ts";
import { AtaEngine } from "../ata/ata-engine.ts";
import {
  type Configuration,
  type TargetConfiguration,
  targetName,
} from "../config/configuration.ts";
import type { ControlApi, ServerStatus, StoreHint, TargetStatus } from "../control/control-api.ts";
import type { StoreApi } from "../control/store-api.ts";
import { UsageError } from "../errors.ts";
import type { EthernetPort } from "../ethernet/ethernet-port.ts";
import { FrameService, type ServedPort } from "../ethernet/frame-service.ts";
import { openPort } from "../ethernet/open-port.ts";
import { type ServedAddress, shelfFilter } from "../ethernet/shelf-filter.ts";
import { type PcapPort, pcapPort } from "../ethernet/pcap-port.ts";
import { type Log, RateLimitedLog } from "../log/log.ts";
import { formatMac } from "../mac-address.ts";
import type { Target } from "../target/target.ts";
import { TargetManager } from "../target/target-manager.ts";
import { addedTarget } from "./added-target.ts";
import { Meters } from "./meters.ts";
import type { ConfigurationSource } from "./changes.ts";
import { Elsewhere } from "./elsewhere.ts";
import { openStorage } from "./open-storage.ts";
import { RunningServer, type ServerCore } from "./running-server.ts";
import { ServerStores, type StoreCandidate } from "./server-stores.ts";
import { Shelf } from "./shelf.ts";
import { serverStatus, targetStateStatus, targetStatus } from "./status.ts";
import { firmwareVersion, VERSION } from "./version.ts";

/**
 * Frames held at once: received, with a storage, or on their way out. 64 initiators with 64
 * requests each; only those in use take memory.
 */
const ARENA_FRAMES = 4096;

/** Frames of one sender beyond its share, in a tenth of a second, that make it a flood. */
const FLOOD_FRAMES = 1000;
const FLOOD_BLOCK_MS = 5000;

/** How long storages may take to finish what is in flight at the end. */
const STOP_TIMEOUT_MS = 30_000;

/** Which worker of a server this is, and what to use instead of the machine: for tests. */
export interface ServerSurroundings {
  /** Of several threads that are one server; undefined: this one serves alone. The first is 0. */
  readonly worker?: number;
  readonly arena?: FrameArena;
  readonly ports?: readonly EthernetPort[];
  readonly openStorage?: typeof openStorage;
  /** How long a disk may take to be closed before a change is refused. */
  readonly suspendTimeoutMs?: number;
  /** Milliseconds that only grow. */
  readonly clock?: () => number;
}

/**
 * Starts a server in this thread: opens every storage and every port, then answers and announces
 * itself.
 * @throws UsageError when something of the configuration cannot be had; everything that was opened
 *   until then is closed again
 */
export async function startServer(
  configuration: Configuration,
  log: Log,
  surroundings: ServerSurroundings = {},
  source?: ConfigurationSource,
): Promise<RunningServer<Server>> {
  const server = new Server(configuration, log, surroundings);
  return RunningServer.start(server, configuration, log, source);
}

/** All layers, put together in one thread. */
export class Server implements ServerCore {
  readonly api: ControlApi;
  readonly #configuration: Configuration;
  readonly #log: Log;
  readonly #wireLog: RateLimitedLog;
  readonly #arena: FrameArena;
  readonly #targets = new TargetManager();
  readonly #responder: Responder;
  readonly #announcer: Announcer;
  readonly #ports: EthernetPort[];
  readonly #captures: PcapPort[] = [];
  readonly #stores: ServerStores;
  readonly #shelf: Shelf;
  readonly #clock: (() => number) | undefined;
  readonly #meters: Meters;
  readonly #worker: number | undefined;
  readonly #elsewhere: Elsewhere | undefined;
  #service: FrameService | undefined;
  /** A sender that floods: the kernel lets nothing of it through. */
  #blockedMac: number | undefined;
  #unblocking: NodeJS.Timeout | undefined;
  #forgotten: Target | undefined;
  /** A thread that serves alone does not outlive its faults. */
  readonly failed = new Promise<Error>(() => {});
  /** Nor could it say so. */
  readonly hangs = false;

  constructor(configuration: Configuration, log: Log, surroundings: ServerSurroundings) {
    const identity = {
      bufferCount: configuration.server.bufferCount,
      firmwareVersion: firmwareVersion(),
    };
    this.#configuration = configuration;
    this.#log = log;
    this.#wireLog = new RateLimitedLog(log);
    this.#arena = surroundings.arena ?? new FrameArena(ARENA_FRAMES);
    this.#ports = [...(surroundings.ports ?? [])];
    this.#stores = new ServerStores(this.#arena, log, configuration.server.gc);
    this.#clock = surroundings.clock;
    this.#worker = surroundings.worker;
    this.#elsewhere = this.#worker === undefined ? undefined : new Elsewhere(this.#worker);
    this.#announcer = new Announcer(this.#arena, this.#targets, identity, (foreign) =>
      this.#warnOfForeignServer(foreign),
    );
    this.#responder = new Responder({
      arena: this.#arena,
      targets: this.#targets,
      engine: new AtaEngine(VERSION),
      identity,
      isElsewhere: this.#elsewhere?.has.bind(this.#elsewhere),
      onResponse: (port, frameOffset) => this.#announcer.hear(port, frameOffset),
    });
    this.#meters = new Meters(this.#targets, this.#responder.meter);
    this.#shelf = new Shelf({
      targets: this.#targets,
      announcer: this.#announcer,
      casTargets: this.#stores.targets,
      stateDirectory: configuration.server.stateDirectory,
      log,
      openStorage: async (target, mayCreate) =>
        target.cas === undefined
          ? (surroundings.openStorage ?? openStorage)(target, this.#arena, log, mayCreate)
          : this.#stores.targets.open(target),
      onAddressesChanged: () => this.#setFilters(),
      suspendTimeoutMs: surroundings.suspendTimeoutMs,
    });
    this.#stores.onRolledBack = (name) => this.#announceRollback(name);
    this.api = {
      status: async () => this.statusNow(),
      stores: async () => this.#stores.all(),
      store: async (hint) => this.#stores.find(hint),
      addTarget: async (request) => this.addTarget(addedTarget(request, this.#stores)),
      removeTarget: async (shelf, slot) => this.#shelf.remove(shelf, slot),
      clear: async (shelf, slot, what) => this.#clear(shelf, slot, what),
    };
  }

  async acquire(): Promise<void> {
    await this.#openPorts();
    await this.#shelf.acquire(this.#configuration.targets);
  }

  async open(): Promise<void> {
    await this.#shelf.open(this.#configuration.targets);
  }

  async make(): Promise<void> {
    await this.#shelf.make();
    this.#stores.tend();
  }

  async begin(): Promise<void> {
    this.#service = new FrameService({
      targets: this.#targets,
      responder: this.#responder,
      arena: this.#arena,
      bufferCount: this.#configuration.server.bufferCount,
      busyPollMs: this.#configuration.server.busyPollMs,
      ports: this.#ports,
      clock: this.#clock,
      onFlood: (served, mac, excess) => this.#holdOff(served, mac, excess),
    });
    this.#announcer.ports = this.#service.ports;
    for (const served of this.#service.ports) this.#followLink(served);
    this.#service.start();
    this.#announcer.announceAll();
    return Promise.resolve();
  }

  async addTarget(configuration: TargetConfiguration): Promise<TargetStatus> {
    const target = await this.#shelf.add(configuration);
    this.#stores.tend();
    return this.#statusOf(target);
  }

  async withdrawTarget(shelf: number, slot: number): Promise<void> {
    await this.#shelf.withdraw(shelf, slot);
  }

  async restrictTarget(configuration: TargetConfiguration): Promise<void> {
    await this.#shelf.restrict(configuration);
  }

  async suspendTarget(shelf: number, slot: number): Promise<void> {
    await this.#shelf.suspend(shelf, slot);
  }

  async resumeTarget(
    configuration: TargetConfiguration,
    mayCreate: boolean,
  ): Promise<TargetStatus> {
    const target = await this.#shelf.resume(configuration, mayCreate);
    this.#stores.tend();
    return this.#statusOf(target);
  }

  async resizeTarget(shelf: number, slot: number, sectors: number): Promise<TargetStatus> {
    return this.#statusOf(await this.#shelf.resize(shelf, slot, sectors));
  }

  async abandon(): Promise<void> {
    await this.stop();
    await this.#shelf.removeCreatedFiles();
  }

  async stop(): Promise<void> {
    this.#announcer.stop();
    this.#meters.stop();
    if (this.#service === undefined) await Promise.all(this.#ports.map(async (p) => p.close()));
    else await this.#service.stop(STOP_TIMEOUT_MS);
    // Until now a flood could still be found.
    clearTimeout(this.#unblocking);
    try {
      this.#stores.beginClosing();
      await this.#stores.quiesce();
      await this.#shelf.close();
    } finally {
      await this.#stores.close();
      this.#reportCaptures();
    }
  }

  async #openPorts(): Promise<void> {
    const { interfaces, port: kind, pcapPath } = this.#configuration.server;
    if (this.#ports.length > 0) return;
    for (const name of interfaces) {
      const filter = shelfFilter(this.#configuration.targets);
      const port = await openPort({
        name,
        kind,
        arena: this.#arena,
        log: this.#interfaceLog,
        filter,
        isShared: this.#worker !== undefined,
      });
      this.#ports.push(pcapPath === undefined ? port : this.#capture(port, pcapPath));
    }
  }

  /** What is said of an interface, every worker of a server would say. */
  get #interfaceLog(): Log | undefined {
    return (this.#worker ?? 0) === 0 ? this.#log : undefined;
  }

  /** What the other workers of this server answer. */
  async setElsewhere(addresses: readonly ServedAddress[]): Promise<void> {
    this.#elsewhere?.set(addresses);
    return Promise.resolve();
  }

  /** Another worker is to serve an address whose target was removed here. */
  async forgetRemoved(shelf: number, slot: number): Promise<void> {
    this.#forgotten = this.#targets.removed(shelf, slot);
    this.#targets.forgetRemoved(shelf, slot);
    this.#setFilters();
    return Promise.resolve();
  }

  /** The other worker could not: as before `forgetRemoved`. */
  async recallRemoved(): Promise<void> {
    if (this.#forgotten !== undefined) this.#targets.recallRemoved(this.#forgotten);
    this.#setFilters();
    return Promise.resolve();
  }

  async storeCandidates(hint: StoreHint): Promise<StoreCandidate[]> {
    return Promise.resolve(this.#stores.candidates(hint));
  }

  /** A store of `storeCandidates`. */
  storeAt(path: string): StoreApi {
    return this.#stores.at(path);
  }

  /** Removed targets are answered as well: with a fault. */
  #setFilters(): void {
    const filter = shelfFilter(this.#targets.addresses(), this.#blockedMac);
    for (const port of this.#ports) port.setFilter?.(filter);
  }

  /** Initiators look at the size again, and log that something happened. */
  #announceRollback(name: string): void {
    const target = this.#targets.all().find((candidate) => candidate.name === name);
    if (target !== undefined) this.#announcer.announceTarget(target);
  }

  #capture(port: EthernetPort, path: string): EthernetPort {
    const captured = pcapPort(port, this.#arena, path);
    this.#captures.push(captured);
    return captured;
  }

  /** A capture that failed or is not whole must not be taken for a whole one. */
  #reportCaptures(): void {
    for (const { name, captureFailure, droppedRecords } of this.#captures) {
      if (captureFailure !== undefined) {
        this.#log.warn({ interface: name, error: captureFailure.message }, "the capture stopped");
      }
      if (droppedRecords > 0) {
        this.#log.warn({ interface: name, droppedRecords }, "the capture lacks frames");
      }
    }
  }

  #followLink(served: ServedPort): void {
    served.port.onLinkChange = (previous) => {
      const { link } = served.port;
      this.#interfaceLog?.info(
        { interface: served.name, up: link.up, mtu: link.mtuBytes },
        "the link changed",
      );
      const isNew =
        !previous.up || previous.mtuBytes !== link.mtuBytes || previous.mac !== link.mac;
      if (link.up && isNew) this.#announcer.announcePort(served);
    };
  }

  /** A flood that takes much to throw away is thrown away by the kernel, for a while. */
  #holdOff(served: ServedPort, mac: number, excessFrames: number): void {
    this.#warnOfFlood(served, mac);
    if (excessFrames < FLOOD_FRAMES || this.#blockedMac !== undefined) return;
    this.#blockedMac = mac;
    this.#setFilters();
    this.#unblocking = setTimeout(() => {
      this.#blockedMac = undefined;
      this.#setFilters();
    }, FLOOD_BLOCK_MS);
  }

  #warnOfFlood(served: ServedPort, mac: number): void {
    this.#wireLog.warn(
      "over_share",
      "a host sends more requests than it may have outstanding: what is beyond its share is dropped",
      () => ({
        interface: served.name,
        mac: formatMac(mac),
        dropped: served.drops.over_share,
      }),
    );
  }

  #warnOfForeignServer({ target, mac, port }: ForeignServer): void {
    this.#wireLog.warn(
      "foreign_server",
      `another server announces ${target.name} on ${port.name}: initiators would use both as one ` +
        "disk and corrupt it; give one of them another address",
      () => ({ target: target.name, interface: port.name, mac: formatMac(mac) }),
    );
  }

  async #clear(
    shelf: number,
    slot: number,
    what: Parameters<ControlApi["clear"]>[2],
  ): ReturnType<ControlApi["clear"]> {
    const target = this.#targets.get(shelf, slot);
    if (target === undefined) {
      throw new UsageError(`${targetName({ shelf, slot })}: this server has no such target`);
    }
    await target.changeState((state) => ({
      configString: what.configString ? new Uint8Array(0) : state.configString,
      mask: what.mask ? [] : state.mask,
      reservation: what.reservation ? [] : state.reservation,
    }));
    this.#announcer.announceTarget(target);
    return targetStateStatus(target);
  }

  #statusOf(target: Target): TargetStatus {
    return targetStatus(target, this.#stores.targets);
  }

  /** Everything that can be seen of the server. */
  statusNow(): ServerStatus {
    return serverStatus({
      arena: this.#arena,
      targets: this.#targets,
      responder: this.#responder,
      announcer: this.#announcer,
      ports: this.#service?.ports ?? [],
      stores: this.#stores,
      meters: this.#meters,
    });
  }
}
