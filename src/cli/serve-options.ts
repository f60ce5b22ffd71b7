import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Durability } from "../storage/block-storage.ts";
import { UsageError } from "../errors.ts";
import type { Configuration, PortKind, TargetConfiguration } from "../config/configuration.ts";
import {
  DEFAULT_BUFFER_COUNT,
  DEFAULT_CAS_CACHE_BYTES,
  DEFAULT_CONTROL_SOCKET_MODE,
  DEFAULT_WORKERS,
  MAX_WORKERS,
  targetName,
} from "../config/configuration.ts";
import { type ConfigurationOptions, loadConfiguration } from "../config/load.ts";
import { portConflict, targetConflicts } from "../config/rules.ts";
import { isInterfaceName, isVolumeName, VOLUME_NAME_RULE } from "../config/schema.ts";
import { controlSocketIn, defaultStateDirectory } from "../config/state-directory.ts";
import { parseSize } from "../config/units.ts";
import { WIRE_CHANGES } from "../target/wire-change.ts";
import type { LogLevel } from "../log/levels.ts";
import { checkInterface, interfaceNames, listInterfaces } from "./interfaces.ts";
import { parseTargetAddress } from "./target-address.ts";
import { statOrCode, targetObstacle } from "./target-path.ts";

/** The options of `aoed serve`, as commander hands them over. */
export interface ServeOptions {
  readonly config?: string;
  readonly interface?: readonly string[];
  readonly export?: readonly string[];
  readonly size?: string;
  readonly readOnly?: true;
  readonly durability?: Durability;
  readonly port?: PortKind;
  readonly workers?: string;
  readonly stateDir?: string;
  readonly pcap?: string;
  readonly logLevel: LogLevel;
}

/**
 * What to serve, from the file and the options: options go before the file, exports are added.
 * Looks at the paths, and changes nothing.
 * @throws UsageError for the first mistake
 */
export function configurationFor(options: ServeOptions): Configuration {
  const stateDirectory = options.stateDir === undefined ? undefined : resolve(options.stateDir);
  const fromOptions: ConfigurationOptions = {
    interfaces: checkedInterfaces(options.interface ?? []),
    targets: exportedTargets(options),
    port: options.port,
    workers: options.workers === undefined ? undefined : checkedWorkers(options.workers),
    pcapPath: options.pcap === undefined ? undefined : resolve(options.pcap),
    stateDirectory,
  };
  const configuration =
    options.config === undefined
      ? withoutFile(fromOptions, options)
      : loadConfiguration(options.config, fromOptions);
  if (configuration.server.workers > 1 && options.pcap !== undefined) {
    throw new UsageError("--pcap: one thread alone writes a capture: add --workers 1");
  }
  checkServable(configuration);
  return configuration;
}

function withoutFile(fromOptions: ConfigurationOptions, options: ServeOptions): Configuration {
  const stateDirectory = fromOptions.stateDirectory ?? defaultStateDirectory(false);
  const { interfaces = [], targets = [] } = fromOptions;
  if (interfaces.length === 0) {
    throw new UsageError(`--interface is missing; name one: ${listInterfaces()}`);
  }
  const { port = "auto", workers = DEFAULT_WORKERS } = fromOptions;
  const obstacle = portConflict(port, workers);
  if (obstacle !== undefined) throw new UsageError(`--workers: ${obstacle}`);
  const [conflict] = targetConflicts(targets);
  if (conflict !== undefined) throw new UsageError(`--export: ${conflict.message}`);
  const embedded = targets.length === 0;
  return {
    server: {
      interfaces: [...interfaces],
      port,
      workers,
      bufferCount: DEFAULT_BUFFER_COUNT,
      stateDirectory,
      controlSocket: controlSocketIn(stateDirectory),
      controlSocketAccess: { mode: DEFAULT_CONTROL_SOCKET_MODE },
      gc: "auto",
      pcapPath: fromOptions.pcapPath,
    },
    targets: embedded ? [embeddedTarget(stateDirectory, options)] : [...targets],
  };
}

/**
 * What is served when nobody says what: a thin volume, made at the first start. The file that
 * earlier versions made there goes on being served.
 */
function embeddedTarget(stateDirectory: string, options: ServeOptions): TargetConfiguration {
  const address = { shelf: 1, slot: 0 };
  const file = join(stateDirectory, "e1.0.img");
  if (existsSync(file)) return fileTarget(address, file, options);
  return casTarget(address, join(stateDirectory, "store"), undefined, options);
}

