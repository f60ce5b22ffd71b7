import { readMac } from "../aoe/header.wire.ts";
import type { Announcer } from "../aoe/announcer.ts";
import type { Responder } from "../aoe/responder.ts";
import type { FrameArena } from "../arena/frame-arena.ts";
import type {
  CasTargetStatus,
  InitiatorStatus,
  MemoryStatus,
  PortStatus,
  ServerStatus,
  TargetStateStatus,
  TargetStatus,
} from "../control/control-api.ts";
import type { ServedPort } from "../ethernet/frame-service.ts";
import type { TargetManager } from "../target/target-manager.ts";
import { formatMac } from "../mac-address.ts";
import type { InitiatorFigures } from "../metrics/initiator-table.ts";
import { LATENCY_BOUNDS_US } from "../metrics/latency-buckets.ts";
import type { Target } from "../target/target.ts";
import type { CasTargets, ServedVolume } from "./cas-targets.ts";
import type { Meters } from "./meters.ts";
import type { ServerStores } from "./server-stores.ts";
import { VERSION } from "./version.ts";

export interface ServerParts {
  readonly arena: FrameArena;
  readonly targets: TargetManager;
  readonly responder: Responder;
  readonly announcer: Announcer;
  readonly ports: readonly ServedPort[];
  readonly stores: ServerStores;
  readonly meters: Meters;
}

/** Everything that `aoed status` shows, as it is now. */
export function serverStatus(parts: ServerParts): ServerStatus {
  return {
    version: VERSION,
    processId: process.pid,
    uptimeSeconds: Math.round(process.uptime()),
    exchanges: { ...parts.responder.statistics },
    foreignAnnouncements: parts.announcer.foreignAnnouncements,
    arenaFrames: parts.arena.frameCount,
    arenaFramesFree: parts.arena.freeCount,
    ports: parts.ports.map(portStatus),
    targets: parts.targets.all().map((target) => targetStatus(target, parts.stores.targets)),
    stores: parts.stores.all().map((store) => store.statusNow()),
    initiators: initiatorStatuses(parts.responder.meter.initiators.figures()),
    initiatorsForgotten: parts.responder.meter.initiators.evictions,
    eventLoops: [parts.meters.eventLoop.figures()],
    silentWorkers: [],
    memory: memoryStatus(),
    latencyBoundsUs: LATENCY_BOUNDS_US,
  };
}

/** The table knows the clock that only grows; people know the other one. */
function initiatorStatuses(figures: readonly InitiatorFigures[]): InitiatorStatus[] {
  const startedMs = Date.now() - performance.now();
  const isoTime = (ms: number): string => new Date(startedMs + ms).toISOString();
  return figures.map(({ mac, firstSeenMs, lastSeenMs, ...counts }) => ({
    mac: formatMac(mac),
    ...counts,
    firstSeen: isoTime(firstSeenMs),
    lastSeen: isoTime(lastSeenMs),
  }));
}

function memoryStatus(): MemoryStatus {
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  return { residentBytes: rss, heapUsedBytes: heapUsed, arrayBufferBytes: arrayBuffers };
}

function portStatus(served: ServedPort): PortStatus {
  return {
    interface: served.name,
    mac: formatMac(readMac(served.mac, 0)),
    mtuBytes: served.mtuBytes,
    up: served.port.link.up,
    statistics: { ...served.port.statistics },
    drops: { ...served.drops },
  };
}

export function targetStatus(target: Target, casTargets: CasTargets): TargetStatus {
  return {
    shelf: target.shelf,
    slot: target.slot,
    storage: target.storage.info(),
    statistics: { ...target.statistics },
    storageStatistics: { ...target.storage.statistics },
    commands: target.metrics.commands(),
    errors: target.metrics.errors(),
    rates: target.metrics.rates,
    outstanding: target.commandsUnderWay,
    faulted: isoTimeOrNull(target.metrics.faultedAtMs),
    suspended: target.isSuspended,
    state: targetStateStatus(target),
    cas: casTargetStatus(casTargets.served.get(target.name)),
  };
}

function isoTimeOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}

function casTargetStatus(served: ServedVolume | undefined): CasTargetStatus | null {
  if (served === undefined) return null;
  const { store, volume, name = null, snapshot = null } = served;
  const { hits, misses } = volume.cacheStatistics;
  return {
    store: store.path,
    volume: name,
    snapshot,
    cacheHits: hits,
    cacheMisses: misses,
    dirtyBlocks: volume.state.dirtyBlocks,
  };
}

export function targetStateStatus(target: Target): TargetStateStatus {
  return {
    configString: Buffer.from(target.state.configString).toString("base64"),
    mask: target.state.mask.map(formatMac),
    reservation: target.state.reservation.map(formatMac),
  };
}
