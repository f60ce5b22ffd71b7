import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { Child } from "./child.ts";
import { until } from "./command.ts";
import { type Client, type ClientOptions, Step } from "./client.ts";

const BOOT_TIMEOUT_MS = 240_000;
const POWER_OFF_TIMEOUT_MS = 5000;
const MEMORY = "512M";
/** Of the driver in the guest, frames it takes from its TAP at once; 64 is its default. */
const QUEUE_DEPTH = 128;
const COMPLAINT = /I\/O error|EXT4-fs (error|warning)|aoe: .*(error|not responding)|BUG:|WARNING:/;
const clientFolder = resolve(import.meta.dirname, "../client");

/**
 * User-mode Linux: a kernel that runs as a process in the test's namespace, with the host's files
 * as its read-only root and a TAP for every segment. A script is a file in the exchange folder,
 * started by its number on the guest's console.
 */
export class Guest implements Client {
  readonly exchange: string;
  readonly #child: Child;
  readonly interfaces: readonly string[];
  #steps = 0;

  private constructor(exchange: string, child: Child, interfaces: string[]) {
    this.exchange = exchange;
    this.#child = child;
    this.interfaces = interfaces;
  }

  static async boot({ folder, segments }: ClientOptions): Promise<Guest> {
    const [first] = segments;
    if (first === undefined) throw new Error("a guest needs a segment");
    const exchange = join(folder, "exchange");
    mkdirSync(exchange, { recursive: true });
    const interfaces = segments.map((_, index) => `vec${index}`);
    const command = first.client.command(
      "linux.uml",
      `mem=${MEMORY}`,
      "rootfstype=hostfs",
      "ro",
      `init=${join(clientFolder, "guest-init.sh")}`,
      "con0=fd:0,fd:1",
      "con=null",
      "ssl=null",
      "umid=guest",
      `uml_dir=${folder}/`,
      ...segments.map(
        ({ clientInterface, mtuBytes }, index) =>
          `vec${index}:transport=tap,ifname=${clientInterface},depth=${QUEUE_DEPTH},` +
          `mtu=${mtuBytes},mac=02:00:00:00:00:0${index + 1}`,
      ),
      // The kernel hands down to init what it does not know.
      `EXCHANGE=${exchange}`,
      `PRELUDE=${join(clientFolder, "prelude.sh")}`,
      `MTU=${first.mtuBytes}`,
      `INTERFACES=${interfaces.join(",")}`,
    );
    const child = new Child(folder, command, join(folder, "guest-console.log"));
    const guest = new Guest(exchange, child, interfaces);
    const isUp = () => {
      guest.#assertAlive();
      return child.log.includes("guest: up");
    };
    await until("the guest to boot", isUp, { timeoutMs: BOOT_TIMEOUT_MS });
    return guest;
  }

  start(script: string): Step {
    this.#steps += 1;
    const step = new Step(this.exchange, this.#steps, script, () => this.#assertAlive());
    this.#child.write(`${this.#steps}\n`);
    return step;
  }

  run(script: string, timeoutMs?: number): Promise<string> {
    return this.start(script).finish(timeoutMs);
  }

  async loadDriver(): Promise<void> {
    const module = "/usr/lib/uml/modules/$(uname -r)/kernel/drivers/block/aoe/aoe.ko";
    await this.run(`insmod ${module} aoe_iflist=${this.interfaces.join(",")}`);
  }

  complaints(): string[] {
    return this.#child.log.split("\n").filter((line) => COMPLAINT.test(line));
  }

  describe(): string {
    return this.#child.log.split("\n").slice(-40).join("\n");
  }

  async close(): Promise<void> {
    this.#child.write("off\n");
    // A guest that still waits for its disk does not power off, and need not.
    await this.#child.end(POWER_OFF_TIMEOUT_MS).catch(() => {});
  }

  #assertAlive(): void {
    if (this.#child.ending === undefined) return;
    throw new Error(`the guest's kernel ended; the end of its console:\n${this.describe()}`);
  }
}
