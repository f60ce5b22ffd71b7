import type { JobName, Jobs, StoreApi } from "../control/store-api.ts";
import { ProgressBar } from "./progress-bar.ts";

/** What a shell reports of a process that SIGINT ended. */
const EXIT_INTERRUPTED = 130;

/** Runs a job with a bar on a terminal. Ctrl-C ends it in good order, a second one at once. */
export async function runJob<Name extends JobName>(
  store: StoreApi,
  name: Name,
  request: Jobs[Name]["request"],
): Promise<Jobs[Name]["report"]> {
  const ending = new AbortController();
  const onSignal = (): void => {
    if (ending.signal.aborted) process.exit(EXIT_INTERRUPTED);
    ending.abort();
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  const bar = process.stderr.isTTY ? new ProgressBar(process.stderr) : undefined;
  try {
    return await store.run(name, request, {
      signal: ending.signal,
      onProgress: (progress) => bar?.show(progress),
    });
  } finally {
    bar?.end();
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}
