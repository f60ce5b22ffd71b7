import { UsageError } from "../errors.ts";
import { type Initiator, openInitiator } from "../initiator/initiator.ts";
import { InitiatorError, NoAnswerError } from "../initiator/initiator-error.ts";
import type { OpenOptions } from "../initiator/initiator.ts";
import type { RemoteDisk } from "../initiator/remote-disk.ts";
import { checkInterface, interfaceNames, listInterfaces } from "./interfaces.ts";
import type { TargetAddress } from "./target-address.ts";

/** One on each interface that was named; else on each that there is and that can be opened. */
export function openInitiators(names: readonly string[]): Initiator[] {
  if (names.length > 0) {
    for (const name of names) checkInterface(name);
    return names.map((interfaceName) => openInitiator({ interfaceName }));
  }
  const initiators: Initiator[] = [];
  let refusal: UsageError | undefined;
  for (const interfaceName of interfaceNames().filter((name) => name !== "lo")) {
    try {
      initiators.push(openInitiator({ interfaceName }));
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      refusal ??= error;
    }
  }
  if (initiators.length > 0) return initiators;
  throw refusal ?? new UsageError(`--interface is missing, and ${listInterfaces()}`);
}

/** The disk at this address on whichever of the interfaces it answers. @throws NoAnswerError */
export async function openDisk(
  initiators: readonly Initiator[],
  { shelf, slot }: TargetAddress,
  options: OpenOptions = {},
): Promise<RemoteDisk> {
  const tries = initiators.map(async (initiator) => initiator.open(shelf, slot, options));
  try {
    return await Promise.any(tries);
  } catch (error) {
    const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
    // What a target that is there complains of says more than the silence on other interfaces.
    throw errors.find((one) => !(one instanceof NoAnswerError)) ?? errors[0];
  }
}

/**
 * Runs `action` with initiators that are closed afterwards.
 * @returns its exit code, or 1 with one line when the network or the target did not do its part
 */
export async function withInitiators(
  names: readonly string[],
  action: (initiators: readonly Initiator[]) => Promise<number>,
): Promise<number> {
  const initiators = openInitiators(names);
  try {
    return await action(initiators);
  } catch (error) {
    if (!(error instanceof InitiatorError)) throw error;
    process.stderr.write(`aoed: ${error.message}\n`);
    return 1;
  } finally {
    await Promise.all(initiators.map(async (initiator) => initiator.close()));
  }
}
