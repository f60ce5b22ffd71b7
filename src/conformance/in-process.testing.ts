import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { Announcer } from "../aoe/announcer.ts";
import { Responder } from "../aoe/responder.ts";
import { FrameArena } from "../arena/frame-arena.ts";
import { AtaEngine } from "../ata/ata-engine.ts";
import { FrameService } from "../ethernet/frame-service.ts";
import { parseMac } from "../target/mac.ts";
import { loadState, saveState, stateFilePath } from "../target/state-file.ts";
import { TargetManager } from "../target/target-manager.ts";
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
const IDENTITY = { bufferCount: BUFFER_COUNT, firmwareVersion: 0x0001 };

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

/** The parts of a running server, over disks that outlive it. */
interface Running {
  readonly targets: TargetManager;
  readonly responder: Responder;
  readonly announcer: Announcer;
  readonly service: FrameService;
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
  #running: Running | undefined;

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

  get running(): Running {
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
    const { arena } = this;
    const targets = new TargetManager();
    const announcer = new Announcer(arena, targets, IDENTITY, () => {});
    const responder = new Responder({
      arena,
      targets,
      engine: new AtaEngine("0.0.0"),
      identity: IDENTITY,
      onResponse: (port, frameOffset) => announcer.hear(port, frameOffset),
    });
    for (const target of this.#options.targets ?? []) await this.#addTarget(targets, target);
    const ports = this.ports.map((port) => port);
    const service = new FrameService({ targets, responder, ports, clock: () => 0 });
    announcer.ports = service.ports;
    this.#running = { targets, responder, announcer, service };
    service.start();
    announcer.announceAll();
    await nextTurn();
  }

  async #addTarget(targets: TargetManager, options: TargetOptions): Promise<void> {
    const { shelf, slot } = options;
    const path = stateFilePath(this.#stateDirectory, shelf, slot);
    const storage = this.disks.get(nameOf(options)) ?? this.#newDisk(options);
    const target = targets.add({
      shelf,
      slot,
      storage,
      allow: (options.allow ?? []).map((mac) => parseMac(mac) ?? 0),
      state: await loadState(path),
      saveState: async (state) => saveState(this.#stateDirectory, path, state),
    });
    storage.onResize = () => this.#running?.announcer.announceTarget(target);
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
