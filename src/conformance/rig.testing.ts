import type { Mac } from "./frames.testing.ts";
import { Segment } from "./segment.testing.ts";
import type { Station } from "./segment.testing.ts";

/**
 * What the conformance cases need of the world: a server that can be started over prepared disks,
 * and one wire for each of its interfaces. Two adapters implement it: our responder in process over
 * the memory port, and any server process over veth pairs (ours, or a peer's).
 */
export interface ServerUnderTest {
  /** "aoed in process", "vblade 25" */
  readonly name: string;
  /**
   * Whether the choices that the protocol leaves to a server must be ours (docs/conformance.md).
   * Without it a case accepts every reading of the specification.
   */
  readonly houseRules: boolean;
  /** What the harness can do to this server while it runs; a missing one makes a part not apply. */
  readonly controls: Partial<Controls>;

  /** Starts over new disks filled with `diskSector`, and no state of an earlier run. */
  start(options: StartOptions): Promise<Wire[]>;
  /** Ends the server and everything that `start` made. Also after a failed start. */
  stop(): Promise<void>;
}

/** One Ethernet segment that an interface of the server is connected to. */
export interface Wire {
  readonly mtuBytes: number;
  /** How long a reply may take before the case fails. */
  readonly replyTimeoutMs: number;
  /** MAC of the server's interface, as it is now. */
  serverMac(): Mac;
  send(frame: Uint8Array): void;
  /** The next frame that the server sent; null when none came in time. */
  receive(timeoutMs: number): Promise<Uint8Array | null>;
  /** Waits until what was sent has been dealt with, as far as the wire can know. */
  settle(): Promise<void>;
}

export interface TargetOptions {
  readonly shelf: number;
  readonly slot: number;
  readonly sectors?: number;
  readonly readOnly?: boolean;
  /** The administrator's list of admitted initiators; nobody is excluded without it. */
  readonly allow?: readonly Mac[];
}

export interface StartOptions {
  readonly targets?: readonly TargetOptions[];
  readonly mtuBytes?: number;
  readonly interfaces?: number;
}

export const DISK_SECTORS = 2048;
export const DEFAULT_TARGET: TargetOptions = { shelf: 1, slot: 2, sectors: DISK_SECTORS };

export interface Controls {
  /** SIGKILL or its like: no chance to tidy up; then started again over the same disks. */
  killAndRestart(): Promise<void>;
  /** SIGTERM, with its exit code; nothing is started again. */
  terminate(): Promise<number>;
  startAgain(): Promise<void>;
  setMtu(mtuBytes: number): Promise<void>;
  setMac(mac: Mac): Promise<void>;
  setLink(up: boolean): Promise<void>;
  resize(target: TargetOptions, sectors: number): Promise<void>;
  addTarget(target: TargetOptions): Promise<void>;
  removeTarget(target: TargetOptions): Promise<void>;
  /** The administrator clears mask list and reservation of a target. */
  clearState(target: TargetOptions): Promise<void>;
  /** From now on the storage keeps every request until `releaseStorage`. */
  holdStorage(): void;
  releaseStorage(): void;
  /** Reads of this sector fail, or writes to it do. */
  failSector(lba: number, operation: "read" | "write"): void;
  /** Spoils what the disk keeps of this sector, behind the server's back. */
  corruptSector(lba: number): Promise<void>;
  /** How many foreign announcements of our own addresses were noticed. */
  foreignBeacons(): Promise<number>;
  /** The server does nothing until `resume` (SIGSTOP). */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Frames that came and were neither answered nor looked at. */
  lostFrames(): Promise<number>;
  /** Whether a configuration with this address is refused. */
  refusesAddress(shelf: number, slot: number): Promise<boolean>;
}

/** Thrown by a case, or a part of one, that cannot be asked of this server. */
export class NotApplicable extends Error {}

export interface ConformanceCase {
  /** Its number in the list of wire cases. */
  readonly number: number;
  readonly title: string;
  run(rig: Rig): Promise<void>;
}

export interface Network {
  readonly segments: readonly Segment[];
  readonly segment: Segment;
  /** Three initiators on the first segment. */
  readonly alice: Station;
  readonly bob: Station;
  readonly carol: Station;
}

const ALICE: Mac = "02:a0:e0:00:00:0a";
const BOB: Mac = "02:a0:e0:00:00:0b";
const CAROL: Mac = "02:a0:e0:00:00:0c";

/** What one case gets: it starts servers, and names the parts that could not be asked. */
export class Rig {
  readonly server: ServerUnderTest;
  readonly notApplied: string[] = [];
  #isRunning = false;

  constructor(server: ServerUnderTest) {
    this.server = server;
  }

  get houseRules(): boolean {
    return this.server.houseRules;
  }

  /** Starts the server anew; one that runs is ended first. */
  async start(options: StartOptions = {}): Promise<Network> {
    await this.stop();
    this.#isRunning = true;
    const targets = options.targets ?? [DEFAULT_TARGET];
    const wires = await this.server.start({ ...options, targets });
    const segments = wires.map((wire) => new Segment(wire, targets));
    const [segment] = segments;
    return {
      segments,
      segment,
      alice: segment.station(ALICE),
      bob: segment.station(BOB),
      carol: segment.station(CAROL),
    };
  }

  async stop(): Promise<void> {
    if (this.#isRunning) await this.server.stop();
    this.#isRunning = false;
  }

  /** A control that the whole case depends on. */
  control<Name extends keyof Controls>(name: Name): Controls[Name] {
    const control = this.server.controls[name];
    if (control === undefined) throw new NotApplicable(`${this.server.name} has no ${name}`);
    return control;
  }

  /** A part of a case that is left out, and said to be, where the server does not offer it. */
  async part(description: string, run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      if (!(error instanceof NotApplicable)) throw error;
      this.notApplied.push(description);
    } finally {
      await this.stop();
    }
  }
}
