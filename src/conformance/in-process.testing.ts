import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { FrameArena } from "../arena/frame-arena.ts";
import { parseMac } from "../target/mac.ts";
import { loadState, saveState, stateFilePath } from "../target/state-file.ts";
import type { TargetOptions as ServedTarget } from "../target/target.ts";
import { assembleServer } from "./assembled-server.testing.ts";
import type { AssembledServer } from "./assembled-server.testing.ts";
import { macOctets, macText } from "./frames.testing.ts";
import type { Mac } from "./frames.testing.ts";
import { HarnessPort } from "./harness-port.testing.ts";
import { DISK_SECTORS } from "./rig.testing.ts";
import type {
  Controls,
  ServerUnderTest,
  StartOptions,
  TargetOptions,
  Wire,
} from "./rig.testing.ts";
import { TestStorage } from "./test-storage.testing.ts";

const ARENA_FRAMES = 512;
const BUFFER_COUNT = 16;

/** The wire of one HarnessPort. */
class HarnessWire implements Wire {
  readonly replyTimeoutMs = 2000;
  readonly port: HarnessPort;
  readonly #isIdle: () => boolean;
  readonly #inbox: Uint8Array[] = [];
  #onFrame: (() => void) | undefined;

  constructor(port: HarnessPort, isIdle: () => boolean) {
    this.port = port;
    this.#isIdle = isIdle;
    port.onSent = (frame) => {
      this.#inbox.push(frame);
      this.#onFrame?.();
    };
  }

  get mtuBytes(): number {
    return this.port.link.mtuBytes;
  }

  serverMac(): Mac {
    return macText(this.port.link.mac);
  }

  send(frame: Uint8Array): void {
    this.port.inject(frame);
  }

  async receive(timeoutMs: number): Promise<Uint8Array | null> {
    const deadline = performance.now() + timeoutMs;
    while (this.#inbox.length === 0) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) return null;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#onFrame = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#onFrame = undefined;
    }
    return this.#inbox.shift() ?? null;
  }

  async settle(): Promise<void> {
    for (let turn = 0; turn < 1000 && !this.#isIdle(); turn++) await nextTurn();
    for (let wait = 0; wait < 10 && !this.#isIdle(); wait++) await delay(2);
    await nextTurn();
  }
}

/** aoed's own layers in this process, over harness ports and test disks. */
export class InProcessServer implements ServerUnderTest {
  readonly name = "aoed in process";
  readonly houseRules = true;
  readonly arena = new FrameArena(ARENA_FRAMES);
  readonly disks = new Map<string, TestStorage>();
  ports: HarnessPort[] = [];
  #options: StartOptions = {};
  #stateDirectory = "";
  #running: AssembledServer | undefined;

  readonly controls: Partial<Controls> = {
    killAndRestart: async () => {
      this.#abandon();
      await this.#run();
    },
    holdStorage: () => {
      for (const disk of this.disks.values()) disk.hold();
    },
    releaseStorage: () => {
      for (const disk of this.disks.values()) disk.releaseHeld();
    },
    failSector: (lba, operation) => {
      for (const disk of this.disks.values()) disk.failSector(lba, operation);
    },
    resize: async (target, sectors) => {
      this.disks.get(nameOf(target))?.resize(sectors);
      return Promise.resolve();
    },
    foreignBeacons: async () => Promise.resolve(this.running.announcer.foreignAnnouncements),
  };

  get running(): AssembledServer {
    if (this.#running === undefined) throw new Error("the server does not run");
    return this.#running;
  }

  async start(options: StartOptions): Promise<Wire[]> {
    this.#options = options;
    this.#stateDirectory = await mkdtemp(join(tmpdir(), "aoed-conformance-"));
    this.ports = Array.from({ length: options.interfaces ?? 1 }, (_, index) => {
      const mac = macOctets(`02:ae:00:00:00:0${index + 1}`);
      return new HarnessPort(`wire${index}`, mac, options.mtuBytes ?? 1500, this.arena);
    });
    const wires = this.ports.map((port) => new HarnessWire(port, () => this.#isIdle()));
    await this.#run();
    return wires;
  }

  async stop(): Promise<void> {
    for (const disk of this.disks.values()) disk.releaseHeld();
    if (this.#running !== undefined) {
      await this.#running.service.stop(1000);
      await this.#running.targets.close();
    }
    this.#running = undefined;
    this.disks.clear();
    if (this.#stateDirectory !== "") await rm(this.#stateDirectory, { recursive: true });
    this.#stateDirectory = "";
  }

  #isIdle(): boolean {
    if (this.ports.some((port) => port.waitingFrames > 0)) return false;
    return this.running.responder.inFlight === 0;
  }

  async #run(): Promise<void> {
    const targets = await Promise.all((this.#options.targets ?? []).map((t) => this.#target(t)));
    const { arena, ports } = this;
    this.#running = assembleServer({ arena, ports, targets, bufferCount: BUFFER_COUNT });
    await nextTurn();
  }

  async #target(options: TargetOptions): Promise<ServedTarget> {
    const { shelf, slot } = options;
    const path = stateFilePath(this.#stateDirectory, shelf, slot);
    return {
      shelf,
      slot,
      storage: this.disks.get(nameOf(options)) ?? this.#newDisk(options),
      allow: (options.allow ?? []).map((mac) => parseMac(mac) ?? 0),
      state: await loadState(path),
      saveState: async (state) => saveState(this.#stateDirectory, path, state),
    };
  }

  #newDisk(options: TargetOptions): TestStorage {
    const { sectors = DISK_SECTORS, readOnly = false } = options;
    const disk = new TestStorage(sectors, readOnly, this.arena);
    this.disks.set(nameOf(options), disk);
    return disk;
  }

  /** What a killed process leaves: nothing but disks and state files. */
  #abandon(): void {
    for (const port of this.ports) port.onReadable = undefined;
    this.#running = undefined;
  }
}

function nameOf({ shelf, slot }: TargetOptions): string {
  return `e${shelf}.${slot}`;
}
