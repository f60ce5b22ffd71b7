import type { Sample } from "./measurement.ts";
import type { Suite } from "./suites.ts";
import type { Workload } from "./workloads.ts";

/** Everything that one run of the benchmark found out; the content of bench/results/*.json. */
export interface BenchResult {
  readonly startedAt: string;
  readonly seconds: number;
  readonly machine: Machine;
  readonly settings: Settings;
  readonly suites: readonly SuiteResult[];
}

export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  readonly diskFileSystem: string;
  /** Of the minute before the start: what else the machine was doing. */
  readonly loadAverage: number;
}

export interface Settings {
  readonly rounds: number;
  readonly secondsPerRun: number;
  readonly imageMebibytes: number;
  readonly serverProcessor: number;
  readonly generatorProcessor: number;
}

export interface SuiteResult {
  readonly suite: Omit<Suite, "workloads">;
  readonly rows: readonly Row[];
  readonly failures: readonly Failure[];
}

/** One workload against one server; a sample for each round that succeeded. */
export interface Row {
  readonly workload: Workload;
  readonly server: string;
  readonly role: "candidate" | "peer" | "limit";
  readonly samples: readonly Sample[];
}

export interface Failure {
  readonly server: string;
  readonly reason: string;
}
