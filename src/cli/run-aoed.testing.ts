import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** bin/aoed as a child process, in a folder of its own. */
export const AOED = fileURLToPath(new URL("../../bin/aoed", import.meta.url));

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Workplace {
  readonly folder = mkdtempSync(join(tmpdir(), "aoed-cli-"));

  /** Variables beside those of this process. */
  environment: NodeJS.ProcessEnv = {};

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Every file and folder in it: a command that refuses must leave nothing. */
  contents(): string[] {
    return readdirSync(this.folder, { recursive: true, encoding: "utf8" }).toSorted();
  }

  async aoed(...words: string[]): Promise<Finished> {
    return this.run(AOED, ...words);
  }

  async run(program: string, ...words: string[]): Promise<Finished> {
    return new Promise((resolve) => {
      const options = { cwd: this.folder, env: this.#environment(), timeout: 300_000 };
      execFile(program, words, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
        resolve({ code, stdout, stderr });
      });
    });
  }

  /** Starts something that goes on until it is told to stop. */
  start(program: string, ...words: string[]): ChildProcess {
    return spawn(program, words, { cwd: this.folder, env: this.#environment() });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Without systemd's variables, so that the defaults are those of a shell. */
  #environment(): NodeJS.ProcessEnv {
    const { STATE_DIRECTORY: _unit, ...others } = process.env;
    return { ...others, ...this.environment, NO_COLOR: "1" };
  }
}
