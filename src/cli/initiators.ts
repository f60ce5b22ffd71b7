import { UsageError } from "../errors.ts";
import { findInterface, listInterfaces as interfaceStates } from "../ethernet/link-monitor.ts";
import { type Initiator, openInitiator } from "../initiator/initiator.ts";
import { NoAnswerError } from "../initiator/initiator-error.ts";
import type { OpenOptions } from "../initiator/initiator.ts";
import type { RemoteDisk } from "../initiator/remote-disk.ts";
import { checkInterface, interfaceNames, listInterfaces } from "./interfaces.ts";
import type { TargetAddress } from "./target-address.ts";

export const SILENCE =
  "aoed: nobody answered: is a server running on this segment, and the link up? " +
  "A server on the same interface of this machine is not heard\n";

/** One on each interface that was named; else on each that there is and that can be opened. */
export function openInitiators(names: readonly string[]): Initiator[] {
  if (names.length > 0) {
    for (const name of names) {
      checkInterface(name);
      checkReceives(name);
    }
    return names.map((interfaceName) => openInitiator({ interfaceName }));
  }
  const initiators: Initiator[] = [];
  let refusal: UsageError | undefined;
  const useful = interfaceNames().filter((name) => name !== "lo" && masterOf(name) === undefined);
  for (const interfaceName of useful) {
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

/** The bridge, bond or team that takes the frames of this interface, so that nobody else has them. */
function masterOf(name: string): { readonly kind: string; readonly name: string } | undefined {
  const state = findInterface(name);
  if (state === undefined || !["bridge", "bond", "team"].includes(state.slaveKind))
    return undefined;
  const master = interfaceStates().find(({ index }) => index === state.masterIndex);
  return master === undefined ? undefined : { kind: state.slaveKind, name: master.name };
}

/** @throws UsageError that names the interface to use instead, when this one hands its frames on */
function checkReceives(name: string): void {
  const master = masterOf(name);
  if (master === undefined) return;
  throw new UsageError(
    `${name} is a part of the ${master.kind} ${master.name}, which takes its frames; ` +
      `use --interface ${master.name}`,
  );
}

/** Whichever of them the target answers first. @throws NoAnswerError */
export async function initiatorFor(
  initiators: readonly Initiator[],
  { shelf, slot }: TargetAddress,
): Promise<Initiator> {
  const [first] = initiators;
  if (first !== undefined && initiators.length === 1) return first;
  const names = initiators.map(({ interfaceName }) => interfaceName);
  const silence = new NoAnswerError(
    `e${shelf}.${slot}: nobody on ${names.join(", ")} answers (is the server running, on another machine of these segments?)`,
  );
  const tries = initiators.map(async (initiator) => {
    const found = await initiator.discover({ shelf, slot, enough: 1 });
    if (found.length === 0) throw silence;
    return initiator;
  });
  return Promise.any(tries).catch((error: unknown) => {
    const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
    throw errors.find((one) => one !== silence) ?? silence;
  });
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
 * @returns its exit code
 * @throws InitiatorError when the network or the target did not do its part
 */
export async function withInitiators(
  names: readonly string[],
  action: (initiators: readonly Initiator[]) => Promise<number>,
): Promise<number> {
  const initiators = openInitiators(names);
  try {
    return await action(initiators);
  } finally {
    await Promise.all(initiators.map(async (initiator) => initiator.close()));
  }
}
