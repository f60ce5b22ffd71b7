import { targetName } from "../config/configuration.ts";
import type {
  InitiatorStatus,
  PortStatus,
  ServerStatus,
  TargetStatus,
} from "../control/control-api.ts";
import type { CommandKindName } from "../metrics/command-kind.ts";
import { latencyQuantileUs } from "../metrics/latency-buckets.ts";
import { approximateSize } from "./approximate-size.ts";
import { formatTable } from "./table.ts";
import { ageText } from "./time-text.ts";

/** What the targets and initiators do, as tables for people. */

const SHOWN_INITIATORS = 20;

/** @param before an earlier look, since when latencies are to be; undefined: since the start */
export function loadTable(server: ServerStatus, before: ServerStatus | undefined): string {
  const earlier = new Map(before?.targets.map((target) => [targetName(target), target]));
  return formatTable(
    ["TARGET", "REQUESTS", "READ", "WRITTEN", "READ P50", "P99", "WRITE P50", "P99", "OUTSTANDING"],
    server.targets.map((target) => loadRow(target, earlier.get(targetName(target)))),
  );
}

function loadRow(target: TargetStatus, before: TargetStatus | undefined): string[] {
  const { rates } = target;
  return [
    targetName(target),
    `${Math.round(rates.operations)}/s`,
    `${approximateSize(rates.readBytes)}/s`,
    `${approximateSize(rates.writtenBytes)}/s`,
    ...quantiles(target, before, "read"),
    ...quantiles(target, before, "write"),
    String(target.outstanding),
  ];
}

function quantiles(
  target: TargetStatus,
  before: TargetStatus | undefined,
  command: CommandKindName,
): string[] {
  const countsOf = (status: TargetStatus | undefined): readonly number[] =>
    status?.commands.find((figures) => figures.command === command)?.latencyCounts ?? [];
  const earlier = countsOf(before);
  const counts = countsOf(target).map((count, bucket) => count - (earlier[bucket] ?? 0));
  return [0.5, 0.99].map((share) => shortDuration(latencyQuantileUs(counts, share)));
}

function shortDuration(microseconds: number | undefined): string {
  if (microseconds === undefined) return "-";
  if (microseconds < 1000) return `${Math.round(microseconds)} us`;
  const ms = microseconds / 1000;
  return ms < 1000 ? `${ms.toPrecision(3)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** The busiest; nothing while nobody has asked for anything. */
export function initiatorTables({ initiators }: ServerStatus): string[] {
  if (initiators.length === 0) return [];
  const headings = ["INITIATOR", "REQUESTS", "READ", "WRITTEN", "NOW", "OUTSTANDING"];
  const text = formatTable(
    [...headings, "SENT AGAIN", "ERRORS", "LAST SEEN"],
    initiators.slice(0, SHOWN_INITIATORS).map(initiatorRow),
  );
  const more = initiators.length - SHOWN_INITIATORS;
  return [more > 0 ? `${text}and ${more} more: --json has all\n` : text];
}

function initiatorRow(initiator: InitiatorStatus): string[] {
  const { rates } = initiator;
  return [
    initiator.mac,
    String(initiator.answered),
    approximateSize(initiator.readBytes),
    approximateSize(initiator.writtenBytes),
    `${approximateSize(rates.readBytes + rates.writtenBytes)}/s`,
    String(initiator.outstanding),
    String(initiator.retransmissions),
    String(initiator.errors),
    ageText(initiator.lastSeen),
  ];
}

/** Why frames were not answered; nothing when all were. */
export function dropTables(ports: readonly PortStatus[]): string[] {
  const rows = ports.flatMap((port) =>
    Object.entries(port.drops)
      .filter(([, count]) => count > 0)
      .map(([reason, count]) => [port.interface, reason, String(count)]),
  );
  return rows.length === 0 ? [] : [formatTable(["INTERFACE", "NOT ANSWERED", "FRAMES"], rows)];
}
