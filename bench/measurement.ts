import { setTimeout as delay } from "node:timers/promises";
import { type Daemon, flags, outcomeOf } from "./child-process.ts";
import { processesOfGroup, sampleProcessorTimes } from "./processor-time.ts";
import { Segment } from "./network.ts";
import type { Suite } from "./suites.ts";
import { type Workload, workloadName } from "./workloads.ts";

/** One run of one workload against one server. */
export interface Sample {
  readonly round: number;
  readonly operationsPerSecond: number;
  readonly megabytesPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** User and system time of the whole server, each in µs for one operation. */
  readonly serverCpuUs: number;
  readonly serverUserShare: number;
  /** Time of everything that is neither server nor load: interrupts, kernel workers, neighbours. */
  readonly otherCpuUs: number;
  readonly generatorIdle: number;
  readonly retransmits: number;
  /** Replies to requests that had been sent again: delayed, where the others were lost. */
  readonly lateReplies: number;
  /** Operations of the slowest initiator in proportion to those of the fastest. */
  readonly fairness: number;
  readonly stolenShare: number;
}

export interface Timing {
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

export interface LoadTool {
  readonly generator: string;
  readonly processor: number;
  readonly signal: AbortSignal;
}

/** What the generator writes; see bench/generator.c. */
interface GeneratorResult {
  readonly operations: number;
  readonly allOperations: number;
  readonly seconds: number;
  readonly operationsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly latencyUs: { readonly p50: number; readonly p99: number };
  readonly retransmits: number;
  readonly unmatchedReplies: number;
  readonly unanswered: number;
  readonly failedOperations: number;
  readonly firstFailure: { readonly status: number; readonly error: number };
  readonly wrongSectors: number;
  readonly firstWrongLba: number;
  readonly initiatorOperations: readonly number[];
  readonly generatorCpuUs: number;
  readonly generatorIdle: number;
}

/** A reply may take longer where a disk is waited for; it is not lost for that. */
const TIMEOUT_MS = { memory: 250, file: 2000, loop: 2000, cas: 2000 };
const COLD_PASS_SECONDS = 4;
const SETTLE_MS = 20;
const CHECKED_OPERATIONS = 512;
const SHELF = 1;
const SLOT = 0;

type Flags = Parameters<typeof flags>[0];

export class Bench {
  readonly segment: Segment;
  readonly server: Daemon;
  readonly #tool: LoadTool;

  constructor(segment: Segment, server: Daemon, tool: LoadTool) {
    this.segment = segment;
    this.server = server;
    this.#tool = tool;
  }

  /**
   * Writes a pattern and reads it back: a server that returns wrong data is not worth measuring.
   * Waits until the server is up.
   */
  async check(sectors: number): Promise<void> {
    const write: Flags = {
      sectors,
      window: 16,
      random: true,
      verify: true,
      operations: CHECKED_OPERATIONS,
      "span-sectors": CHECKED_OPERATIONS * sectors,
      seconds: 20,
      "timeout-ms": TIMEOUT_MS.file,
      "read-percent": 0,
    };
    await this.#generate(write);
    await this.#generate({ ...write, "read-percent": 100 });
  }

  /** Reads all of it once: a server that keeps blocks in its own memory has them there then. */
  async warm(sectors: number): Promise<void> {
    const onePass = { random: false, "one-pass": true, seconds: 60, "read-percent": 100 };
    await this.#generate({ ...onePass, sectors, window: 16, "timeout-ms": TIMEOUT_MS.file });
  }

  async measure(suite: Suite, workload: Workload, round: number, timing: Timing): Promise<Sample> {
    await delay(SETTLE_MS);
    const pids = processesOfGroup(this.server.pid);
    const ownBefore = process.cpuUsage();
    const before = sampleProcessorTimes(pids);
    const startedAt = performance.now();

    const result = await this.#generate({
      ...workloadFlags(workload, round),
      ...boundFlags(suite, timing),
      "timeout-ms": TIMEOUT_MS[suite.medium],
    }).catch((error: unknown) => {
      throw new Error(`${workloadName(workload)}: ${String(error)}`, { cause: error });
    });

    const after = sampleProcessorTimes(pids);
    const elapsedUs = (performance.now() - startedAt) * 1000;
    const own = process.cpuUsage(ownBefore);
    const serverUs = after.serverUs - before.serverUs;
    const otherUs =
      after.busyUs - before.busyUs - serverUs - result.generatorCpuUs - own.user - own.system;
    const operations = Math.max(1, result.allOperations);
    return {
      round,
      operationsPerSecond: result.operationsPerSecond,
      megabytesPerSecond: result.bytesPerSecond / 1e6,
      p50Us: result.latencyUs.p50,
      p99Us: result.latencyUs.p99,
      serverCpuUs: serverUs / operations,
      serverUserShare: serverUs === 0 ? 0 : (after.serverUserUs - before.serverUserUs) / serverUs,
      otherCpuUs: Math.max(0, otherUs) / operations,
      generatorIdle: result.generatorIdle,
      retransmits: result.retransmits,
      lateReplies: result.unmatchedReplies,
      fairness: fairnessOf(result.initiatorOperations),
      stolenShare: (after.stolenUs - before.stolenUs) / elapsedUs,
    };
  }

  /** @throws Error when the server did not answer everything, and rightly */
  async #generate(parameters: Flags): Promise<GeneratorResult> {
    const { generator, processor, signal } = this.#tool;
    const address = { interface: Segment.clientInterface, shelf: SHELF, slot: SLOT };
    const command = [generator, "load", ...flags({ ...address, ...parameters })];
    const { status, output, errors } = await outcomeOf(
      this.segment.onClient(processor, command),
      signal,
    );
    const complaint = output === "" ? errors.trim() : complaintOf(JSON.parse(output));
    if (complaint !== undefined) {
      const log = this.server.log;
      throw new Error(`${complaint || `exit status ${status}`}${log === "" ? "" : `; ${log}`}`);
    }
    return JSON.parse(output) as GeneratorResult;
  }
}

function complaintOf(result: GeneratorResult): string | undefined {
  const { unanswered, failedOperations, firstFailure, wrongSectors, firstWrongLba } = result;
  if (wrongSectors > 0) return `${wrongSectors} sectors of wrong data, first at ${firstWrongLba}`;
  if (failedOperations > 0) {
    const { status, error } = firstFailure;
    const registers = `status 0x${status.toString(16)} error 0x${error.toString(16)}`;
    return `${failedOperations} operations failed, first with ${registers}`;
  }
  return unanswered > 0 ? `${unanswered} requests were never answered` : undefined;
}

function workloadFlags(workload: Workload, round: number): Flags {
  const { window, sectors, readPercent, initiators, order, contents } = workload;
  return {
    window,
    sectors,
    initiators,
    "read-percent": readPercent,
    random: order === "random",
    seed: round + 1,
    ...(contents === undefined ? {} : { contents }),
  };
}

/** The generator stops by itself after one pass over a cold image. */
function boundFlags(suite: Suite, timing: Timing): Flags {
  if (suite.cold) return { "one-pass": true, seconds: COLD_PASS_SECONDS };
  return { seconds: timing.seconds, "warm-up": timing.warmUpSeconds };
}

function fairnessOf(operations: readonly number[]): number {
  const most = Math.max(...operations);
  return most === 0 ? 1 : Math.min(...operations) / most;
}
