import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

/** What a command that has ended left behind. */
export interface Outcome {
  readonly status: number;
  readonly output: string;
  readonly errors: string;
}

/** Command-line options: { window: 64, random: true } reads --window 64 --random. */
export function flags(values: Readonly<Record<string, string | number | boolean>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => {
    if (typeof value === "boolean") return value ? [`--${name}`] : [];
    return [`--${name}`, String(value)];
  });
}

/**
 * Runs a command to its end, whatever its exit status is.
 * @throws AbortError when `signal` ended it
 */
export async function outcomeOf(
  command: readonly string[],
  signal?: AbortSignal,
): Promise<Outcome> {
  const [program, ...parameters] = command;
  const child = spawn(program, parameters, {
    stdio: ["ignore", "pipe", "pipe"],
    ...(signal === undefined ? {} : { signal }),
  });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { status: code ?? 1, output, errors };
}

/** Runs a command that has to succeed; what it wrote to standard output. */
export async function run(...command: string[]): Promise<string> {
  const { status, output, errors } = await outcomeOf(command);
  if (status !== 0) {
    throw new Error(`${command.join(" ")}: exit status ${status}: ${errors.trim()}`);
  }
  return output;
}

/** A command that stays, at the head of a process group of its own. */
export class Daemon implements AsyncDisposable {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #log = "";

  /** @throws Error when the program cannot be started */
  static async start(command: readonly string[]): Promise<Daemon> {
    const [program, ...parameters] = command;
    const child = spawn(program, parameters, {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    await once(child, "spawn");
    return new Daemon(child);
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.pid = child.pid!;
    this.#ended = once(child, "close");
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#log = (this.#log + text).slice(-4000);
      });
    }
  }

  /** The last of what it wrote, for an error message. */
  get log(): string {
    return this.#log.trim();
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal("SIGTERM");
    const patience = setTimeout(() => this.#signal("SIGKILL"), 5000);
    await this.#ended;
    clearTimeout(patience);
  }

  #signal(signal: NodeJS.Signals): void {
    if (!this.running) return;
    try {
      process.kill(-this.pid, signal);
    } catch {
      // It ended between the question and the signal.
    }
  }
}
