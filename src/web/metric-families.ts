import type { PortStatus, ServerStatus, TargetStatus } from "../control/control-api.ts";
import { healthProblems } from "../control/health.ts";
import type { StoreStatus } from "../control/store-api.ts";

/** Initiators with series of their own: those that had the most requests answered. */
const INITIATORS_LIMIT = 64;

type Labels = Readonly<Record<string, string>>;

export interface MetricValue {
  readonly labels: Labels;
  readonly value: number;
  /** Differs from the family's in histograms: "…_bucket". */
  readonly metricName?: string;
}

/** All series of one name, as Prometheus understands them. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly values: readonly MetricValue[];
}

type Read<Source> = (source: Source) => number;
type Definition<Source> = readonly [name: string, help: string, read: Read<Source>];

/** Every metric of the endpoint, from one look at the server. docs/monitoring.md lists them. */
export function metricFamilies(status: ServerStatus): MetricFamily[] {
  return [
    ...serverFamilies(status),
    ...portFamilies(status.ports),
    ...targetFamilies(status.targets),
    ...commandFamilies(status),
    ...initiatorFamilies(status),
    ...casFamilies(status.targets),
    ...storeFamilies(status.stores),
    ...objectStoreFamilies(status.stores),
    ...processFamilies(status),
  ];
}

function each<Source>(
  type: "counter" | "gauge",
  sources: readonly Source[],
  labelsOf: (source: Source) => Labels,
  definitions: readonly Definition<Source>[],
): MetricFamily[] {
  return definitions.map(([name, help, read]) => ({
    name,
    help,
    type,
    values: sources.map((source) => ({ labels: labelsOf(source), value: read(source) })),
  }));
}

const noLabels = (): Labels => ({});

function serverFamilies(status: ServerStatus): MetricFamily[] {
  const one = [status];
  return [
    ...each("gauge", one, ({ version }) => ({ version }), [
      ["aoe_build_info", "The version that runs; always 1.", () => 1],
    ]),
    ...each("gauge", one, noLabels, [
      ["aoe_uptime_seconds", "Time since the start.", (s) => s.uptimeSeconds],
      [
        "aoe_health_problems",
        "Things that /healthz complains of.",
        (s) => healthProblems(s).length,
      ],
      ["aoe_frames_free", "Frames of the arena that nobody holds.", (s) => s.arenaFramesFree],
      ["aoe_frames_limit", "Frames of the arena.", (s) => s.arenaFrames],
      ["aoe_initiators", "Initiators in the table.", (s) => s.initiators.length],
    ]),
    ...each("counter", one, noLabels, [
      ["aoe_requests_total", "Requests to a target of ours.", (s) => s.exchanges.started],
      ["aoe_replies_total", "Requests that were answered.", (s) => s.exchanges.answered],
      [
        "aoe_foreign_announcements_total",
        "Announcements of other servers for addresses of ours.",
        (s) => s.foreignAnnouncements,
      ],
      [
        "aoe_initiators_forgotten_total",
        "Initiators that gave way in the table to new ones.",
        (s) => s.initiatorsForgotten,
      ],
    ]),
  ];
}

function portFamilies(ports: readonly PortStatus[]): MetricFamily[] {
  const labels = (port: PortStatus): Labels => ({ interface: port.interface });
  const drops = ports.flatMap((port) =>
    Object.entries(port.drops).map(([reason, count]) => ({ port, reason, count })),
  );
  return [
    ...each("gauge", ports, labels, [
      ["aoe_interface_up", "1 when the link is up.", ({ up }) => (up ? 1 : 0)],
      ["aoe_interface_mtu_bytes", "MTU of the interface.", ({ mtuBytes }) => mtuBytes],
    ]),
    ...each("counter", ports, labels, [
      ["aoe_frames_received_total", "Frames taken.", (p) => p.statistics.receivedFrames],
      ["aoe_frames_sent_total", "Frames sent.", (p) => p.statistics.sentFrames],
      [
        "aoe_ring_dropped_frames_total",
        "Frames that the kernel dropped because we were too slow.",
        (p) => p.statistics.receiveOverruns,
      ],
      ["aoe_send_failures_total", "Frames not sent.", (p) => p.statistics.sendFailures],
      ["aoe_send_stalls_total", "Waits for a full send queue.", (p) => p.statistics.sendStalls],
    ]),
    ...each("counter", drops, ({ port, reason }) => ({ interface: port.interface, reason }), [
      ["aoe_frames_dropped_total", "Frames not answered, by reason.", ({ count }) => count],
    ]),
  ];
}

function targetLabel({ shelf, slot }: TargetStatus): string {
  return `e${shelf}.${slot}`;
}

const labelsOfTarget = (target: TargetStatus): Labels => ({ target: targetLabel(target) });

