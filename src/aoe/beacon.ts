import type { FrameArena } from "../arena/frame-arena.ts";
import type { Target } from "../target/target.ts";
import type { ConfigIdentity } from "./config-query.ts";
import { ConfigCommand, writeConfig } from "./config.wire.ts";
import {
  AOE_HEADER_BYTES,
  AoeCommand,
  AoeFlag,
  MINIMUM_FRAME_BYTES,
  readMac,
  writeHeader,
} from "./header.wire.ts";
import { advertisedSectors, type ReplyPort } from "./reply-port.ts";

const BROADCAST = 0xffffffffffff;

/**
 * Announces a target: a Config response that nobody asked for (AoEr11 §3.2). Initiators that see it
 * look at the disk at once instead of at their next query, a minute later. A target with a mask
 * list announces itself to those on it only.
 */
export function sendBeacons(
  arena: FrameArena,
  port: ReplyPort,
  target: Target,
  identity: ConfigIdentity,
): void {
  const { mask } = target.state;
  for (const destination of mask.length > 0 ? mask : [BROADCAST]) {
    const frame = arena.allocate();
    // Without a free frame the server is busy answering: it needs no announcement.
    if (frame === -1) return;
    port.send(
      frame,
      writeBeacon(arena.bytes, arena.frameOffset(frame), port, target, identity, destination),
    );
  }
}

function writeBeacon(
  bytes: Uint8Array,
  at: number,
  port: ReplyPort,
  target: Target,
  identity: ConfigIdentity,
  destination: number,
): number {
  bytes.fill(0, at + AOE_HEADER_BYTES, at + MINIMUM_FRAME_BYTES);
  writeHeader(bytes, at, {
    destinationMac: destination,
    sourceMac: readMac(port.mac, 0),
    flags: AoeFlag.response,
    shelf: target.shelf,
    slot: target.slot,
    command: AoeCommand.config,
    tag: 0,
  });
  const config = {
    ...identity,
    sectorCount: advertisedSectors(port.mtuBytes),
    command: ConfigCommand.read,
  };
  const lengthBytes = writeConfig(bytes, at, config, target.state.configString);
  return Math.max(lengthBytes, MINIMUM_FRAME_BYTES);
}
