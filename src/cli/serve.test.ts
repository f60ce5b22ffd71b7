import { expect, test } from "vitest";
import type { ManagementApi, ServerStatus } from "../control/control-api.ts";
import { NoAnswer, UsageError } from "../errors.ts";
import { firstStatus, reloadOnSignal } from "./serve.ts";

/** A server that answers neither, a service manager and a log. */
async function reloadWith(reloadError: Error): Promise<{ told: string[]; logged: string[] }> {
  const told: string[] = [];
  const logged: string[] = [];
  const api = {
    reload: async () => Promise.reject(reloadError),
    status: async () => Promise.reject(new Error("a worker has ended")),
  } as unknown as ManagementApi;
  const manager = { reloading: () => told.push("reloading"), ready: () => told.push("ready") };
  const log = {
    error: (_: unknown, message?: string) => {
      logged.push(message ?? "");
    },
  };
  await reloadOnSignal({ api }, manager, log as Parameters<typeof reloadOnSignal>[2]);
  return { told, logged };
}

test("a reload by signal whose server has no status is logged, and ends for the service manager", async () => {
  const { told, logged } = await reloadWith(new UsageError("a mistake"));
  expect(told).toEqual(["reloading", "ready"]);
  expect(logged).toEqual([
    "the configuration was not reloaded: nothing has changed",
    "the state after a reload cannot be had",
  ]);
});

test("a reload that failed midway does not claim that nothing has changed", async () => {
  const { logged } = await reloadWith(new Error("e1.0: out of order"));
  expect(logged[0]).toBe("the configuration was not reloaded as a whole");
});

/** A server that answers so, one after the other; an error is thrown. */
function answering(...answers: readonly (readonly number[] | Error)[]): {
  readonly api: Pick<ManagementApi, "status">;
} {
  const left = [...answers];
  const status = async () => {
    const answer = left.length > 1 ? left.shift() : left[0];
    if (answer instanceof Error) throw answer;
    return Promise.resolve({ silentWorkers: answer } as ServerStatus);
  };
  return { api: { status } };
}

const never = new Promise<never>(() => {});

test("a server is ready when each of its workers has said how it is", async () => {
  const server = answering(new NoAnswer("no worker answers"), [1], []);
  expect(await firstStatus(server, never)).toEqual({ silentWorkers: [] });
});

test("a server that never gets ready can be ended, and a fault is not waited out", async () => {
  expect(await firstStatus(answering([1]), Promise.resolve("SIGTERM"))).toBeUndefined();
  await expect(firstStatus(answering(new Error("damage")), never)).rejects.toThrow("damage");
});
