import { targetName } from "../config/configuration.ts";
import { formatSize } from "../config/units.ts";
import type { PortStatus, ServerStatus, TargetStatus } from "../control/control-api.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { askServer } from "./control-client.ts";
import { formatTable } from "./table.ts";

/** Prints what a running server serves and how it fares. */
export async function status(options: { socket?: string; json?: true }): Promise<void> {
  const answer = await askServer<ServerStatus>(options.socket, "GET", "/v1/status");
  const text = options.json === true ? `${JSON.stringify(answer, null, 2)}\n` : summary(answer);
  process.stdout.write(text);
}

function summary(server: ServerStatus): string {
  const ports = formatTable(
    ["INTERFACE", "LINK", "MTU", "MAC", "RECEIVED", "SENT", "OVERRUNS"],
    server.ports.map(portRow),
  );
  const targets = formatTable(
    ["TARGET", "SIZE", "WRITES", "READS", "WRITTEN", "ERRORS", "UNSYNCED", "DISK"],
    server.targets.map(targetRow),
  );
  return `aoed ${server.version}, process ${server.processId}, up ${server.uptimeSeconds} s

${ports}
${targets}`;
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
    storage.description,
  ];
}
