import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AOED } from "./aoed-command.ts";
import { Child } from "./child.ts";
import { delay, until } from "./command.ts";
import type { Segment } from "./network.ts";

export interface Target {
  shelf: number;
  slot: number;
  backend: "file" | "device" | "cas";
  /** The file or device; of a volume, the folder of its store. */
  path: string;
  readOnly?: boolean;
  /** Of a volume that is to be made. */
  sizeBytes?: number;
  /** "durable" when nothing is said. */
  durability?: "durable" | "writeback" | "remote";
  /** Of a volume in an object store: keys of [target.cas], and the table behind them. */
  store?: { readonly keys: readonly string[]; readonly table: readonly string[] };
}

/** A server of the tests, which can be killed and started again with the same targets. */
export interface Server {
  readonly kind: ServerKind;
  readonly logFile: string;
  /** Where aoed takes requests; nobody listens there when the server is another one. */
  readonly controlSocket: string;
  /** What it has printed since its last start. */
  readonly log: string;
  /** Resolves when it answers on the wire. */
  start(): Promise<void>;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM; rejects when the exit code is not 0. */
  terminate(): Promise<void>;
  /** Fails the test when it has ended by itself. */
  assertRunning(): void;
  /** The end of its log, for a failed test. */
  describe(): string;
}

/** aoed is what is tested; vblade tests the tests. */
export type ServerKind = "aoed" | "vblade";

export function serverKind(): ServerKind {
  const kind = process.env.SERVER ?? "aoed";
  if (kind !== "aoed" && kind !== "vblade") throw new Error(`SERVER=${kind}: use aoed or vblade`);
  return kind;
}

export interface ServerOptions {
  segments: readonly Segment[];
  /** None: what aoed serves when nobody says what. */
  targets: readonly Target[];
  /** Of aoed. */
  workers: number;
}

const READY_TIMEOUT_MS = 180_000;
const STOP_TIMEOUT_MS = 180_000;

export function createServer(folder: string, options: ServerOptions): Server {
  return serverKind() === "aoed" ? new Aoed(folder, options) : new Vblade(folder, options);
}

class Aoed implements Server {
  readonly kind = "aoed";
  readonly logFile: string;
  readonly controlSocket: string;
  readonly #folder: string;
  readonly #command: string[];
  #child: Child | undefined;

  constructor(folder: string, { segments, targets, workers }: ServerOptions) {
    this.#folder = folder;
    this.logFile = join(folder, "server.log");
    this.controlSocket = join(folder, "control.sock");
    const [first] = segments;
    if (first === undefined) throw new Error("a server needs a segment");
    const options = ["--interface", first.serverInterface];
    if (targets.length > 0) {
      const file = join(folder, "aoed.toml");
      writeFileSync(file, configuration(folder, segments, targets, workers));
      options.splice(0, 2, "--config", file);
    }
    this.#command = first.server.command(AOED, "serve", ...options);
  }

  async start(): Promise<void> {
    // A log for each start: "ready" of the one before does not count.
    const child = new Child(this.#folder, this.#command, nextLog(this.logFile));
    this.#child = child;
    await until(
      "the line 'aoed: ready'",
      () => {
        if (child.ending !== undefined) throw new Error(`aoed ended at once:\n${child.log}`);
        return /^aoed: ready/m.test(child.log);
      },
      { timeoutMs: READY_TIMEOUT_MS },
    );
  }

  async kill(): Promise<void> {
    this.assertRunning();
    this.#child?.killGroup();
    await this.#child?.ended;
  }

  async terminate(): Promise<void> {
    this.assertRunning();
    this.#child?.signal("SIGTERM");
    const ending = await this.#child?.end(STOP_TIMEOUT_MS);
    if (ending?.code !== 0) {
      throw new Error(`SIGTERM: aoed ended with ${JSON.stringify(ending)}, see ${this.logFile}`);
    }
  }

  assertRunning(): void {
    const ending = this.#child?.ending;
    if (ending === undefined) return;
    throw new Error(`aoed ended by itself: ${JSON.stringify(ending)}\n${this.describe()}`);
  }

  get log(): string {
    return this.#child?.log ?? "";
  }

  describe(): string {
    return lastLines(this.log);
  }
}

function configuration(
  folder: string,
  segments: readonly Segment[],
  targets: readonly Target[],
  workers: number,
): string {
  const quote = JSON.stringify;
  const lines = [
    "[server]",
    `interfaces = ${quote(segments.map((segment) => segment.serverInterface))}`,
    `port = ${quote(segments[0]?.port)}`,
    `workers = ${workers}`,
    `state_dir = ${quote(join(folder, "state"))}`,
    `control_socket = ${quote(join(folder, "control.sock"))}`,
  ];
  for (const target of targets) {
    const { shelf, slot, backend, path, readOnly, sizeBytes, durability, store } = target;
    lines.push("", "[[target]]", `shelf = ${shelf}`, `slot = ${slot}`, `backend = "${backend}"`);
    lines.push(`read_only = ${readOnly ?? false}`);
    if (sizeBytes !== undefined) lines.push(`size = ${sizeBytes}`);
    if (durability !== undefined) lines.push(`durability = "${durability}"`);
    if (backend === "cas") lines.push("[target.cas]", ...(store?.keys ?? ['blob_store = "file"']));
    lines.push(`path = ${quote(path)}`, ...(store?.table ?? []));
  }
  return `${lines.join("\n")}\n`;
}

/** One process for each target and interface: vblade knows one of each. */
class Vblade implements Server {
  readonly kind = "vblade";
  readonly logFile: string;
  readonly controlSocket = "";
  readonly #folder: string;
  readonly #commands: string[][];
  #children: Child[] = [];

  constructor(folder: string, { segments, targets }: ServerOptions) {
    this.#folder = folder;
    this.logFile = join(folder, "server.log");
    this.#commands = segments.flatMap(({ server, serverInterface }) =>
      targets.map(({ shelf, slot, path, readOnly }) => {
        const options = ["-b", "64", ...(readOnly === true ? ["-r"] : [])];
        const address = [String(shelf), String(slot), serverInterface, path];
        return server.command("vblade", ...options, ...address);
      }),
    );
  }

  async start(): Promise<void> {
    this.#children = this.#commands.map(
      (command) => new Child(this.#folder, command, nextLog(this.logFile)),
    );
    await until("vblade's first line", () =>
      this.#children.every((child) => child.log.includes("sectors")),
    ).catch(() => this.assertRunning());
    await delay(50);
  }

  async kill(): Promise<void> {
    this.assertRunning();
    for (const child of this.#children) child.killGroup();
    await Promise.all(this.#children.map((child) => child.ended));
  }

  async terminate(): Promise<void> {
    this.assertRunning();
    for (const child of this.#children) child.signal("SIGTERM");
    // It has no handler: the signal itself is its end.
    await Promise.all(this.#children.map((child) => child.end(STOP_TIMEOUT_MS)));
  }

  assertRunning(): void {
    for (const child of this.#children) {
      if (child.ending !== undefined) throw new Error(`vblade ended:\n${this.describe()}`);
    }
  }

  get log(): string {
    return this.#children.map((child) => child.log).join("\n");
  }

  describe(): string {
    return lastLines(this.log);
  }
}

function nextLog(logFile: string): string {
  for (let start = 1; ; start += 1) {
    const file = logFile.replace(".log", `-${start}.log`);
    if (!existsSync(file)) return file;
  }
}

function lastLines(log: string): string {
  return log.split("\n").slice(-30).join("\n");
}
