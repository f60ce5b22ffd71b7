import { once } from "node:events";
import { MessageChannel } from "node:worker_threads";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Cancelled, type JobControl, type Progress } from "../control/store-api.ts";
import { systemErrorCode, UsageError } from "../errors.ts";
import { answerCalls } from "./answering.ts";
import type { Answer } from "./messages.ts";
import { Caller } from "./remote.ts";

class Calculator {
  #base = 10;
  /** How often it was asked to add. */
  additions = 0;
  /** Resolved when a job is under way. */
  readonly working = Promise.withResolvers<void>();

  async add(a: number, b = 1): Promise<number> {
    this.additions++;
    return Promise.resolve(this.#base + a + b);
  }

  async fail(how: string): Promise<never> {
    if (how === "usage") throw new UsageError("use another number");
    if (how === "system") throw Object.assign(new Error("no room"), { code: "ENOSPC" });
    if (how === "text") throw how as unknown as Error;
    return Promise.reject(new RangeError("too much"));
  }

  async functionOf(): Promise<() => number> {
    return Promise.resolve(() => this.#base);
  }

  async work(steps: number, { onProgress, signal }: JobControl): Promise<string> {
    for (let done = 0; done < steps; done++) {
      onProgress({ phase: "count", done, total: steps, unit: "bytes" });
      this.working.resolve();
      await new Promise((resolve) => setImmediate(resolve));
      if (signal.aborted) throw new Cancelled();
    }
    return "worked";
  }
}

let ours: MessageChannel["port1"];
let caller: Caller;
let calculator: Calculator;
let remote: Omit<Calculator, "working" | "additions">;
let lastGivenUp: number;
let late: string[];

beforeEach(() => {
  const { port1, port2 } = new MessageChannel();
  ours = port1;
  calculator = new Calculator();
  lastGivenUp = 0;
  late = [];
  answerCalls(
    port2,
    (name) => (name === "calculator" ? calculator : undefined),
    () => lastGivenUp,
  );
  caller = new Caller(
    (message) => port1.postMessage(message),
    undefined,
    (object, method) => late.push(`${object}.${method}`),
  );
  port1.on("message", (answer: Answer) => caller.take(answer));
  remote = caller.remote<Calculator, "add" | "fail" | "functionOf" | "work">("calculator", {
    add: true,
    fail: true,
    functionOf: true,
    work: true,
  });
});
afterEach(() => ours.close());

const quiet: JobControl = { onProgress: () => {}, signal: new AbortController().signal };

test("each call gets its own answer, however they cross", async () => {
  const working = remote.work(50, quiet);
  expect(await Promise.all([remote.add(1), remote.add(2, 3)])).toEqual([12, 15]);
  expect(await working).toBe("worked");
});

test("an error keeps its kind, its message, its code and where it came from", async () => {
  const usage = await remote.fail("usage").catch((error: unknown) => error);
  expect(usage).toBeInstanceOf(UsageError);
  expect(usage).toMatchObject({ message: "use another number", exitCode: 2 });
  const system = await remote.fail("system").catch((error: unknown) => error);
  expect(system).not.toBeInstanceOf(UsageError);
  expect(systemErrorCode(system)).toBe("ENOSPC");
  const fault = await remote.fail("").catch((error: unknown) => error);
  expect(fault).toMatchObject({ name: "RangeError", message: "too much" });
  expect((fault as Error).stack).toContain("Calculator.fail");
  await expect(remote.fail("text")).rejects.toThrow("text");
});

test("what cannot be said is an error, not silence", async () => {
  await expect(remote.functionOf()).rejects.toThrow(/could not be cloned/);
  const parameter = (() => 1) as unknown as number;
  await expect(remote.add(parameter)).rejects.toThrow(/could not be cloned/);
  const absent = caller.remote<Calculator, "add">("absent", { add: true });
  await expect(absent.add(1)).rejects.toThrow("absent has no add here");
});

test("a job reports its progress, and ends when it is cancelled", async () => {
  const seen: Progress[] = [];
  const ending = new AbortController();
  const control = {
    onProgress: (progress: Progress) => seen.push(progress),
    signal: ending.signal,
  };
  const job = remote.work(1e9, control).catch((error: unknown) => error);
  await calculator.working.promise;
  ending.abort();
  expect(await job).toBeInstanceOf(Cancelled);
  expect(seen[0]).toEqual({ phase: "count", done: 0, total: 1e9, unit: "bytes" });

  const cancelledBefore = { ...control, signal: AbortSignal.abort() };
  await expect(remote.work(1e9, cancelledBefore)).rejects.toThrow(Cancelled);
});

test("when the other thread has ended, what it was asked and will be asked fails", async () => {
  const job = remote.work(1e9, quiet).catch((error: unknown) => error);
  await calculator.working.promise;
  const closed = once(ours, "close");
  ours.close();
  await closed;
  caller.fail(new Error("it has ended"));
  expect(await job).toMatchObject({ message: "it has ended" });
  await expect(remote.add(1)).rejects.toThrow("it has ended");
});

test("a call that was given up before it began never happens; the next one does", async () => {
  const call = remote.add(1).catch((error: unknown) => error);
  lastGivenUp = caller.lastId;
  caller.giveUp(new Error("no answer"));
  expect(await call).toMatchObject({ message: "no answer" });
  expect(await remote.add(2)).toBe(13);
  expect(calculator.additions).toBe(1);
  expect(late).toEqual([]);
});

test("what had begun when it was given up, and is done all the same, is told", async () => {
  const job = remote.work(2, quiet).catch((error: unknown) => error);
  const failing = remote.fail("usage").catch((error: unknown) => error);
  await calculator.working.promise;
  caller.giveUp(new Error("no answer"));
  expect(await job).toMatchObject({ message: "no answer" });
  await failing;
  await expect.poll(() => late, { timeout: 30_000 }).toEqual(["calculator.work"]);
});
