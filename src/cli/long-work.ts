import type { JobName, Jobs, Progress, StoreApi } from "../control/store-api.ts";
import { Cancelled } from "../control/store-api.ts";
import { EXIT_INTERRUPTED } from "./exit-codes.ts";
import { ProgressBar } from "./progress-bar.ts";

/** Runs a job with a bar on a terminal. Ctrl-C ends it in good order, a second one at once. */
export async function runJob<Name extends JobName>(
  store: StoreApi,
  name: Name,
  request: Jobs[Name]["request"],
): Promise<Jobs[Name]["report"]> {
  return withProgressBar(async (signal, onProgress) =>
    store.run(name, request, { signal, onProgress }),
  );
}

/** Long work of any kind; `signal` is aborted by the first Ctrl-C. */
export async function withProgressBar<Result>(
  work: (signal: AbortSignal, onProgress: (progress: Progress) => void) => Promise<Result>,
): Promise<Result> {
  const ending = new AbortController();
  const onSignal = (): void => {
    if (ending.signal.aborted) process.exit(EXIT_INTERRUPTED);
    ending.abort(new Cancelled());
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  const bar = process.stderr.isTTY ? new ProgressBar(process.stderr) : undefined;
  try {
    return await work(ending.signal, (progress) => bar?.show(progress));
  } finally {
    bar?.end();
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}
