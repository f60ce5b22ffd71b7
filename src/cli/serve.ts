import { flushCompileCache } from "node:module";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createLog, type Log, type LogOptions } from "../log/log.ts";
import type { ConfigurationSource } from "../server/changes.ts";
import { type Configuration, targetName } from "../config/configuration.ts";
import { formatSize } from "../config/units.ts";
import type { ServerStatus } from "../control/control-api.ts";
import { messageOf, NoAnswer, UsageError } from "../errors.ts";
import type { RunningServer } from "../server/running-server.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { ServiceManager } from "../system/service-manager.ts";
import { EXIT_FAULT, EXIT_INTERRUPTED } from "./exit-codes.ts";
import { configurationFor, type ServeOptions } from "./serve-options.ts";
import { formatTable } from "./table.ts";

/** Before a status that lacks a part is asked for again. */
const STATUS_PAUSE_MS = 100;

/** Serves until SIGTERM or SIGINT; then answers what is in flight, syncs, and returns. */
export async function serve(options: ServeOptions): Promise<void> {
  const configuration = configurationFor(options);
  const logging = { level: options.logLevel, humanReadable: process.stderr.isTTY };
  const log = createLog(logging);
  const manager = new ServiceManager();
  const asked = stopSignal();
  const started = Promise.withResolvers<RunningServer>();
  let isStopping = false;
  // Also while it starts: without a listener the signal would end the process.
  process.on("SIGHUP", () => {
    void started.promise.then(async (running) => {
      if (!isStopping) await reloadOnSignal(running, manager, log);
    });
  });
  const server = await start(configuration, log, logging, sourceOf(options));
  const end = Promise.race([asked, server.failed]);
  const status = await firstStatus(server, end).catch(async (error: unknown) => {
    await server.stop();
    throw error;
  });
  if (status !== undefined) {
    process.stdout.write(announcement(status));
    manager.ready(summary(status));
    manager.keepAlive(() => !server.hangs);
    started.resolve(server);
  }
  const ending = await end;
  isStopping = true;
  manager.stopping();
  if (ending instanceof Error) await endAfter(ending, server, log);
  log.info({ signal: ending }, "stopping: finishing what is in flight");
  // Whoever asks again does not want to wait.
  for (const again of ["SIGTERM", "SIGINT"] as const) {
    process.once(again, () => process.exit(EXIT_INTERRUPTED));
  }
  await server.stop();
  process.exit(0);
}

/** How it is when each of its parts has said so; undefined: it is to end before. */
export async function firstStatus(
  server: { readonly api: Pick<RunningServer["api"], "status"> },
  end: Promise<unknown>,
): Promise<ServerStatus | undefined> {
  const over = end.then(() => true);
  do {
    try {
      const status = await server.api.status();
      if (status.silentWorkers.length === 0) return status;
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
    }
  } while (!(await Promise.race([over, delay(STATUS_PAUSE_MS, false)])));
  return undefined;
}

/** Loaded only now: a mistake in the configuration is answered without it. */
async function start(
  configuration: Configuration,
  log: Log,
  logging: Pick<LogOptions, "level" | "humanReadable">,
  source: ConfigurationSource | undefined,
): Promise<RunningServer> {
  if (configuration.server.workers > 1) {
    const { startWorkers } = await import("../workers/workers.ts");
    flushCompileCache();
    return startWorkers(configuration, log, logging, source);
  }
  const { startServer } = await import("../server/server.ts");
  // Now, and not at the end: a server that is killed should start fast as well.
  flushCompileCache();
  return startServer(configuration, log, {}, source);
}

/**
 * A part of the server has died: the rest stops in order, and whoever watches over this process
 * starts it again, before initiators have lost patience.
 */
async function endAfter(failure: Error, server: RunningServer, log: Log): Promise<never> {
  log.fatal({ error: failure.message }, "a part of the server has died: stopping the rest");
  try {
    await server.stop();
  } catch (error) {
    log.fatal({ error: String(error) }, "the rest did not stop in order");
  }
  process.exit(EXIT_FAULT);
}

async function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((told) => {
    process.once("SIGTERM", told);
    process.once("SIGINT", told);
  });
}

/** How the configuration is read again; undefined: there is no file. */
function sourceOf(options: ServeOptions): ConfigurationSource | undefined {
  if (options.config === undefined) return undefined;
  const config = resolve(options.config);
  return { path: config, read: () => configurationFor({ ...options, config }) };
}

/** A mistake in the file leaves the server as it is. Never rejects. */
export async function reloadOnSignal(
  server: Pick<RunningServer, "api">,
  manager: Pick<ServiceManager, "ready" | "reloading">,
  log: Pick<Log, "error">,
): Promise<void> {
  manager.reloading();
  try {
    await server.api.reload({ dryRun: false });
  } catch (error) {
    const effect =
      error instanceof UsageError
        ? "the configuration was not reloaded: nothing has changed"
        : "the configuration was not reloaded as a whole";
    log.error({ error: messageOf(error) }, effect);
  }
  try {
    manager.ready(summary(await server.api.status()));
  } catch (error) {
    log.error({ error: messageOf(error) }, "the state after a reload cannot be had");
    manager.ready("");
  }
}

function summary({ ports, targets }: ServerStatus): string {
  const interfaces = ports.map((port) => port.interface).join(", ");
  return `${interfaces} with ${targets.map(targetName).join(", ")}`;
}

/** The ready line, what is exported, and what to type on a client. */
function announcement(status: ServerStatus): string {
  return `aoed: ready on ${summary(status)}

${formatTable(["TARGET", "SIZE", "WRITES", "DISK"], status.targets.map(targetRow))}
${clientCommands(status.targets)}`;
}

type TargetStatus = ServerStatus["targets"][number];

function targetRow(target: TargetStatus): string[] {
  const { storage } = target;
  return [
    targetName(target),
    formatSize(storage.sectors * SECTOR_BYTES),
    storage.readOnly ? "refused" : storage.durability,
    storage.description,
  ];
}

function clientCommands(targets: readonly TargetStatus[]): string {
  const [target] = targets;
  const device = `/dev/etherd/${targetName(target)}`;
  const format = `  mkfs.ext4 ${device}     # once: it erases the disk\n`;
  return `On a Linux client of the same network, as root:
  modprobe aoe
  aoe-discover
${target.storage.readOnly ? "" : format}  mount ${target.storage.readOnly ? "-o ro " : ""}${device} /mnt
`;
}
