import { targetName } from "../config/configuration.ts";
import { initiatorFor, withInitiators } from "./initiators.ts";
import { readCount, readDuration } from "./option-values.ts";
import { printAnswer } from "./print.ts";
import { parseTargetAddress } from "./target-address.ts";

export interface PingCommandOptions {
  readonly interface?: readonly string[];
  readonly count: string;
  readonly interval: string;
  readonly timeout: string;
  readonly identify?: true;
  readonly json?: true;
}

/**
 * Sends requests to one target and prints how long the answers took.
 * @returns the exit code: 0, or 1 when no answer came
 */
export async function ping(text: string, options: PingCommandOptions): Promise<number> {
  const address = parseTargetAddress(text, "SHELF.SLOT");
  const count = readCount(options.count, "--count");
  const intervalMs = readDuration(options.interval, "--interval");
  const timeoutMs = readDuration(options.timeout, "--timeout");
  const name = targetName(address);
  return withInitiators(options.interface ?? [], async (initiators) => {
    const initiator = await initiatorFor(initiators, address);
    const result = await initiator.ping(address.shelf, address.slot, {
      count,
      intervalMs,
      timeoutMs,
      kind: options.identify === true ? "identify" : "config",
      onReply: (sequence, roundTripMs) => {
        if (options.json !== true) printReply(name, sequence, roundTripMs);
      },
    });
    const answer = { ...address, interface: initiator.interfaceName, ...result };
    printAnswer(
      options,
      answer,
      () =>
        `${name} at ${result.mac}: ${result.received} of ${result.sent} answered${times(result)}\n`,
    );
    return result.received > 0 ? 0 : 1;
  });
}

function printReply(name: string, sequence: number, roundTripMs: number | undefined): void {
  const outcome = roundTripMs === undefined ? "no answer" : milliseconds(roundTripMs);
  process.stdout.write(`${name}: request ${sequence + 1}: ${outcome}\n`);
}

function times(result: {
  readonly minimumMs: number | undefined;
  readonly averageMs: number | undefined;
  readonly maximumMs: number | undefined;
}): string {
  const { minimumMs, averageMs, maximumMs } = result;
  if (minimumMs === undefined || averageMs === undefined || maximumMs === undefined) return "";
  const all = [minimumMs, averageMs, maximumMs].map(milliseconds).join(", ");
  return ` (least, average, most: ${all})`;
}

function milliseconds(time: number): string {
  return `${time.toFixed(3)} ms`;
}
