import { frameSectors } from "../aoe/reply-port.ts";
import type { DiscoveredTarget } from "./discovery.ts";
import type { Path } from "./path.ts";
import { type PathSizes, probePath } from "./path-probe.ts";
import { pingPath, type PingResult } from "./ping.ts";
import type { Transport } from "./transport.ts";

export interface ReportOptions {
  /** How long answers to the broadcast are waited for. */
  readonly timeoutMs?: number;
  readonly shelf?: number;
  readonly slot?: number;
  /** Requests that measure loss and latency. */
  readonly pings?: number;
  /** How many ways are done, of how many. */
  readonly onReport?: (done: number, total: number) => void;
}

/** One way to one target: an interface of ours and a MAC that answers for the address. */
export interface PathReport {
  readonly target: DiscoveredTarget;
  /** Of our interface. */
  readonly mtuBytes: number;
  readonly sizes: PathSizes;
  readonly ping: PingResult;
}

const DEFAULT_PINGS = 50;
const PING_INTERVAL_MS = 5;

export async function reportPath(
  transport: Transport,
  path: Path,
  target: DiscoveredTarget,
  options: ReportOptions,
): Promise<PathReport> {
  const { mtuBytes } = transport.port.link;
  const maxSectors = Math.min(target.maxSectors, frameSectors(mtuBytes));
  const sizes = await probePath(transport, path, target.sectors ?? 0, maxSectors);
  const ping = await pingPath(transport, path, {
    count: options.pings ?? DEFAULT_PINGS,
    intervalMs: PING_INTERVAL_MS,
  });
  return { target, mtuBytes, sizes, ping };
}
