import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";

/**
 * A network namespace with one veth pair, "server0" and "client0", that is gone when this process
 * is: its only holder reads from a pipe that we hold.
 */
export class Namespace {
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  static async create(): Promise<Namespace> {
    const script = `set -e
ip link add server0 type veth peer name client0
for name in lo server0 client0; do ip link set "$name" up; done
echo made
exec cat`;
    const holder = spawn("unshare", ["-n", "sh", "-c", script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const made = await Promise.race([once(holder.stdout, "data"), once(holder, "exit")]);
    if (!String(made[0]).startsWith("made")) {
      throw new Error("a network namespace cannot be made here: root and iproute2 are needed");
    }
    return new Namespace(holder);
  }

  /** Words that go before a command to run it in here. */
  get entrance(): string[] {
    return ["nsenter", `--net=/proc/${this.#holder.pid}/ns/net`, "--"];
  }

  run(...words: string[]): string {
    const [program, ...rest] = [...this.entrance, ...words];
    return execFileSync(program, rest, { encoding: "utf8" });
  }

  async remove(): Promise<void> {
    const ended = once(this.#holder, "exit");
    this.#holder.stdin?.end();
    await ended;
  }
}
