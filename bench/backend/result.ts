import type { Machine } from "../result.ts";
import type { LoadSample } from "./closed-loop.ts";
import type { Line } from "./lines.ts";

/** Everything that one run of the backend benchmark found out. */
export interface BackendResult {
  readonly startedAt: string;
  readonly seconds: number;
  readonly machine: Machine;
  readonly rounds: number;
  readonly secondsPerRun: number;
  readonly diskMebibytes: number;
  readonly rows: readonly BackendRow[];
}

/** One line on one backend; a sample for each round. */
export interface BackendRow {
  readonly line: Line;
  readonly backend: string;
  readonly durability: string;
  readonly samples: readonly RoundSample[];
}

export interface RoundSample extends LoadSample {
  readonly round: number;
}
