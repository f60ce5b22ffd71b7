import type { FrameArena } from "../arena/frame-arena.ts";
import type { TargetManager } from "../target/target-manager.ts";
import type { Target } from "../target/target.ts";
import { sendBeacons } from "./beacon.ts";
import type { ConfigIdentity } from "./config-query.ts";
import {
  AoeCommand,
  command,
  readMac,
  shelf as shelfOf,
  slot as slotOf,
  sourceMac,
} from "./header.wire.ts";
import type { ReplyPort } from "./reply-port.ts";

/**
 * When an announcement is repeated. A switch or bridge that has just seen the link come up drops
 * the first frames, and an initiator that missed an announcement asks by itself only every minute.
 */
const REPEAT_AFTER_MS = [1000, 5000];

/** Another server on the segment says that it has one of our addresses. */
export interface ForeignServer {
  readonly target: Target;
  readonly mac: number;
  readonly port: ReplyPort;
}

/**
 * Tells initiators what is on the shelf, and listens to what others tell them: a second server with
 * one of our addresses is taken by the Linux driver for a second path to the same disk, and both
 * are corrupted.
 */
export class Announcer {
  readonly #arena: FrameArena;
  readonly #targets: TargetManager;
  readonly #identity: ConfigIdentity;
  readonly #onForeignServer: (foreign: ForeignServer) => void;
  /** Announcements of others heard for addresses of ours. */
  foreignAnnouncements = 0;
  ports: readonly ReplyPort[] = [];
  readonly #repetitions = new Set<NodeJS.Timeout>();

  constructor(
    arena: FrameArena,
    targets: TargetManager,
    identity: ConfigIdentity,
    onForeignServer: (foreign: ForeignServer) => void,
  ) {
    this.#arena = arena;
    this.#targets = targets;
    this.#identity = identity;
    this.#onForeignServer = onForeignServer;
  }

  announceAll(): void {
    for (const port of this.ports) this.announcePort(port);
  }

  /** After the link came up, or its MTU or MAC changed; and again a little later. */
  announcePort(port: ReplyPort): void {
    this.#announceTargets(port);
    for (const delayMs of REPEAT_AFTER_MS) {
      const timer = setTimeout(() => {
        this.#repetitions.delete(timer);
        this.#announceTargets(port);
      }, delayMs);
      this.#repetitions.add(timer);
    }
  }

  /** Announces nothing more. */
  stop(): void {
    for (const timer of this.#repetitions) clearTimeout(timer);
    this.#repetitions.clear();
  }

  /** After a target was added, resized or rolled back. */
  announceTarget(target: Target): void {
    for (const port of this.ports) sendBeacons(this.#arena, port, target, this.#identity);
  }

  #announceTargets(port: ReplyPort): void {
    for (const target of this.#targets.all())
      sendBeacons(this.#arena, port, target, this.#identity);
  }

  /** Looks at a response that reached `port`. */
  hear(port: ReplyPort, frameOffset: number): void {
    const { bytes } = this.#arena;
    if (command(bytes, frameOffset) !== AoeCommand.config) return;
    const target = this.#targets.get(shelfOf(bytes, frameOffset), slotOf(bytes, frameOffset));
    if (target === undefined) return;
    const mac = sourceMac(bytes, frameOffset);
    if (this.ports.some((own) => readMac(own.mac, 0) === mac)) return;
    this.foreignAnnouncements++;
    this.#onForeignServer({ target, mac, port });
  }
}
