import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "./command.ts";
import type { Attachment, Segment } from "./network.ts";

/** A Linux with the aoe driver that runs shell scripts for a test. */
export interface Client {
  /** A folder that host and client see, by the host's path; $EXCHANGE in scripts. */
  readonly exchange: string;
  /** The client's own names of its interfaces, one for each segment. */
  readonly interfaces: readonly string[];
  /** Starts a script (prelude.sh is sourced, `set -eu` holds); any number may run at once. */
  start(script: string): Step;
  /** Runs a script that must succeed. @returns what it printed, without the last newline */
  run(script: string, timeoutMs?: number): Promise<string>;
  /** Loads the driver for the client's interfaces. */
  loadDriver(): Promise<void>;
  /** Lines of its kernel's log that tell of a failed request, a damaged file system or a fault. */
  complaints(): string[];
  /** The client's own view for a failed test: the end of its kernel's messages. */
  describe(): string;
  close(): Promise<void>;
}

export type ClientKind = "uml" | "host";

export function clientKind(): ClientKind {
  const kind = process.env.KERNEL ?? "uml";
  if (kind !== "uml" && kind !== "host") throw new Error(`KERNEL=${kind}: use uml or host`);
  return kind;
}

export function attachmentOf(kind: ClientKind): Attachment {
  return kind === "uml" ? "tap" : "veth";
}

export interface ClientOptions {
  /** Folder of the test. */
  folder: string;
  segments: readonly Segment[];
}

const DEFAULT_STEP_TIMEOUT_MS = 400_000;

/** One script in a client: its files are NUMBER.sh, NUMBER.log and, at the end, NUMBER.status. */
export class Step {
  readonly #exchange: string;
  readonly #number: number;
  readonly #script: string;
  /** Throws when the client can no longer finish anything. */
  readonly #assertAlive: () => void;

  constructor(exchange: string, number: number, script: string, assertAlive: () => void) {
    this.#exchange = exchange;
    this.#number = number;
    this.#script = script;
    this.#assertAlive = assertAlive;
    writeFileSync(join(exchange, `${number}.sh`), `${script}\n`);
  }

  /** The exit status, or undefined while it runs. */
  get status(): number | undefined {
    const text = readIfPresent(join(this.#exchange, `${this.#number}.status`));
    return text.endsWith("\n") ? Number(text) : undefined;
  }

  get output(): string {
    return readIfPresent(join(this.#exchange, `${this.#number}.log`)).trimEnd();
  }

  /** @returns the output; rejects when the script fails or does not end in time. */
  async finish(timeoutMs: number = DEFAULT_STEP_TIMEOUT_MS): Promise<string> {
    const status = await this.end(timeoutMs);
    if (status !== 0) {
      const text = `this script of the client ended with ${status}:\n${this.#script}`;
      throw new Error(`${text}\n--- it printed:\n${this.output}`);
    }
    return this.output;
  }

  /** @returns the exit status */
  async end(timeoutMs: number = DEFAULT_STEP_TIMEOUT_MS): Promise<number> {
    const isOver = () => {
      if (this.status === undefined) this.#assertAlive();
      return this.status !== undefined;
    };
    await until(`the end of the client's script\n${this.#script}`, isOver, { timeoutMs }).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}\n--- so far it printed:\n${this.output}`);
      },
    );
    return this.status ?? -1;
  }
}

function readIfPresent(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
