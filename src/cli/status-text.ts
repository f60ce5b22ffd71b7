import { targetName } from "../config/configuration.ts";
import { formatSize } from "../config/units.ts";
import type { PortStatus, ServerStatus, TargetStatus } from "../control/control-api.ts";
import { healthProblems } from "../control/health.ts";
import type { StoreStatus } from "../control/store-api.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { approximateSize } from "./approximate-size.ts";
import { dropTables, initiatorTables, loadTable } from "./load-text.ts";
import { formatTable } from "./table.ts";
import { ageText, durationText } from "./time-text.ts";

/**
 * Everything that `aoed status` shows.
 * @param before an earlier look, since when rates and latencies are to be; undefined: rates of the last
 *   second, latencies since the start
 */
export function statusText(server: ServerStatus, before?: ServerStatus): string {
  const ports = formatTable(
    ["INTERFACE", "LINK", "MTU", "MAC", "RECEIVED", "SENT", "OVERRUNS"],
    server.ports.map(portRow),
  );
  const targets = formatTable(
    ["TARGET", "SIZE", "WRITES ARE", "READS", "WRITES", "ERRORS", "UNSYNCED", "DISK"],
    server.targets.map(targetRow),
  );
  const tables = [targets, loadTable(server, before), ...initiatorTables(server), ports];
  tables.push(...dropTables(server.ports));
  const cas = server.targets.filter((target) => target.cas !== null);
  if (cas.length > 0) {
    tables.push(
      formatTable(["TARGET", "SERVES", "CACHE HITS", "CHANGED", "STORE"], cas.map(casRow)),
    );
  }
  if (server.stores.length > 0) {
    tables.push(
      formatTable(
        [
          "STORE",
          "VOLUMES",
          "SNAPSHOTS",
          "BLOBS",
          "CONTENT",
          "ON DISK",
          "FREE",
          "DEDUP",
          "COLLECTED",
          "VERIFIED",
        ],
        server.stores.map(storeRow),
      ),
    );
  }
  const remote = server.stores.flatMap(remoteRow);
  if (remote.length > 0) {
    tables.push(
      formatTable(
        ["OBJECT STORE", "NOT SENT", "FOR", "NEWEST STATE", "CACHED", "PUTS", "GETS", "STATE"],
        remote,
      ),
    );
  }
  return `${head(server)}\n${tables.join("\n")}`;
}

function head(server: ServerStatus): string {
  const { version, processId, uptimeSeconds, memory, eventLoops } = server;
  const busy = eventLoops.map(({ utilization }) => `${Math.round(utilization * 100)} %`);
  const late = Math.max(...eventLoops.map(({ delayMaxMs }) => delayMaxMs));
  const problems = healthProblems(server).map(
    ({ subject, problem }) => `PROBLEM: ${subject}: ${problem}\n`,
  );
  const first = `aoed ${version}, process ${processId}, up ${durationText(uptimeSeconds)}`;
  const memoryUsed = approximateSize(memory.residentBytes);
  return `${first}
busy ${busy.join(" + ")}, timers late by ${late.toFixed(1)} ms at most, memory ${memoryUsed}
${problems.join("")}`;
}

/** How far an object store is behind, and what it has cost. */
function remoteRow({ remote }: StoreStatus): string[][] {
  if (remote === null) return [];
  return [
    [
      remote.description,
      approximateSize(remote.dirtyBytes),
      `${(remote.lagMs / 1000).toFixed(1)} s`,
      remote.headTime === null ? "none" : ageText(remote.headTime),
      approximateSize(remote.cachedBytes),
      String(remote.puts),
      String(remote.gets),
      remote.fenced ?? remote.trouble ?? "ok",
    ],
  ];
}

function casRow(target: TargetStatus): string[] {
  const { cas } = target;
  if (cas === null) return [];
  const asked = cas.cacheHits + cas.cacheMisses;
  return [
    targetName(target),
    cas.volume ?? `snapshot ${cas.snapshot}`,
    asked === 0 ? "-" : `${((cas.cacheHits / asked) * 100).toFixed(1)}%`,
    `${cas.dirtyBlocks} blocks`,
    cas.store,
  ];
}

function storeRow(store: StoreStatus): string[] {
  const { collected, receivedBytes, storedBytes } = store;
  return [
    store.path,
    String(store.volumes),
    String(store.snapshots),
    String(store.blobs),
    approximateSize(store.blobBytes),
    approximateSize(store.diskBytes),
    store.freeBytes === null ? "-" : approximateSize(store.freeBytes),
    storedBytes === 0 ? "-" : `${(receivedBytes / storedBytes).toFixed(2)}x`,
    collected === null ? "-" : (collected.failure ?? ageText(collected.ended)),
    store.scrubbed === null ? "never" : ageText(store.scrubbed),
  ];
}

function portRow(port: PortStatus): string[] {
  return [
    port.interface,
    port.up ? "up" : "down",
    String(port.mtuBytes),
    port.mac,
    String(port.statistics.receivedFrames),
    String(port.statistics.sentFrames),
    String(port.statistics.receiveOverruns),
  ];
}

function targetRow(target: TargetStatus): string[] {
  const { storage, statistics, storageStatistics } = target;
  return [
    targetName(target),
    formatSize(storage.sectors * SECTOR_BYTES),
    storage.readOnly ? "refused" : storage.durability,
    String(statistics.reads),
    String(statistics.writes),
    String(statistics.ataErrors),
    formatSize(storageStatistics.unsyncedSectors * SECTOR_BYTES),
    target.suspended ? `${storage.description} (suspended)` : storage.description,
  ];
}
