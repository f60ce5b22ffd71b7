import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ServerStatus } from "../control/control-api.ts";
import { diskSectors } from "./frames.testing.ts";
import type { Mac } from "./frames.testing.ts";
import { isBeaconOf, ProcessWire } from "./process-wire.testing.ts";
import { placePump, ip, makeLink, removeLinks } from "./veth.testing.ts";
import { DISK_SECTORS, NotApplicable } from "./rig.testing.ts";
import type {
  Controls,
  ServerUnderTest,
  StartOptions,
  TargetOptions,
  Wire,
} from "./rig.testing.ts";

const AOED = fileURLToPath(new URL("../../bin/aoed", import.meta.url));

const FILLED_SECTORS = 8192;
const REFUSAL_TIMEOUT_MS = 20_000;

/**
 * A server as a process of its own over a veth pair. This process must be in a network namespace
 * made for it (scripts/conformance.sh): the interfaces are made here, without asking.
 */
abstract class ExternalServer implements ServerUnderTest {
  abstract readonly name: string;
  abstract readonly houseRules: boolean;
  abstract readonly controls: Partial<Controls>;
  /** How long a reply may take; undefined: as long as a busy machine makes it. */
  protected readonly replyTimeoutMs: number | undefined;
  protected folder = "";
  protected options: StartOptions = {};
  protected wires: ProcessWire[] = [];
  readonly #processes: ChildProcess[] = [];
  #output = "";

  /** Starts the process or processes for `this.options` and waits until they serve. */
  protected abstract launch(): Promise<void>;

  async start(options: StartOptions): Promise<Wire[]> {
    this.options = options;
    this.folder = mkdtempSync(join(tmpdir(), "aoed-conformance-"));
    const pump = placePump(this.folder);
    for (let index = 0; index < (options.interfaces ?? 1); index++) {
      const mtuBytes = options.mtuBytes ?? 1500;
      const mac: Mac = `02:ae:00:00:00:0${index + 1}`;
      makeLink(index, mac, mtuBytes);
      const wire = ProcessWire.open(pump, `own${index}`, mac, mtuBytes, this.replyTimeoutMs);
      this.wires.push(await wire);
    }
    for (const target of this.targets) makeDisk(this.diskPath(target), target.sectors);
    await this.launch();
    return this.wires;
  }

  async stop(): Promise<void> {
    await this.kill();
    for (const wire of this.wires.splice(0)) await wire.close();
    removeLinks();
    if (this.folder !== "") rmSync(this.folder, { recursive: true });
    this.folder = "";
  }

  protected get targets(): readonly TargetOptions[] {
    return this.options.targets ?? [];
  }

  protected diskPath({ shelf, slot }: TargetOptions): string {
    return join(this.folder, `e${shelf}.${slot}.img`);
  }

  /** Starts a program whose output is kept for messages. */
  protected spawn(program: string, ...words: string[]): ChildProcess {
    const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"], cwd: this.folder });
    this.#processes.push(child);
    const keep = (chunk: Uint8Array): void => {
      this.#output = (this.#output + String(chunk)).slice(-4000);
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    return child;
  }

  protected get output(): string {
    return this.#output;
  }

  protected async kill(): Promise<void> {
    await this.signal("SIGKILL");
  }

  /** Ends all processes. @returns their worst exit code, as a shell tells it */
  protected async signal(signal: "SIGKILL" | "SIGTERM"): Promise<number> {
    const codes = this.#processes.splice(0).map(async (child) => {
      if (child.exitCode === null && child.signalCode === null) {
        const ended = once(child, "exit");
        child.kill(signal);
        await ended;
      }
      return child.exitCode ?? 128 + 15;
    });
    return Math.max(0, ...(await Promise.all(codes)));
  }

  /** What can be done to any process on a veth pair. */
  protected commonControls(): Partial<Controls> {
    return {
      killAndRestart: async () => {
        await this.kill();
        await this.launch();
      },
      terminate: async () => this.signal("SIGTERM"),
      startAgain: async () => this.launch(),
      setMtu: async (mtuBytes) => this.#eachLink("mtu", String(mtuBytes)),
      setMac: async (mac) => {
        await this.#eachLink("address", mac);
        for (const wire of this.wires) wire.mac = mac;
      },
      setLink: async (up) => this.#eachLink(up ? "up" : "down"),
      resize: async (target, sectors) => {
        truncateSync(this.diskPath(target), sectors * 512);
        return Promise.resolve();
      },
      pause: async () => this.#send("SIGSTOP"),
      resume: async () => this.#send("SIGCONT"),
    };
  }

  async #send(signal: "SIGSTOP" | "SIGCONT"): Promise<void> {
    for (const child of this.#processes) child.kill(signal);
    return Promise.resolve();
  }

  async #eachLink(...words: string[]): Promise<void> {
    for (const index of this.wires.keys()) ip("link", "set", `server${index}`, ...words);
    return Promise.resolve();
  }
}