function targetFamilies(targets: readonly TargetStatus[]): MetricFamily[] {
  const errors = targets.flatMap((target) =>
    Object.entries(target.errors).map(([reason, count]) => ({ target, reason, count })),
  );
  return [
    ...each("gauge", targets, labelsOfTarget, [
      ["aoe_target_size_bytes", "Size of the disk.", (t) => t.storage.sectors * 512],
      ["aoe_target_outstanding_requests", "Requests not answered yet.", (t) => t.outstanding],
      [
        "aoe_target_unsynced_bytes",
        "Answered writes that are not durable yet: what a power cut would lose.",
        (t) => t.storageStatistics.unsyncedSectors * 512,
      ],
    ]),
    ...each("counter", targets, labelsOfTarget, [
      ["aoe_read_bytes_total", "Data read.", (t) => bytesOf(t, "read")],
      ["aoe_written_bytes_total", "Data written.", (t) => bytesOf(t, "write")],
      ["aoe_storage_syncs_total", "fdatasync calls.", (t) => t.storageStatistics.syncs],
      [
        "aoe_storage_faults_total",
        "Requests that the disk failed.",
        (t) => t.storageStatistics.faults,
      ],
      [
        "aoe_storage_merged_total",
        "Requests that shared a neighbour's.",
        (t) => t.storageStatistics.merged,
      ],
      [
        "aoe_storage_delayed_total",
        "Requests that waited for an overlapping one.",
        (t) => t.storageStatistics.delayed,
      ],
    ]),
    ...each("counter", errors, ({ target, reason }) => ({ target: targetLabel(target), reason }), [
      ["aoe_errors_total", "Requests answered with an error, by reason.", ({ count }) => count],
    ]),
  ];
}

function bytesOf(target: TargetStatus, command: string): number {
  return target.commands.find((figures) => figures.command === command)?.bytes ?? 0;
}

function commandFamilies(status: ServerStatus): MetricFamily[] {
  const commands = status.targets.flatMap((target) =>
    target.commands.map((figures) => ({ ...figures, target: targetLabel(target) })),
  );
  const labels = ({ target, command }: (typeof commands)[number]): Labels => ({ target, command });
  const name = "aoe_request_duration_seconds";
  const values = commands.flatMap((figures): MetricValue[] => [
    ...buckets(figures.latencyCounts, status.latencyBoundsUs).map(([le, value]) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels(figures), le },
      value,
    })),
    { metricName: `${name}_sum`, labels: labels(figures), value: figures.durationSeconds },
    { metricName: `${name}_count`, labels: labels(figures), value: sum(figures.latencyCounts) },
  ]);
  const help = "From when a request is taken up to its reply.";
  return [
    ...each("counter", commands, labels, [
      ["aoe_commands_total", "Commands answered.", ({ answered }) => answered],
      ["aoe_command_errors_total", "Commands answered with an error.", ({ errors }) => errors],
    ]),
    { name, help, type: "histogram", values },
  ];
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

/** Cumulative, and one to an octave: every second bound is a power of two. */
function buckets(
  counts: readonly number[],
  boundsUs: readonly number[],
): [le: string, count: number][] {
  const result: [string, number][] = [];
  let below = 0;
  for (const [index, count] of counts.entries()) {
    below += count;
    if (index === counts.length - 1) result.push(["+Inf", below]);
    else if (index % 2 === 0) result.push([String(boundsUs[index] / 1e6), below]);
  }
  return result;
}

function initiatorFamilies(status: ServerStatus): MetricFamily[] {
  // Whoever can send frames can make up addresses, and each series stays in Prometheus.
  const initiators = status.initiators
    .toSorted((one, other) => other.answered - one.answered)
    .slice(0, INITIATORS_LIMIT);
  const labels = ({ mac }: (typeof initiators)[number]): Labels => ({ initiator: mac });
  return [
    ...each("gauge", initiators, labels, [
      ["aoe_initiator_outstanding_requests", "Requests not answered yet.", (i) => i.outstanding],
      [
        "aoe_initiator_last_seen_timestamp_seconds",
        "When it last asked for something.",
        (i) => Date.parse(i.lastSeen) / 1000,
      ],
    ]),
    ...each("counter", initiators, labels, [
      ["aoe_initiator_requests_total", "Requests answered.", (i) => i.answered],
      ["aoe_initiator_errors_total", "Requests answered with an error.", (i) => i.errors],
      ["aoe_initiator_read_bytes_total", "Data read.", (i) => i.readBytes],
      ["aoe_initiator_written_bytes_total", "Data written.", (i) => i.writtenBytes],
      [
        "aoe_initiator_retransmissions_total",
        "Requests that it sent again, as far as that can be recognised.",
        (i) => i.retransmissions,
      ],
    ]),
  ];
}

function casFamilies(targets: readonly TargetStatus[]): MetricFamily[] {
  const volumes = targets.flatMap((target) => {
    const { cas } = target;
    return cas === null ? [] : [{ labels: labelsOfTarget(target), cas }];
  });
  const labels = (volume: (typeof volumes)[number]): Labels => volume.labels;
  return [
    ...each("counter", volumes, labels, [
      ["aoe_cache_hits_total", "Blocks found in memory.", ({ cas }) => cas.cacheHits],
      ["aoe_cache_misses_total", "Blocks read from the store.", ({ cas }) => cas.cacheMisses],
    ]),
    ...each("gauge", volumes, labels, [
      [
        "aoe_volume_dirty_blocks",
        "Blocks changed since the tree was built.",
        ({ cas }) => cas.dirtyBlocks,
      ],
    ]),
  ];
}

