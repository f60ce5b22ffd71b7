import { existsSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { Child } from "./child.ts";
import { type Client, type ClientOptions, Step } from "./client.ts";
import { execute } from "./command.ts";
import { recordHostResource } from "./host-resources.ts";

/**
 * The aoe module of the host's own kernel. It works in the initial namespace only, so the segments
 * end there in a veth, and the driver is told to use nothing else. One test at a time can have it.
 */
export class HostClient implements Client {
  readonly exchange: string;
  readonly #folder: string;
  readonly interfaces: readonly string[];
  #steps = 0;

  constructor({ folder, segments }: ClientOptions) {
    this.#folder = folder;
    this.exchange = join(folder, "exchange");
    const mountPoint = join(this.exchange, "disk");
    mkdirSync(mountPoint, { recursive: true });
    recordHostResource(folder, { kind: "mount", path: mountPoint });
    this.interfaces = segments.map((segment) => segment.hostInterface);
  }

  /** Why this host cannot be the client, or undefined when it can. */
  static async obstacle(): Promise<string | undefined> {
    if (existsSync("/sys/module/aoe")) return "the aoe module is loaded: somebody uses it here";
    const { status } = await execute(["modprobe", "--dry-run", "aoe"]);
    return status === 0 ? undefined : "this kernel has no aoe module (use KERNEL=uml)";
  }

  start(script: string): Step {
    this.#steps += 1;
    const number = this.#steps;
    const step = new Step(this.exchange, number, script, () => {});
    const prelude = resolve(import.meta.dirname, "../client/prelude.sh");
    const runner = `cd "$EXCHANGE"; (set -eu; . ${prelude}; . ./${number}.sh)
      echo $? >${number}.result; mv ${number}.result ${number}.status`;
    const command = ["env", `EXCHANGE=${this.exchange}`, "sh", "-c", runner];
    void new Child(this.#folder, command, join(this.exchange, `${number}.log`));
    return step;
  }

  run(script: string, timeoutMs?: number): Promise<string> {
    return this.start(script).finish(timeoutMs);
  }

  async loadDriver(): Promise<void> {
    recordHostResource(this.#folder, { kind: "module", name: "aoe" });
    await this.run(`modprobe aoe aoe_iflist=${this.interfaces.join(",")}`);
  }

  /** The host's log is not this test's alone. */
  complaints(): string[] {
    return [];
  }

  describe(): string {
    return "see dmesg";
  }

  async close(): Promise<void> {
    await this.run("umount disk 2>/dev/null || true; rmmod aoe");
  }
}
