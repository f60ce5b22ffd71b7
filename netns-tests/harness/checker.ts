import { join, resolve } from "node:path";
import type { CheckerCalls } from "../checker/checker.ts";
import { Child } from "./child.ts";
import { until } from "./command.ts";
import type { Lab } from "./lab.ts";
import type { Segment } from "./network.ts";

const program = resolve(import.meta.dirname, "../checker/checker.ts");
const node = resolve(import.meta.dirname, "../../bin/node");
const CALL_TIMEOUT_MS = 300_000;

/** The initiator of checker.ts, in the client's namespace of a segment. */
export class Checker {
  readonly #child: Child;
  #calls = 0;

  /** @param seed chooses what is written where */
  constructor(lab: Lab, segment: Segment, seed: number) {
    const bridge = segment.clientInterface.replace("guest", "bridge");
    const command = segment.client.command(node, program, bridge, String(seed));
    this.#child = new Child(lab.folder, command, join(lab.folder, "checker.log"));
  }

  /** One call at a time. Rejects with what the checker says of a call that it cannot do. */
  async call<Call extends keyof CheckerCalls>(
    call: Call,
    ...[argument]: CheckerCalls[Call]["argument"] extends null
      ? []
      : [argument: CheckerCalls[Call]["argument"]]
  ): Promise<CheckerCalls[Call]["result"]> {
    const index = this.#calls;
    this.#calls += 1;
    this.#child.write(`${JSON.stringify({ call, argument: argument ?? null })}\n`);
    let line: string | undefined;
    await until(
      `the checker's answer to ${call}`,
      () => {
        if (this.#child.ending !== undefined) throw new Error(`it ended:\n${this.#child.log}`);
        // The last piece is a line that is not complete yet, or nothing.
        const lines = this.#child.log.split("\n").slice(0, -1);
        line = lines.filter((text) => text.startsWith("{"))[index];
        return line !== undefined;
      },
      { everyMs: 5, timeoutMs: CALL_TIMEOUT_MS },
    );
    const { result, error } = JSON.parse(line ?? "") as {
      result?: CheckerCalls[Call]["result"];
      error?: string;
    };
    if (error !== undefined) throw new Error(`checker, ${call}: ${error}`);
    return result as CheckerCalls[Call]["result"];
  }
}
