import { AOE_ETHER_TYPE, ALL_SHELVES, ALL_SLOTS } from "../aoe/header.wire.ts";
import { FrameArena } from "../arena/frame-arena.ts";
import type { EthernetPort } from "../ethernet/ethernet-port.ts";
import { openPacketPort } from "../ethernet/packet-port.ts";
import { type DiscoveredTarget, type DiscoverOptions, discoverTargets } from "./discovery.ts";
import { InitiatorError, NoAnswerError } from "./initiator-error.ts";
import type { Path } from "./path.ts";
import { type PathReport, reportPath, type ReportOptions } from "./path-report.ts";
import { pingPath, type PingOptions, type PingResult } from "./ping.ts";
import { RemoteDisk, type RequestOptions } from "./remote-disk.ts";
import { Transport, type TransportStatistics } from "./transport.ts";

/** Frames for requests on their way and replies that wait: several windows of a busy target. */
const ARENA_FRAMES = 1024;

export interface OpenOptions extends RequestOptions {
  /** Most requests outstanding; fewer when the target says so. */
  readonly window?: number;
}

/** Longer than a busy server takes; whoever answers ends it. */
const FIND_TIMEOUT_MS = 3000;
/** As the Linux driver. */
const DEFAULT_WINDOW = 64;

export interface InitiatorOptions {
  /** The least time before a request is sent again; for tests. */
  readonly shortestTimeoutMs?: number;
}

/**
 * A user-space AoE client on one interface: finds targets, measures them, and reads and writes
 * them. It can run beside the Linux driver on the same interface.
 */
export class Initiator {
  readonly #transport: Transport;
  readonly #options: InitiatorOptions;

  constructor(port: EthernetPort, arena: FrameArena, options: InitiatorOptions = {}) {
    this.#options = options;
    this.#transport = new Transport(port, arena);
  }

  get interfaceName(): string {
    return this.#transport.port.name;
  }

  get statistics(): TransportStatistics {
    return this.#transport.statistics;
  }

  /** Everyone who answers a broadcast within the timeout, sorted by address. */
  async discover(options: DiscoverOptions = {}): Promise<DiscoveredTarget[]> {
    const found = await discoverTargets(this.#transport, { ...this.#options, ...options });
    return found.map(({ target }) => target);
  }

  /** Tries every way to every target that answers: sizes, loss, latency. Nothing is changed. */
  async report(options: ReportOptions = {}): Promise<PathReport[]> {
    const found = await discoverTargets(this.#transport, { ...this.#options, ...options });
    const reports: PathReport[] = [];
    for (const { target, path } of found) {
      reports.push(await reportPath(this.#transport, path, target, options));
      options.onReport?.(reports.length, found.length);
    }
    return reports;
  }

  /**
   * Requests to one target, one after another and none repeated.
   * @throws NoAnswerError when the target cannot be found at all
   */
  async ping(shelf: number, slot: number, options: PingOptions = {}): Promise<PingResult> {
    const { path } = await this.#find(shelf, slot);
    return pingPath(this.#transport, path, options);
  }

  /**
   * Finds a target and its size.
   * @throws NoAnswerError when nobody answers, InitiatorError when its disk does not say its size
   */
  async open(shelf: number, slot: number, options: OpenOptions = {}): Promise<RemoteDisk> {
    const { path, target } = await this.#find(shelf, slot);
    if (target.sectors === undefined) throw new InitiatorError(target.fault ?? "no size");
    const window = Math.min(target.bufferCount, options.window ?? DEFAULT_WINDOW);
    path.setLimit(Math.max(1, window));
    return new RemoteDisk(this.#transport, path, target, options);
  }

  /** Fails what is not answered and closes the port. */
  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #find(shelf: number, slot: number): Promise<{ target: DiscoveredTarget; path: Path }> {
    if (shelf === ALL_SHELVES || slot === ALL_SLOTS) {
      throw new InitiatorError(`e${shelf}.${slot} is the address of every target, not of one`);
    }
    const [found] = await discoverTargets(this.#transport, {
      ...this.#options,
      shelf,
      slot,
      timeoutMs: FIND_TIMEOUT_MS,
      enough: 1,
    });
    if (found === undefined) {
      const { name } = this.#transport.port;
      throw new NoAnswerError(
        `e${shelf}.${slot}: nobody on ${name} answers (is the server running, on another machine of this segment?)`,
      );
    }
    return found;
  }
}

/** @param arena the one that `port` was made with */
export function createInitiator(
  port: EthernetPort,
  arena: FrameArena,
  options: InitiatorOptions = {},
): Initiator {
  return new Initiator(port, arena, options);
}

/**
 * An initiator on an interface of this machine (needs CAP_NET_RAW).
 * @throws UsageError when there is no such interface or no permission
 */
export function openInitiator(options: { readonly interfaceName: string }): Initiator {
  const arena = new FrameArena(ARENA_FRAMES);
  const { interfaceName } = options;
  const port = openPacketPort({ interfaceName, etherType: AOE_ETHER_TYPE, arena });
  return new Initiator(port, arena);
}
