import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FrameArena } from "../arena/frame-arena.ts";
import type { Configuration } from "../config/configuration.ts";
import { parseConfiguration } from "../config/load.ts";
import { HarnessPort } from "../conformance/harness-port.testing.ts";
import { createLog } from "../log/log.ts";
import { macOctets } from "../conformance/frames.testing.ts";
import type { RunningServer } from "./running-server.ts";
import { type Server, startServer } from "./server.ts";

/** A whole server with stores on disk and a real control socket, on a wire that nobody is on. */
export class CasServer {
  readonly folder = mkdtempSync(join(tmpdir(), "aoed-server-"));
  readonly logged: string[] = [];
  readonly socket = join(this.folder, "control.sock");
  readonly arena = new FrameArena(64);
  /** The wire that it is on; a new one at each start. */
  port = this.#wire();
  #running: RunningServer<Server> | undefined;
  #isStopping = false;

  get running(): RunningServer<Server> {
    if (this.#running === undefined) throw new Error("the server does not run");
    return this.#running;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** @param targets what follows `[server]` in the configuration file */
  async start(targets: string): Promise<RunningServer<Server>> {
    const log = createLog({
      level: "info",
      humanReadable: false,
      stream: { write: (line) => this.logged.push(line) },
    });
    this.port = this.#wire();
    this.#isStopping = false;
    this.#running = await startServer(this.#configuration(targets), log, {
      arena: this.arena,
      ports: [this.port],
      // Time stands still until the end: a busy machine must not make it drop frames as too old.
      clock: () => (this.#isStopping ? performance.now() : 0),
    });
    return this.#running;
  }

  #wire(): HarnessPort {
    return new HarnessPort("wire0", macOctets("02:ae:00:00:00:01"), 1500, this.arena);
  }

  #configuration(targets: string): Configuration {
    const server = `[server]\ninterface = "wire0"\ncontrol_socket = "control.sock"\n`;
    const text = `${server}state_dir = "state"\n${targets}`;
    mkdirSync(this.folder, { recursive: true });
    return parseConfiguration(text, this.path("aoed.toml"));
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running?.stop();
    this.#running = undefined;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The lines of one cas target. */
export function casTarget(slot: number, store: string, keys = "", casKeys = ""): string {
  const target = `[[target]]\nshelf = 1\nslot = ${slot}\nbackend = "cas"\n${keys}\n`;
  return `${target}[target.cas]\npath = "${store}"\n${casKeys}\n`;
}
