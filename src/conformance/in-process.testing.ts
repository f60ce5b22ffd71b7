import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { FrameArena } from "../arena/frame-arena.ts";
import { parseConfiguration } from "../config/load.ts";
import type { ServerStatus } from "../control/control-api.ts";
import { UsageError } from "../errors.ts";
import { parseMac } from "../mac-address.ts";
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
import {
  makeStateDirectory,
  removeStateDirectory,
  startTestServer,
  type TestServer,
  type TestTarget,
} from "./test-server.testing.ts";
import { TestStorage } from "./test-storage.testing.ts";

const ARENA_FRAMES = 512;

/** The wire of one HarnessPort. */
class HarnessWire implements Wire {
  readonly replyTimeoutMs = 20_000;
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

  /** Idle is seen from the inside; only what a held disk keeps may still be under way. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 1000 && !this.#isIdle(); turn++) await nextTurn();
    for (let wait = 0; wait < 10 && !this.#isIdle(); wait++) await delay(2);
    await nextTurn();
  }
}

/** The whole server in this process, over harness ports and test disks. */
export class InProcessServer implements ServerUnderTest {
  readonly name = "aoed in process";
  readonly houseRules = true;
  readonly arena = new FrameArena(ARENA_FRAMES);
  readonly disks = new Map<string, TestStorage>();
  ports: HarnessPort[] = [];
  #options: StartOptions = {};
  #stateDirectory = "";
  #running: TestServer | undefined;

  readonly controls: Partial<Controls> = {
    killAndRestart: async () => {
      this.#abandon();
      await this.#run();
    },
    setMtu: async (mtuBytes) => this.#changeLink({ mtuBytes }),
    setMac: async (mac) => this.#changeLink({ mac: macOctets(mac) }),
    setLink: async (up) => this.#changeLink({ up }),
    clearState: async ({ shelf, slot }) => {
      const everything = { configString: true, mask: true, reservation: true };
      await this.running.api.clear(shelf, slot, everything);
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
      this.disks.get(nameOf(target))?.setSectors(sectors);
      return Promise.resolve();
    },
    addTarget: async (target) => this.running.addTarget(this.#diskOf(target)),
    removeTarget: async ({ shelf, slot }) => this.running.api.removeTarget(shelf, slot),
    refusesAddress: async (shelf, slot) => {
      const target = `[[target]]\nshelf = ${shelf}\nslot = ${slot}\nbackend = "memory"\n`;
      const text = `[server]\ninterface = "lo"\n${target}size = "1MiB"\n`;
      try {
        parseConfiguration(text, "aoed.toml");
        return Promise.resolve(false);
      } catch (error) {
        if (error instanceof UsageError) return true;
        throw error;
      }
    },
    foreignBeacons: async () => Promise.resolve(this.status().foreignAnnouncements),
  };

  get running(): TestServer {
    if (this.#running === undefined) throw new Error("the server does not run");
    return this.#running;
  }

  status(): ServerStatus {
    return this.running.statusNow();
  }

  async start(options: StartOptions): Promise<Wire[]> {
    this.#options = options;
    this.#stateDirectory = await makeStateDirectory();
    this.ports = Array.from({ length: options.interfaces ?? 1 }, (_, index) => {
      const mac = macOctets(`02:ae:00:00:00:0${index + 1}`);
      return new HarnessPort(`wire${index}`, mac, options.mtuBytes ?? 1500, this.arena);
    });
    const wires = this.ports.map((port) => new HarnessWire(port, () => this.isIdle()));
    await this.#run();
    return wires;
  }

  async stop(): Promise<void> {
    for (const disk of this.disks.values()) disk.releaseHeld();
    await this.#running?.stop();
    this.#running = undefined;
    this.disks.clear();
    if (this.#stateDirectory !== "") await removeStateDirectory(this.#stateDirectory);
    this.#stateDirectory = "";
  }

  isIdle(): boolean {
    if (this.ports.some((port) => port.waitingFrames > 0)) return false;
    const { started, answered, dropped } = this.status().exchanges;
    return started === answered + dropped;
  }

  async #run(): Promise<void> {
    const { arena, ports } = this;
    const targets = (this.#options.targets ?? []).map((target) => this.#diskOf(target));
    const stateDirectory = this.#stateDirectory;
    this.#running = await startTestServer({ arena, ports, targets, stateDirectory });
  }

  #diskOf(target: TargetOptions): TestTarget {
    return {
      shelf: target.shelf,
      slot: target.slot,
      storage: this.disks.get(nameOf(target)) ?? this.#newDisk(target),
      allow: (target.allow ?? []).map((mac) => parseMac(mac) ?? 0),
    };
  }

  #newDisk(options: TargetOptions): TestStorage {
    const { sectors = DISK_SECTORS, readOnly = false } = options;
    const disk = new TestStorage(sectors, readOnly, this.arena);
    this.disks.set(nameOf(options), disk);
    return disk;
  }

  async #changeLink(change: Parameters<HarnessPort["change"]>[0]): Promise<void> {
    for (const port of this.ports) port.change(change);
    await nextTurn();
  }

  /** What a killed process leaves: nothing but disks and state files. */
  #abandon(): void {
    for (const port of this.ports) {
      port.onReadable = undefined;
      port.onLinkChange = undefined;
    }
    this.#running = undefined;
  }
}

function nameOf({ shelf, slot }: TargetOptions): string {
  return `e${shelf}.${slot}`;
}
