import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { LoadSample } from "./closed-loop.ts";
import type { Line } from "./lines.ts";
import type { Answer, RunRequest, SubjectSettings } from "./subject.ts";

/** A backend in a process of its own, so that none is measured with what another left behind. */
export class Contestant implements AsyncDisposable {
  readonly settings: SubjectSettings;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(settings: SubjectSettings, nodeOptions: readonly string[]) {
    this.settings = settings;
    this.#child = fork(join(import.meta.dirname, "subject.ts"), [JSON.stringify(settings)], {
      execArgv: [...nodeOptions],
    });
    this.#ended = once(this.#child, "exit");
  }

  /** Resolves when its disks are filled. @param nodeOptions such as --cpu-prof */
  static async start(
    settings: SubjectSettings,
    nodeOptions: readonly string[],
  ): Promise<Contestant> {
    const contestant = new Contestant(settings, nodeOptions);
    await contestant.#answer();
    return contestant;
  }

  get name(): string {
    const { backend, durability } = this.settings;
    return `${backend}, ${durability}`;
  }

  takesPart(line: Line): boolean {
    return line.operation === "write" || this.settings.durability === "durable";
  }

  async run(request: RunRequest): Promise<LoadSample> {
    this.#child.send(request);
    const answer = await this.#answer();
    if (answer === "ready") throw new Error(`${this.name} answered out of turn`);
    if ("error" in answer) throw new Error(`${this.name}: ${answer.error}`);
    return answer.sample;
  }

  async #answer(): Promise<Answer> {
    const ended = this.#ended.then(() => {
      throw new Error(`the process of ${this.name} ended (exit status ${this.#child.exitCode})`);
    });
    const [answer] = (await Promise.race([once(this.#child, "message"), ended])) as [Answer];
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.connected) this.#child.send("close");
    const patience = setTimeout(() => this.#child.kill("SIGKILL"), 30_000);
    await this.#ended;
    clearTimeout(patience);
  }
}
