import { isFailure, ObjectFault } from "../object/object-store.ts";
import type { Clock } from "./clock.ts";

const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 5000;

export interface Persistence {
  readonly clock: Clock;
  /** Ends the attempts; the last fault is thrown then. */
  readonly signal: AbortSignal;
  /** Told of each fault that will be tried again, and with undefined when one has passed. */
  readonly onTrouble?: (fault: ObjectFault | undefined) => void;
  /** No attempt begins after this time of the clock. */
  readonly deadlineMs?: number;
}

/**
 * Asks an object store again until it answers, however long it is away. What another was first at
 * (`exists`, `changed`, `missing`) is an answer. A refusal (`denied`, `unsupported`) may be mended while
 * we wait: an administrator corrects the rights, a token is renewed, a proxy on the way that answered
 * in place of the store lets it speak again.
 */
export async function persistently<T>(
  { clock, signal, onTrouble, deadlineMs = Infinity }: Persistence,
  action: () => Promise<T>,
): Promise<T> {
  let hadTrouble = false;
  for (let delayMs = FIRST_DELAY_MS; ; delayMs = Math.min(delayMs * 2, LONGEST_DELAY_MS)) {
    try {
      const result = await action();
      if (hadTrouble) onTrouble?.(undefined);
      return result;
    } catch (error) {
      if (!isTrouble(error)) {
        if (hadTrouble && error instanceof ObjectFault) onTrouble?.(undefined);
        throw error;
      }
      hadTrouble = true;
      onTrouble?.(error);
      const waitMs = Math.max(error.retryAfterMs ?? 0, delayMs * (0.5 + Math.random() / 2));
      if (signal.aborted || clock.nowMs() + waitMs > deadlineMs) throw error;
      await clock.sleep(waitMs, signal);
      if (signal.aborted) throw error;
    }
  }
}

function isTrouble(error: unknown): error is ObjectFault {
  return error instanceof ObjectFault && isFailure(error.code);
}
