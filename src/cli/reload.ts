import type { ReloadedTarget, ReloadReport } from "../control/control-api.ts";
import { atServer, exchange } from "./control-client.ts";
import { printAnswer } from "./print.ts";

export interface ReloadOptions {
  readonly socket?: string;
  readonly json?: true;
}

/** Makes a running server what its configuration file says by now, or leaves it as it is. */
export async function reload(options: ReloadOptions): Promise<void> {
  const report = (await atServer(options.socket, async (socket) =>
    exchange(socket, { method: "POST", path: "/v1/reload", body: {} }),
  )) as ReloadReport;
  printAnswer(options, report, () => describeReload(report));
}

const DONE = { add: "added", remove: "removed", change: "changed" } as const;
const PLANNED = { add: "is added", remove: "is removed", change: "changes" } as const;

/** One line for each target. */
export function describeReload({ file, applied, changes, kept }: ReloadReport): string {
  const words = applied ? DONE : PLANNED;
  const lines = changes.map(({ target, change, keys, reopens }: ReloadedTarget) => {
    const what = keys.length === 0 ? "" : `: ${keys.join(", ")}`;
    return `${target} ${words[change]}${what}${reopens ? " (its initiators wait for a moment)" : ""}\n`;
  });
  const staying = kept.map(
    (target) => `${target} stays, though it is not in the file: added by hand\n`,
  );
  const none = lines.length === 0 ? [`${file}: nothing to change\n`] : [];
  return [...none, ...lines, ...staying].join("");
}
