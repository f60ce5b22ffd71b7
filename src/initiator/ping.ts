import { setTimeout as delay } from "node:timers/promises";
import { formatMac } from "../mac-address.ts";
import { ConfigRequest } from "./config-request.ts";
import { identifyRequest } from "./discovery.ts";
import { NoAnswerError } from "./initiator-error.ts";
import { Path } from "./path.ts";
import type { Transport } from "./transport.ts";

export interface PingOptions {
  /** How many requests. */
  readonly count?: number;
  readonly intervalMs?: number;
  /** How long each answer is waited for. */
  readonly timeoutMs?: number;
  /** A Config query is answered without the disk, IDENTIFY by the disk's engine. */
  readonly kind?: "config" | "identify";
  /** Told of each answer as it comes; `roundTripMs` is undefined when none came. */
  readonly onReply?: (sequence: number, roundTripMs: number | undefined) => void;
}

export interface PingResult {
  readonly mac: string;
  readonly sent: number;
  readonly received: number;
  /** 0 to 1. */
  readonly lossRate: number;
  /** Undefined when nothing was received. */
  readonly minimumMs: number | undefined;
  readonly averageMs: number | undefined;
  readonly maximumMs: number | undefined;
}

const DEFAULTS = { count: 4, intervalMs: 200, timeoutMs: 1000, kind: "config" } as const;

/** Asks one after another; a request that is lost is counted and not repeated. */
export async function pingPath(
  transport: Transport,
  { shelf, slot, mac }: Path,
  options: PingOptions,
): Promise<PingResult> {
  const { count, intervalMs, timeoutMs, kind } = { ...DEFAULTS, ...options };
  const times: number[] = [];
  for (let sequence = 0; sequence < count; sequence++) {
    const path = new Path(shelf, slot, mac);
    const roundTripMs = await pingOnce(transport, path, kind, timeoutMs);
    if (roundTripMs !== undefined) times.push(roundTripMs);
    options.onReply?.(sequence, roundTripMs);
    if (sequence + 1 < count) await delay(intervalMs);
  }
  const isEmpty = times.length === 0;
  return {
    mac: formatMac(mac),
    sent: count,
    received: times.length,
    lossRate: count === 0 ? 0 : 1 - times.length / count,
    minimumMs: isEmpty ? undefined : Math.min(...times),
    averageMs: isEmpty ? undefined : times.reduce((sum, time) => sum + time, 0) / times.length,
    maximumMs: isEmpty ? undefined : Math.max(...times),
  };
}

/** @returns undefined when no answer came */
async function pingOnce(
  transport: Transport,
  path: Path,
  kind: "config" | "identify",
  timeoutMs: number,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      if (error instanceof NoAnswerError) resolve(undefined);
      else reject(error);
    };
    const request =
      kind === "identify"
        ? identifyRequest(path, { succeeded: ({ roundTripMs }) => resolve(roundTripMs), failed })
        : new ConfigRequest(path, {
            succeeded: (_, roundTripMs) => resolve(roundTripMs),
            failed,
          });
    request.isRepeated = false;
    transport.submit(request, timeoutMs);
  });
}