/** aoed as users start it: bin/aoed serve with a configuration file. */
export class AoedProcess extends ExternalServer {
  readonly name: string = "aoed";
  readonly houseRules = true;
  get controls(): Partial<Controls> {
    return {
      ...this.commonControls(),
      clearState: async ({ shelf, slot }) => {
        this.aoed(
          "state",
          "clear",
          `${shelf}.${slot}`,
          "--mask",
          "--reservation",
          "--config-string",
        );
        return Promise.resolve();
      },
      foreignBeacons: async () => {
        const status = JSON.parse(this.aoed("status", "--json")) as ServerStatus;
        return Promise.resolve(status.foreignAnnouncements);
      },
      lostFrames: async () => {
        const status = JSON.parse(this.aoed("status", "--json")) as ServerStatus;
        const lost = status.ports.map(
          ({ statistics, drops }) => statistics.receiveOverruns + drops.stale,
        );
        return Promise.resolve(lost.reduce((sum, count) => sum + count, 0));
      },
      addTarget: async (target) => {
        const name = `e${target.shelf}.${target.slot}`;
        makeDisk(this.diskPath(target), target.sectors);
        this.importDisk(target);
        this.aoed("target", "add", name, "--volume", name, "--store", this.storePath);
        return Promise.resolve();
      },
      removeTarget: async ({ shelf, slot }) => {
        this.aoed("target", "remove", `${shelf}.${slot}`);
        return Promise.resolve();
      },
      refusesAddress: async (shelf, slot) => {
        const folder = mkdtempSync(join(tmpdir(), "aoed-conformance-"));
        const path = join(folder, "aoed.toml");
        const disk = join(folder, "disk.img");
        makeDisk(disk, 8);
        const target = `[[target]]\nshelf = ${shelf}\nslot = ${slot}\n`;
        const backend = `backend = "file"\npath = "${disk}"\n`;
        writeFileSync(path, `[server]\ninterface = "lo"\n${target}${backend}`);
        try {
          const child = spawn(AOED, ["check-config", path], { stdio: "ignore" });
          const [code] = await once(child, "exit");
          return code === 2;
        } finally {
          rmSync(folder, { recursive: true });
        }
      },
    };
  }

