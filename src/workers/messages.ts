import { Cancelled } from "../control/store-api.ts";
import { systemErrorCode, UsageError } from "../errors.ts";
import type { JobProgress } from "./remote.ts";

/**
 * What goes through the port between the main thread and a worker.
 *
 * ```
 *   main → worker   Call, Cancel          any number under way, told apart by `id`
 *   worker → main   Answer                of one id: any number of progress, then value or error
 * ```
 */
export interface Call {
  readonly id: number;
  /** Which of the worker's objects is asked. */
  readonly object: string;
  readonly method: string;
  readonly parameters: readonly unknown[];
  /** The place of a JobControl among the parameters, which stays on the caller's side. */
  readonly controlAt: number;
}

export interface Cancel {
  readonly cancel: number;
}

export type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: PlainError }
  | { readonly id: number; readonly progress: JobProgress };

/** An error as data. What it means to the user (exit code, HTTP status) is in its kind. */
export interface PlainError {
  readonly kind: "usage" | "cancelled" | "fault";
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | undefined;
}

export function toPlainError(error: unknown): PlainError {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  return { kind: kindOf(error), name, message, stack, code: systemErrorCode(error) };
}

function kindOf(error: unknown): PlainError["kind"] {
  if (error instanceof UsageError) return "usage";
  return error instanceof Cancelled ? "cancelled" : "fault";
}

export function fromPlainError({ kind, name, message, stack, code }: PlainError): Error {
  if (kind === "usage") return new UsageError(message);
  if (kind === "cancelled") return new Cancelled();
  const error = Object.assign(new Error(message), code === undefined ? {} : { code });
  error.name = name;
  // Where it happened, not where the message came in.
  if (stack !== undefined) error.stack = stack;
  return error;
}
