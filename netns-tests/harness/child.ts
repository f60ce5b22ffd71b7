import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { processStart, recordHostResource } from "./host-resources.ts";
import { delay } from "./command.ts";

export interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A process of the test in a process group of its own, whose output goes to a file. */
export class Child {
  readonly pid: number;
  readonly logFile: string;
  readonly ended: Promise<Ending>;
  #process: ChildProcess;
  #ending: Ending | undefined;

  /** @param folder - the test's: where it runs, and is recorded to be ended with the test */
  constructor(folder: string, command: readonly string[], logFile: string) {
    const [program = "", ...args] = command;
    const log = openSync(logFile, "a");
    const stdio: StdioOptions = ["pipe", log, log];
    this.#process = spawn(program, args, { cwd: folder, detached: true, stdio });
    closeSync(log);
    this.logFile = logFile;
    this.ended = new Promise((resolve) => {
      const end = (ending: Ending) => {
        this.#ending ??= ending;
        resolve(this.#ending);
      };
      this.#process.on("error", () => end({ code: 127, signal: null }));
      this.#process.on("exit", (code, signal) => end({ code, signal }));
    });
    // A program that ends early closes its input; the write that meets this is not our failure.
    this.#process.stdin?.on("error", () => {});
    if (this.#process.pid === undefined) throw new Error(`could not start '${command.join(" ")}'`);
    this.pid = this.#process.pid;
    const startedAt = processStart(this.pid) ?? "";
    recordHostResource(folder, { kind: "process group", leader: this.pid, startedAt });
  }

  /** How it ended, or undefined while it runs. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  get log(): string {
    return readFileSync(this.logFile, "utf8");
  }

  write(text: string): void {
    this.#process.stdin?.write(text);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#ending === undefined) process.kill(this.pid, signal);
  }

  /** Waits for its end; after the time is over it is killed and that is an error. */
  async end(timeoutMs: number): Promise<Ending> {
    const ending = await Promise.race([this.ended, delay(timeoutMs)]);
    if (ending !== undefined) return ending;
    this.killGroup();
    await this.ended;
    throw new Error(`process ${this.pid} did not end within ${timeoutMs} ms; see ${this.logFile}`);
  }

  killGroup(): void {
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch {
      // All of the group have ended.
    }
  }
}