/** @param volume its name in the store; undefined: that of the target */
function casTarget(
  address: { shelf: number; slot: number },
  storePath: string,
  volume: string | undefined,
  options: ServeOptions,
): TargetConfiguration {
  const target = fileTarget(address, "", options);
  return {
    ...target,
    backend: "cas",
    cas: {
      blobStore: "file",
      path: storePath,
      blockSizeBytes: undefined,
      volume: volume ?? targetName(address),
      createsVolume: !target.readOnly,
      snapshot: undefined,
      cacheBytes: DEFAULT_CAS_CACHE_BYTES,
      snapshots: undefined,
    },
  };
}

function exportedTargets(options: ServeOptions): TargetConfiguration[] {
  const exports = options.export ?? [];
  if (exports.length === 0 && options.config !== undefined) {
    for (const [name, value] of Object.entries({
      "--size": options.size,
      "--read-only": options.readOnly,
      "--durability": options.durability,
    })) {
      if (value === undefined) continue;
      throw new UsageError(`${name} goes with --export; set it in ${options.config} instead`);
    }
  }
  return exports.map((text) => exportedTarget(text, options));
}

function exportedTarget(text: string, options: ServeOptions): TargetConfiguration {
  const equals = text.indexOf("=");
  if (equals === -1 || equals === text.length - 1) {
    const right = "use SHELF.SLOT=PATH such as 1.0=/data/disk.img";
    throw new UsageError(`--export: ${JSON.stringify(text)} names no path; ${right}`);
  }
  const address = parseTargetAddress(text.slice(0, equals), "--export");
  const named = storeOf(text.slice(equals + 1));
  if (named !== undefined) return casTarget(address, named.path, named.volume, options);
  const target = fileTarget(address, resolve(text.slice(equals + 1)), options);
  const stats = statOrCode(target.path);
  const isDevice = typeof stats !== "string" && stats.isBlockDevice();
  return isDevice ? { ...target, backend: "device", sizeBytes: undefined } : target;
}

/** "STORE" or "STORE#VOLUME", where STORE is the folder of a store; else a file is meant. */
function storeOf(text: string): { path: string; volume: string | undefined } | undefined {
  if (isFolder(text)) return { path: resolve(text), volume: undefined };
  const hash = text.lastIndexOf("#");
  if (hash <= 0 || !isFolder(text.slice(0, hash))) return undefined;
  const volume = text.slice(hash + 1);
  if (!isVolumeName(volume)) {
    throw new UsageError(
      `--export: ${JSON.stringify(volume)} is not the name of a volume; ${VOLUME_NAME_RULE}`,
    );
  }
  return { path: resolve(text.slice(0, hash)), volume };
}

function isFolder(path: string): boolean {
  const stats = statOrCode(path);
  return typeof stats !== "string" && stats.isDirectory();
}

function fileTarget(
  address: { shelf: number; slot: number },
  path: string,
  options: ServeOptions,
): TargetConfiguration {
  return {
    ...address,
    backend: "file",
    path,
    sizeBytes: options.size === undefined ? undefined : checkedSize(options.size),
    readOnly: options.readOnly === true,
    direct: false,
    durability: options.durability ?? "durable",
    writebackIntervalMs: 1000,
    offsetSectors: 0,
    allow: [],
    wireChanges: WIRE_CHANGES,
  };
}

function checkedSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes === 0 || bytes % 512 !== 0) {
    const right = 'use a multiple of 512 octets such as "10GiB"';
    throw new UsageError(`--size: ${JSON.stringify(text)} is not a size in sectors; ${right}`);
  }
  return bytes;
}

function checkedWorkers(text: string): number {
  const workers = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (workers >= 1 && workers <= MAX_WORKERS) return workers;
  const right = `use a whole number from 1 to ${MAX_WORKERS}`;
  throw new UsageError(`--workers: ${JSON.stringify(text)} is not a number of workers; ${right}`);
}

function checkedInterfaces(names: readonly string[]): readonly string[] {
  for (const [index, name] of names.entries()) {
    if (!isInterfaceName(name)) {
      throw new UsageError(`--interface: ${JSON.stringify(name)} is no name; ${listInterfaces()}`);
    }
    if (names.indexOf(name) !== index) {
      throw new UsageError(`--interface: ${name} is given twice; remove one of the two`);
    }
  }
  return names;
}

function checkServable({ server, targets }: Configuration): void {
  // A TAP interface that does not exist is made.
  if (server.port !== "tap") {
    const present = interfaceNames();
    for (const name of server.interfaces) checkInterface(name, present);
  }
  for (const target of targets) {
    const obstacle = targetObstacle(target, server.stateDirectory);
    if (obstacle === undefined) continue;
    throw new UsageError(`${targetName(target)}: ${obstacle.key}: ${obstacle.message}`);
  }
}
