import {
  ALL_SHELVES,
  ALL_SLOTS,
  AoeCommand,
  AoeFlag,
  command,
  flags,
  shelf as shelfOf,
  slot as slotOf,
  sourceMac,
} from "../aoe/header.wire.ts";
import { AtaOpcode } from "../ata/ata-engine.ts";
import { IDENTIFY_BYTES, readIdentify } from "../ata/identify.ts";
import { messageOf } from "../errors.ts";
import { formatMac } from "../mac-address.ts";
import { type AtaAnswer, type AtaOutcome, AtaRequest, FAILURE_BITS } from "./ata-request.ts";
import { readConfig, type TargetConfig, writeConfigQuery } from "./config-request.ts";
import { Path } from "./path.ts";
import type { Transport } from "./transport.ts";

/** A target that answered. The disk's own words are missing when it did not answer IDENTIFY. */
export interface DiscoveredTarget {
  readonly shelf: number;
  readonly slot: number;
  /** "02:00:00:00:00:01". Two entries with one address are two ways to it, or two servers. */
  readonly mac: string;
  /** The interface of ours that it is reached by. */
  readonly interface: string;
  readonly bufferCount: number;
  /** Most sectors of one command. */
  readonly maxSectors: number;
  readonly firmwareVersion: number;
  readonly configString: Uint8Array;
  readonly sectors?: number;
  readonly model?: string;
  readonly serial?: string;
  readonly firmware?: string;
  /** Why the disk did not say what it is. */
  readonly fault?: string;
}

export interface DiscoverOptions {
  /** How long answers are waited for. */
  readonly timeoutMs?: number;
  /** Only targets at this shelf or slot. */
  readonly shelf?: number;
  readonly slot?: number;
  /** End as soon as this many have answered. */
  readonly enough?: number;
  /** The least time before a request to a target found is sent again. */
  readonly shortestTimeoutMs?: number;
}

const BROADCAST = 0xffffffffffff;
const DEFAULT_TIMEOUT_MS = 1000;
/** The query is repeated, because a broadcast may be lost like any other frame. */
const QUERIES = 3;
const LONGEST_REPEAT_MS = 200;
const IDENTIFY_DEVICE_BITS = 0xa0;

interface Heard {
  readonly path: Path;
  readonly config: TargetConfig;
}

/** Asks everyone who is there, then each of them for its disk. Sorted by address. */
export async function discoverTargets(
  transport: Transport,
  options: DiscoverOptions = {},
): Promise<{ target: DiscoveredTarget; path: Path }[]> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const heard = await queryEveryone(transport, options, timeoutMs);
  const found = heard.map(async ({ path, config }) => {
    const target = await describe(transport, path, config, Math.max(timeoutMs, 200));
    return { target, path };
  });
  const targets = await Promise.all(found);
  return targets.toSorted(
    ({ path: one }, { path: other }) =>
      one.shelf - other.shelf || one.slot - other.slot || one.mac - other.mac,
  );
}

async function queryEveryone(
  transport: Transport,
  options: DiscoverOptions,
  timeoutMs: number,
): Promise<Heard[]> {
  const heard = new Map<string, Heard>();
  const { shelf = ALL_SHELVES, slot = ALL_SLOTS, enough = Number.POSITIVE_INFINITY } = options;
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  const tag = transport.listen({
    heard: (reply) => {
      const { bytes, at } = reply;
      if (command(bytes, at) !== AoeCommand.config) return;
      if ((flags(bytes, at) & AoeFlag.error) !== 0) return;
      const config = readConfig(reply);
      if (config === undefined) return;
      const path = new Path(
        shelfOf(bytes, at),
        slotOf(bytes, at),
        sourceMac(bytes, at),
        options.shortestTimeoutMs,
      );
      if (!heard.has(path.name)) heard.set(path.name, { path, config });
      if (heard.size >= enough) finish();
    },
  });
  const query = (): void => {
    const header = { mac: BROADCAST, shelf, slot, command: AoeCommand.config, tag };
    transport.sendOnce(header, writeConfigQuery);
  };
  query();
  const repeat = setInterval(query, Math.min(timeoutMs / QUERIES, LONGEST_REPEAT_MS));
  const deadline = setTimeout(finish, timeoutMs);
  await finished;
  clearInterval(repeat);
  clearTimeout(deadline);
  transport.unlisten(tag);
  return [...heard.values()];
}

async function describe(
  transport: Transport,
  path: Path,
  config: TargetConfig,
  timeoutMs: number,
): Promise<DiscoveredTarget> {
  const { bufferCount, maxSectors, firmwareVersion, configString } = config;
  const known = {
    shelf: path.shelf,
    slot: path.slot,
    mac: formatMac(path.mac),
    interface: transport.port.name,
    bufferCount,
    maxSectors,
    firmwareVersion,
    configString,
  };
  try {
    const answer = await identify(transport, path, timeoutMs);
    if ((answer.status & FAILURE_BITS) !== 0) {
      return { ...known, fault: `IDENTIFY failed with status 0x${answer.status.toString(16)}` };
    }
    return { ...known, ...readIdentify(answer.data, 0) };
  } catch (error) {
    return { ...known, fault: messageOf(error) };
  }
}

async function identify(transport: Transport, path: Path, timeoutMs: number): Promise<AtaAnswer> {
  return new Promise((resolve, reject) => {
    const outcome = { succeeded: resolve, failed: reject };
    transport.submit(identifyRequest(path, outcome), timeoutMs);
  });
}

/** IDENTIFY DEVICE as the Linux driver sends it. */
export function identifyRequest(path: Path, outcome: AtaOutcome): AtaRequest {
  const fields = {
    command: AtaOpcode.identifyDevice,
    flags: 0,
    sectorCount: 1,
    lba: IDENTIFY_DEVICE_BITS * 0x1000000,
    dataInBytes: IDENTIFY_BYTES,
  };
  return new AtaRequest(path, fields, outcome);
}
