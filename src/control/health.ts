import type { ServerStatus, TargetStatus } from "./control-api.ts";
import type { StoreStatus } from "./store-api.ts";

/** A disk that failed a request is reported for so long. */
const FAULT_REMEMBERED_MS = 300_000;

/** Below this a store will soon refuse writes. */
const LEAST_FREE_BYTES = 256 * 2 ** 20;

/** One thing that is wrong, in one line for people. */
export interface HealthProblem {
  /** What it concerns: "e1.0", "eth0", the folder of a store. */
  readonly subject: string;
  readonly problem: string;
}

/** What is wrong with a server; nothing when all is well. */
export function healthProblems(status: ServerStatus, nowMs = Date.now()): HealthProblem[] {
  return [
    ...status.ports
      .filter(({ up }) => !up)
      .map((port) => ({ subject: port.interface, problem: "the link is down" })),
    ...status.silentWorkers.map((worker) => ({
      subject: `worker ${worker}`,
      problem: "it does not answer, and nor do its targets",
    })),
    ...status.targets.flatMap((target) => targetProblems(target, nowMs)),
    ...status.stores.flatMap(storeProblems),
  ];
}

/** Whether it can serve anybody at all. */
export function isReady(status: ServerStatus): boolean {
  return status.ports.some(({ up }) => up);
}

function targetProblems(target: TargetStatus, nowMs: number): HealthProblem[] {
  const { faulted, suspended } = target;
  const problems: string[] = [];
  if (suspended) {
    problems.push(
      "its disk is closed and its initiators wait: the log says why; mend that, then aoed reload",
    );
  }
  if (faulted !== null && nowMs - Date.parse(faulted) <= FAULT_REMEMBERED_MS) {
    problems.push(`the disk failed a request at ${faulted}`);
  }
  return problems.map((problem) => ({ subject: `e${target.shelf}.${target.slot}`, problem }));
}

function storeProblems(store: StoreStatus): HealthProblem[] {
  const problems: string[] = [];
  if (store.damagedBlobs > 0) {
    problems.push(`${store.damagedBlobs} blobs are damaged; aoed verify says what they belong to`);
  }
  if (store.collected !== null && store.collected.failure !== null) {
    problems.push(`the last garbage collection failed: ${store.collected.failure}`);
  }
  if (store.freeBytes !== null && store.freeBytes < LEAST_FREE_BYTES) {
    problems.push(`its disk has ${Math.floor(store.freeBytes / 2 ** 20)} MiB left`);
  }
  const { fenced = null, trouble = null, dirtyBytes = 0 } = store.remote ?? {};
  if (fenced !== null) problems.push(fenced);
  else if (trouble !== null) {
    problems.push(`its object store fails, and ${dirtyBytes} bytes wait for it: ${trouble}`);
  }
  return problems.map((problem) => ({ subject: store.path, problem }));
}
