import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { Namespace } from "./namespace.testing.ts";
import { AOED, type Finished, Workplace } from "./run-aoed.testing.ts";

export interface Served {
  readonly process: ChildProcess;
  stdout: string;
  stderr: string;
}

/** bin/aoed in a network namespace and a folder of its own: servers, and commands beside them. */
export class ServerPlace {
  readonly namespace: Namespace;
  readonly place = new Workplace();
  readonly #running: ChildProcess[] = [];

  constructor(namespace: Namespace) {
    this.namespace = namespace;
  }

  /** Starts `aoed serve` and waits for its ready line. */
  async serve(...words: string[]): Promise<Served> {
    const process = this.start("serve", ...words);
    const served: Served = { process, stdout: "", stderr: "" };
    process.stderr?.on("data", (chunk) => (served.stderr += String(chunk)));
    await new Promise<void>((resolve, reject) => {
      process.stdout?.on("data", (chunk) => {
        served.stdout += String(chunk);
        if (/^aoed: ready/m.test(served.stdout)) resolve();
      });
      process.once("close", (code) => {
        reject(new Error(`the server ended with ${code}: ${served.stderr}`));
      });
    });
    return served;
  }

  /** Starts a command that goes on until it is told to stop, at the latest by `remove`. */
  start(...words: string[]): ChildProcess {
    const [program, ...rest] = [...this.namespace.entrance, AOED, ...words];
    const process = this.place.start(program, ...rest);
    this.#running.push(process);
    return process;
  }

  async aoed(...words: string[]): Promise<Finished> {
    const [program, ...rest] = [...this.namespace.entrance, AOED, ...words];
    return this.place.run(program, ...rest);
  }

  /** The same, for commands that must succeed. @returns what it printed */
  async did(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.aoed(...words);
    if (code === 0) return stdout;
    throw new Error(`aoed ${words.join(" ")} ended with ${code}: ${stderr}`);
  }

  async stop(served: Served, signal: NodeJS.Signals): Promise<number | null> {
    // Not "exit": what it wrote last may still be on its way.
    const ended = once(served.process, "close");
    served.process.kill(signal);
    const [code] = (await ended) as [number | null];
    return code;
  }

  async remove(): Promise<void> {
    for (const server of this.#running.splice(0)) {
      if (server.exitCode !== null || server.signalCode !== null) continue;
      const ended = once(server, "exit");
      server.kill("SIGKILL");
      await ended;
    }
    this.place.remove();
  }
}

/**
 * For the tests of a file: one network namespace for all of them, and in it a new place for each,
 * which `given` is told. Hooks of the file that are registered later find it there, and go first at
 * the end.
 */
export function withServerPlace(given: (server: ServerPlace) => void): void {
  let namespace: Namespace;
  let server: ServerPlace;
  beforeAll(async () => {
    namespace = await Namespace.create();
  });
  afterAll(async () => {
    await namespace.remove();
  });
  beforeEach(() => {
    server = new ServerPlace(namespace);
    given(server);
  });
  afterEach(async () => {
    await server.remove();
  });
}
