import { accessCases } from "./access-cases.testing.ts";
import { ataCases } from "./ata-cases.testing.ts";
import { configCases } from "./config-cases.testing.ts";
import { diskCases } from "./disk-cases.testing.ts";
import { framingCases } from "./framing-cases.testing.ts";
import { lifecycleCases } from "./lifecycle-cases.testing.ts";
import { NotApplicable, Rig } from "./rig.testing.ts";
import type { ConformanceCase, ServerUnderTest } from "./rig.testing.ts";
import { NoReply } from "./segment.testing.ts";

/** All cases, in the order of their numbers. */
export const conformanceCases: readonly ConformanceCase[] = [
  ...framingCases,
  ...configCases,
  ...ataCases,
  ...diskCases,
  ...accessCases,
  ...lifecycleCases,
].toSorted((one, other) => one.number - other.number);

export function caseName({ number, title }: ConformanceCase): string {
  return `case ${String(number).padStart(2, "0")}: ${title}`;
}

export type Outcome =
  | { readonly verdict: "passed"; readonly notApplied: readonly string[] }
  | {
      readonly verdict: "failed";
      readonly reason: string;
      readonly error: unknown;
      /** Nobody answered, and the server had lost frames: nothing was learnt, but of the machine. */
      readonly isOverload: boolean;
    }
  | { readonly verdict: "not applicable"; readonly reason: string };

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Frames that waited for half a second are dropped: a client asks again, but a case does not. */
async function hasLostFrames({ controls }: ServerUnderTest): Promise<boolean> {
  try {
    return ((await controls.lostFrames?.()) ?? 0) > 0;
  } catch {
    return false;
  }
}

/** Runs one case against one server, and ends what it started. */
export async function runCase(one: ConformanceCase, server: ServerUnderTest): Promise<Outcome> {
  const rig = new Rig(server);
  try {
    await one.run(rig);
    return { verdict: "passed", notApplied: rig.notApplied };
  } catch (error) {
    if (error instanceof NotApplicable) return { verdict: "not applicable", reason: error.message };
    const isOverload = error instanceof NoReply && (await hasLostFrames(server));
    return { verdict: "failed", reason: messageOf(error), error, isOverload };
  } finally {
    await rig.stop();
  }
}

/** A machine that stands still for half a second makes a server drop what waited meanwhile. */
const MOST_TRIES = 5;

/** The same on a server that may be overloaded: then what was seen says nothing, and is tried again. */
export async function runCaseInTurn(
  one: ConformanceCase,
  makeServer: () => ServerUnderTest,
): Promise<Outcome> {
  for (let tries = 1; ; tries++) {
    const outcome = await runCase(one, makeServer());
    if (outcome.verdict !== "failed" || !outcome.isOverload || tries === MOST_TRIES) return outcome;
  }
}
