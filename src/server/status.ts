import { readMac } from "../aoe/header.wire.ts";
import type { Announcer } from "../aoe/announcer.ts";
import type { Responder } from "../aoe/responder.ts";
import type { FrameArena } from "../arena/frame-arena.ts";
import type {
  PortStatus,
  ServerStatus,
  TargetStateStatus,
  TargetStatus,
} from "../control/control-api.ts";
import type { ServedPort } from "../ethernet/frame-service.ts";
import type { TargetManager } from "../target/target-manager.ts";
import { formatMac } from "../mac-address.ts";
import type { Target } from "../target/target.ts";
import { VERSION } from "./version.ts";

export interface ServerParts {
  readonly arena: FrameArena;
  readonly targets: TargetManager;
  readonly responder: Responder;
  readonly announcer: Announcer;
  readonly ports: readonly ServedPort[];
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
    targets: parts.targets.all().map(targetStatus),
  };
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

function targetStatus(target: Target): TargetStatus {
  return {
    shelf: target.shelf,
    slot: target.slot,
    storage: target.storage.info(),
    statistics: { ...target.statistics },
    storageStatistics: { ...target.storage.statistics },
    state: targetStateStatus(target),
  };
}

export function targetStateStatus(target: Target): TargetStateStatus {
  return {
    configString: Buffer.from(target.state.configString).toString("base64"),
    mask: target.state.mask.map(formatMac),
    reservation: target.state.reservation.map(formatMac),
  };
}
