import { Announcer } from "../aoe/announcer.ts";
import { Responder } from "../aoe/responder.ts";
import type { FrameArena } from "../arena/frame-arena.ts";
import { AtaEngine } from "../ata/ata-engine.ts";
import type { EthernetPort } from "../ethernet/ethernet-port.ts";
import { FrameService } from "../ethernet/frame-service.ts";
import { TargetManager } from "../target/target-manager.ts";
import type { TargetOptions } from "../target/target.ts";

/** The layers of a server put together without configuration, control socket or log. */
export interface AssembledServer {
  readonly targets: TargetManager;
  readonly responder: Responder;
  readonly announcer: Announcer;
  readonly service: FrameService;
}

export interface AssemblyOptions {
  readonly arena: FrameArena;
  readonly ports: readonly EthernetPort[];
  readonly targets: readonly TargetOptions[];
  readonly bufferCount?: number;
}

/**
 * Starts to serve. Time stands still for the service: a busy machine must not make it drop frames
 * that a test is waiting for.
 */
export function assembleServer(options: AssemblyOptions): AssembledServer {
  const { arena, ports } = options;
  const identity = { bufferCount: options.bufferCount ?? 16, firmwareVersion: 1 };
  const targets = new TargetManager();
  const announcer = new Announcer(arena, targets, identity, () => {});
  const responder = new Responder({
    arena,
    targets,
    engine: new AtaEngine("0.0.0"),
    identity,
    onResponse: (port, frameOffset) => announcer.hear(port, frameOffset),
  });
  for (const target of options.targets) {
    const added = targets.add(target);
    added.storage.onResize = () => announcer.announceTarget(added);
  }
  const service = new FrameService({ targets, responder, ports, clock: () => 0 });
  announcer.ports = service.ports;
  service.start();
  announcer.announceAll();
  return { targets, responder, announcer, service };
}
