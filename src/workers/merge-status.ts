import type {
  InitiatorStatus,
  PortStatus,
  ServerStatus,
  TargetStatus,
} from "../control/control-api.ts";

/**
 * One server, of what its workers say. Every worker has its own socket on every interface, so
 * counters are added up; a frame to a wildcard address counts in each worker.
 * @param statuses of every worker, the first one first
 */
export function mergeStatus(
  statuses: readonly ServerStatus[],
): Omit<ServerStatus, "silentWorkers"> {
  const [{ version, processId }] = statuses;
  return {
    version,
    processId,
    uptimeSeconds: Math.round(process.uptime()),
    exchanges: sumOf(statuses.map(({ exchanges }) => exchanges)),
    foreignAnnouncements: total(statuses, (status) => status.foreignAnnouncements),
    arenaFrames: total(statuses, (status) => status.arenaFrames),
    arenaFramesFree: total(statuses, (status) => status.arenaFramesFree),
    ports: statuses[0].ports.map((_, index) =>
      mergePorts(statuses.map(({ ports }) => ports[index])),
    ),
    targets: statuses.flatMap(({ targets }) => targets).toSorted(byAddress),
    stores: statuses.flatMap(({ stores }) => stores),
    initiators: mergeInitiators(statuses.flatMap(({ initiators }) => initiators)),
    initiatorsForgotten: total(statuses, (status) => status.initiatorsForgotten),
    eventLoops: statuses.flatMap(({ eventLoops }) => eventLoops),
    memory: {
      residentBytes: process.memoryUsage.rss(),
      heapUsedBytes: total(statuses, ({ memory }) => memory.heapUsedBytes),
      arrayBufferBytes: total(statuses, ({ memory }) => memory.arrayBufferBytes),
    },
    latencyBoundsUs: statuses[0].latencyBoundsUs,
  };
}

function mergePorts(ports: readonly PortStatus[]): PortStatus {
  return {
    ...ports[0],
    statistics: sumOf(ports.map(({ statistics }) => statistics)),
    drops: sumOf(ports.map(({ drops }) => drops)),
  };
}

/** One line for each initiator, however many workers it uses; the busiest first. */
function mergeInitiators(initiators: readonly InitiatorStatus[]): InitiatorStatus[] {
  const byMac = Map.groupBy(initiators, ({ mac }) => mac);
  const merged = [...byMac].map(([mac, parts]): InitiatorStatus => {
    const count = (of: (part: InitiatorStatus) => number): number =>
      parts.reduce((sum, part) => sum + of(part), 0);
    return {
      mac,
      answered: count(({ answered }) => answered),
      errors: count(({ errors }) => errors),
      readBytes: count(({ readBytes }) => readBytes),
      writtenBytes: count(({ writtenBytes }) => writtenBytes),
      outstanding: count(({ outstanding }) => outstanding),
      retransmissions: count(({ retransmissions }) => retransmissions),
      firstSeen: parts.map(({ firstSeen }) => firstSeen).toSorted()[0],
      lastSeen:
        parts
          .map(({ lastSeen }) => lastSeen)
          .toSorted()
          .at(-1) ?? "",
      rates: sumOf(parts.map(({ rates }) => rates)),
    };
  });
  return merged.toSorted((a, b) => b.answered - a.answered);
}

function byAddress(a: TargetStatus, b: TargetStatus): number {
  return a.shelf - b.shelf || a.slot - b.slot;
}

function total(statuses: readonly ServerStatus[], count: (status: ServerStatus) => number): number {
  return statuses.reduce((sum, status) => sum + count(status), 0);
}

/** Adds up objects that hold the same counters. */
export function sumOf<Counters extends Readonly<Record<keyof Counters, number>>>(
  parts: readonly Counters[],
): Counters {
  const names = Object.keys(parts[0]) as (keyof Counters)[];
  const sum = (name: keyof Counters): number => parts.reduce((all, part) => all + part[name], 0);
  return Object.fromEntries(names.map((name) => [name, sum(name)])) as Counters;
}