  protected async launch(): Promise<void> {
    const path = join(this.folder, "aoed.toml");
    writeFileSync(path, this.#configuration());
    const child = this.spawn(AOED, "serve", "--config", path);
    const ready = new Promise<void>((resolve, reject) => {
      child.stdout?.on("data", (chunk) => {
        if (/^aoed: ready/m.test(String(chunk))) resolve();
      });
      child.once("exit", () => reject(new Error(`aoed did not start: ${this.output}`)));
    });
    await ready;
  }

  #configuration(): string {
    const interfaces = [...this.wires.keys()].map((index) => `"server${index}"`).join(", ");
    const lines = [
      "[server]",
      `interfaces = [${interfaces}]`,
      `state_dir = "${this.folder}/state"`,
      `control_socket = "${this.folder}/control.sock"`,
      "buffer_count = 16",
      ...this.serverLines(),
    ];
    for (const target of this.targets) {
      lines.push(
        "[[target]]",
        `shelf = ${target.shelf}`,
        `slot = ${target.slot}`,
        `read_only = ${target.readOnly ?? false}`,
        `allow = [${(target.allow ?? []).map((mac) => `"${mac}"`).join(", ")}]`,
        ...this.backendLines(target),
      );
    }
    return `${lines.join("\n")}\n`;
  }

  /** More keys of the server. */
  protected serverLines(): string[] {
    return [];
  }

  /** What the configuration says of a target's disk, beginning with keys of the target. */
  protected backendLines(target: TargetOptions): string[] {
    return ['backend = "file"', `path = "${this.diskPath(target)}"`];
  }

  protected get storePath(): string {
    return join(this.folder, "store");
  }

  /** Makes a volume of a disk that was made as a file; its name is that of the target. */
  protected importDisk(target: TargetOptions): void {
    const volume = ["--volume", `e${target.shelf}.${target.slot}`];
    const words = ["import", this.diskPath(target), "--into", this.storePath, ...volume];
    execFileSync(AOED, words, { stdio: "ignore" });
  }

  protected aoed(...words: string[]): string {
    const socket = ["--socket", join(this.folder, "control.sock")];
    return execFileSync(AOED, [...words, ...socket], { encoding: "utf8" });
  }
}

/** The same with two threads; the targets of a case are spread over them. */
export class AoedWorkersProcess extends AoedProcess {
  override readonly name = "aoed, two workers";

  protected override serverLines(): string[] {
    return ["workers = 2"];
  }
}

/** Debian's vblade: one process for each target, on one interface. */
export class VbladeProcess extends ExternalServer {
  /** Much of what is asked it does not answer, and the run is to come to its end. */
  protected override readonly replyTimeoutMs = 1500;
  readonly name = "vblade 25";
  readonly houseRules = false;
  readonly controls: Partial<Controls> = {
    ...this.commonControls(),
    refusesAddress: async (shelf, slot) => {
      const server = new VbladeProcess();
      try {
        await server.start({ targets: [{ shelf, slot, sectors: 8 }] });
        return false;
      } catch {
        return true;
      } finally {
        await server.stop();
      }
    },
  };

  protected async launch(): Promise<void> {
    if (this.wires.length > 1) throw new NotApplicable("vblade serves one interface");
    for (const target of this.targets) {
      const { shelf, slot, readOnly = false, allow = [] } = target;
      const words = ["-b", "16"];
      if (readOnly) words.push("-r");
      if (allow.length > 0) words.push("-m", allow.join(","));
      const child = this.spawn(
        "vblade",
        ...words,
        String(shelf),
        String(slot),
        "server0",
        this.diskPath(target),
      );
      await this.#untilAnnounced(child, shelf, slot);
    }
  }

  /** vblade says nothing when it is ready but its beacon. */
  async #untilAnnounced(child: ChildProcess, shelf: number, slot: number): Promise<void> {
    const ended = once(child, "exit").then(() => false);
    const isThere = this.wires[0].waitForFrame(
      (frame) => isBeaconOf(frame, shelf, slot),
      REFUSAL_TIMEOUT_MS,
    );
    if (!(await Promise.race([isThere, ended]))) {
      throw new Error(`vblade did not start: ${this.output}`);
    }
  }
}

/** A sparse file whose first sectors say which they are. */
function makeDisk(path: string, sectors = DISK_SECTORS): void {
  const file = openSync(path, "w");
  writeSync(file, diskSectors(0, Math.min(sectors, FILLED_SECTORS)));
  ftruncateSync(file, sectors * 512);
  closeSync(file);
}
