import { targetName } from "../config/configuration.ts";
import { openInitiator } from "../initiator/initiator.ts";
import { InitiatorError } from "../initiator/initiator-error.ts";
import { checkInterface } from "./interfaces.ts";
import { readCount, readDuration } from "./option-values.ts";
import { parseTargetAddress } from "./target-address.ts";

export interface PingCommandOptions {
  readonly interface: string;
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
  checkInterface(options.interface);
  const initiator = openInitiator({ interfaceName: options.interface });
  const name = targetName(address);
  try {
    const result = await initiator.ping(address.shelf, address.slot, {
      count,
      intervalMs,
      timeoutMs,
      kind: options.identify === true ? "identify" : "config",
      onReply: (sequence, roundTripMs) => {
        if (options.json !== true) printReply(name, sequence, roundTripMs);
      },
    });
    process.stdout.write(
      options.json === true
        ? `${JSON.stringify({ ...address, interface: options.interface, ...result }, null, 2)}\n`
        : `${name} at ${result.mac}: ${result.received} of ${result.sent} answered${times(result)}\n`,
    );
    return result.received > 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof InitiatorError)) throw error;
    process.stderr.write(`aoed: ${error.message}\n`);
    return 1;
  } finally {
    await initiator.close();
  }
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
