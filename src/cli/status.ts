import type { ServerStatus } from "../control/control-api.ts";
import { askServer } from "./control-client.ts";
import { readDuration } from "./option-values.ts";
import { statusText } from "./status-text.ts";

export interface StatusOptions {
  readonly socket?: string;
  readonly json?: true;
  readonly watch?: true;
  readonly interval: string;
}

/** Prints what a running server serves and how it fares, once or again and again. */
export async function status(options: StatusOptions): Promise<void> {
  const look = async (): Promise<ServerStatus> =>
    askServer<ServerStatus>(options.socket, "GET", "/v1/status");
  const text = (answer: ServerStatus, before?: ServerStatus): string =>
    options.json === true ? `${JSON.stringify(answer)}\n` : statusText(answer, before);
  if (options.watch === true) {
    const intervalMs = readDuration(options.interval, "--interval");
    const { watch, watchLines } = await import("./watch.ts");
    const { stdin, stdout } = process;
    if (options.json !== true && stdout.isTTY && stdin.isTTY) {
      return watch({ look, text, intervalMs, input: stdin, output: stdout });
    }
    return watchLines({ look, text, intervalMs, output: stdout });
  }
  const answer = await look();
  const once = options.json === true ? `${JSON.stringify(answer, null, 2)}\n` : statusText(answer);
  process.stdout.write(once);
}