function storeFamilies(stores: readonly StoreStatus[]): MetricFamily[] {
  const labels = ({ path }: StoreStatus): Labels => ({ store: path });
  const withFree = stores.filter(({ freeBytes }) => freeBytes !== null);
  return [
    ...each("gauge", stores, labels, [
      ["aoe_store_volumes", "Volumes in the store.", (s) => s.volumes],
      ["aoe_store_snapshots", "Snapshots in the store.", (s) => s.snapshots],
      ["aoe_store_blobs", "Blobs in the store.", (s) => s.blobs],
      ["aoe_store_blob_bytes", "Bytes of all blobs.", (s) => s.blobBytes],
      ["aoe_store_disk_bytes", "What the store takes on its disk.", (s) => s.diskBytes],
      ["aoe_store_index_bytes", "Memory of the index.", (s) => s.indexBytes],
      ["aoe_store_log_tail_bytes", "What opening after a crash has to read.", (s) => s.tailBytes],
    ]),
    ...each("gauge", withFree, labels, [
      ["aoe_store_free_bytes", "What its file system has left.", (s) => s.freeBytes ?? 0],
    ]),
    ...each("counter", stores, labels, [
      ["aoe_store_received_bytes_total", "Bytes of blobs handed over.", (s) => s.receivedBytes],
      ["aoe_store_stored_bytes_total", "Bytes of them that were new.", (s) => s.storedBytes],
      ["aoe_store_damaged_blobs_total", "Blobs that failed verification.", (s) => s.damagedBlobs],
    ]),
  ];
}

/** How far an object store is behind, and what its owner is charged for. */
function objectStoreFamilies(stores: readonly StoreStatus[]): MetricFamily[] {
  const all = stores.flatMap(({ path, remote }) => (remote === null ? [] : [{ path, ...remote }]));
  const labels = ({ path }: (typeof all)[number]): Labels => ({ store: path });
  const requests = all.flatMap(({ path, puts, gets, lists, deletes }) =>
    Object.entries({ put: puts, get: gets, list: lists, delete: deletes }).map(
      ([operation, count]) => ({ path, operation, count }),
    ),
  );
  return [
    ...each("gauge", all, labels, [
      [
        "aoe_object_store_up",
        "1 when it answers and this machine may write.",
        ({ trouble, fenced }) => (trouble === null && fenced === null ? 1 : 0),
      ],
      [
        "aoe_object_store_unsent_bytes",
        "Acknowledged writes that it does not have yet: what the loss of this machine would cost.",
        (o) => o.dirtyBytes,
      ],
      [
        "aoe_object_store_lag_seconds",
        "For how long the oldest of them has waited.",
        (o) => o.lagMs / 1000,
      ],
      ["aoe_object_store_cached_bytes", "What of it is on the local disk.", (o) => o.cachedBytes],
    ]),
    ...each("counter", all, labels, [
      ["aoe_object_store_written_bytes_total", "Bytes put.", (o) => o.bytesWritten],
      ["aoe_object_store_read_bytes_total", "Bytes got.", (o) => o.bytesRead],
      ["aoe_object_store_retries_total", "Requests tried again.", (o) => o.retries],
      ["aoe_object_store_failures_total", "Requests that failed.", (o) => o.failures],
    ]),
    ...each("counter", requests, ({ path, operation }) => ({ store: path, operation }), [
      ["aoe_object_store_requests_total", "Requests, as they are charged.", ({ count }) => count],
    ]),
  ];
}

function processFamilies({ eventLoops, memory }: ServerStatus): MetricFamily[] {
  const threads = eventLoops.map((figures, index) => ({ ...figures, thread: String(index) }));
  const labels = ({ thread }: (typeof threads)[number]): Labels => ({ thread });
  return [
    ...each("gauge", threads, labels, [
      [
        "aoe_event_loop_utilization_ratio",
        "Share of the time that it was busy.",
        (t) => t.utilization,
      ],
      [
        "aoe_event_loop_delay_p99_seconds",
        "Lateness of timers, 99th percentile.",
        (t) => t.delayP99Ms / 1000,
      ],
      ["aoe_event_loop_delay_max_seconds", "The same, at most.", (t) => t.delayMaxMs / 1000],
      [
        "aoe_gc_longest_pause_seconds",
        "The longest pause since the start.",
        (t) => t.gcLongestMs / 1000,
      ],
    ]),
    ...each("counter", threads, labels, [
      ["aoe_gc_pauses_total", "Pauses of the garbage collector.", (t) => t.gcPauses],
      ["aoe_gc_pause_seconds_total", "Time in these pauses.", (t) => t.gcSeconds],
    ]),
    ...each("gauge", [memory], noLabels, [
      ["process_resident_memory_bytes", "Resident memory.", (m) => m.residentBytes],
      ["aoe_heap_used_bytes", "Memory of JavaScript objects.", (m) => m.heapUsedBytes],
    ]),
  ];
}
