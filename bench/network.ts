import { run } from "./child-process.ts";

/**
 * Two network namespaces with a veth pair between them: one machine each for a server and its
 * client. The names in the initial namespace begin with aoedbench and the process id; the
 * interfaces inside need no such care.
 */
export class Segment implements AsyncDisposable {
  static readonly serverInterface = "aoedbench0";
  static readonly clientInterface = "aoedbench1";
  readonly #server: string;
  readonly #client: string;

  static async create(name: string, mtuBytes: number): Promise<Segment> {
    const prefix = `aoedbench${process.pid}-${name}`;
    const segment = new Segment(`${prefix}-server`, `${prefix}-client`);
    try {
      await segment.#connect(mtuBytes);
    } catch (error) {
      await segment[Symbol.asyncDispose]();
      throw error;
    }
    return segment;
  }

  private constructor(server: string, client: string) {
    this.#server = server;
    this.#client = client;
  }

  /** `command` as seen from the server's side of the cable, on one processor or a list ("0-1"). */
  onServer(processor: number | string, command: readonly string[]): string[] {
    return inNamespace(this.#server, processor, command);
  }

  onClient(processor: number | string, command: readonly string[]): string[] {
    return inNamespace(this.#client, processor, command);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const namespace of [this.#server, this.#client]) {
      await run("ip", "netns", "delete", namespace).catch(() => {
        // It was never made.
      });
    }
  }

  async #connect(mtuBytes: number): Promise<void> {
    const { serverInterface, clientInterface } = Segment;
    for (const namespace of [this.#server, this.#client]) {
      await run("ip", "netns", "add", namespace);
      // Neighbour and router discovery would be traffic that nobody asked for.
      const setting = "net.ipv6.conf.default.disable_ipv6=1";
      await run("ip", "netns", "exec", namespace, "sysctl", "-q", "-w", setting).catch(() => {
        // A kernel without IPv6.
      });
    }
    const near = [serverInterface, "netns", this.#server];
    const far = [clientInterface, "netns", this.#client];
    await run("ip", "link", "add", ...near, "type", "veth", "peer", "name", ...far);
    for (const [namespace, name] of [
      [this.#server, serverInterface],
      [this.#client, clientInterface],
    ]) {
      await run("ip", "-n", namespace, "link", "set", name, "mtu", String(mtuBytes), "up");
    }
  }
}

function inNamespace(
  name: string,
  processor: number | string,
  command: readonly string[],
): string[] {
  return ["ip", "netns", "exec", name, "taskset", "-c", String(processor), ...command];
}
