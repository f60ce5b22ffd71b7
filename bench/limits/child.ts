import { execFile, fork } from "node:child_process";
import { promisify } from "node:util";
import type { MeasureContext } from "./limit.ts";
import { fillStore, measureMemory, openFilledStore } from "./memory.ts";
import { measureReopen, reopenAndDie, writeAndDie } from "./reopen.ts";
import { measureSnapshots } from "./snapshots.ts";
import { measureTrim } from "./trim.ts";
import { measureTurns } from "./turns.ts";

/**
 * What `bench/limits.ts` starts, for one measurement or a helper of one:
 * `child.ts NAME PARAMETER…`. It sends one message, the result.
 */
type Task = (report: (value: unknown) => void, ...parameters: string[]) => Promise<void>;

const TASKS: Record<string, Task> = {
  snapshots: async (report, ...rest) => report(await measureSnapshots(context(...rest))),
  trim: async (report, ...rest) => report(await measureTrim(context(...rest))),
  reopen: async (report, ...rest) => report(await measureReopen(context(...rest))),
  turns: async (report, ...rest) => report(await measureTurns(context(...rest))),
  memory: async (report, ...rest) => report(await measureMemory(context(...rest))),
  "write-and-die": (_report, directory) => writeAndDie(directory),
  "reopen-and-die": (report, directory) => reopenAndDie(directory, report),
  "fill-store": (report, directory, blobs) => fillStore(directory, blobs, report),
  "open-store": (report, directory) => openFilledStore(directory, report),
};

function context(...[directory, generator, quick]: string[]): MeasureContext {
  return {
    directory,
    isQuick: quick === "quick",
    evict: async (path) => {
      await promisify(execFile)(generator, ["evict", path]);
    },
    inProcess: (helper, ...parameters) => {
      const child = fork(import.meta.filename, [helper, ...parameters], {
        execArgv: ["--expose-gc"],
      });
      const { promise, resolve } = Promise.withResolvers<unknown>();
      let result: unknown;
      child.on("message", (value) => {
        result = value;
      });
      child.on("exit", () => resolve(result));
      return promise;
    },
  };
}

const [name, ...parameters] = process.argv.slice(2);
await TASKS[name]((value) => process.send?.(value), ...parameters);
process.disconnect?.();
