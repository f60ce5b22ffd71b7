import { mkdtemp, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FrameArena } from "../arena/frame-arena.ts";
import type { Configuration, TargetConfiguration } from "../config/configuration.ts";
import type { EthernetPort } from "../ethernet/ethernet-port.ts";
import { createLog } from "../log/log.ts";
import type { RunningServer } from "../server/running-server.ts";
import { type Server, startServer } from "../server/server.ts";
import type { BlockStorage } from "../storage/block-storage.ts";

export interface TestTarget {
  readonly shelf: number;
  readonly slot: number;
  readonly storage: BlockStorage;
  /** MACs as 48-bit numbers. */
  readonly allow?: readonly number[];
}

export interface TestServerOptions {
  readonly arena: FrameArena;
  /** Ports of the test, or `interfaces` of the machine. */
  readonly ports?: readonly EthernetPort[];
  readonly interfaces?: readonly string[];
  readonly targets: readonly TestTarget[];
  readonly stateDirectory: string;
  readonly bufferCount?: number;
}

export interface TestServer extends Pick<RunningServer, "api" | "stop">, Pick<Server, "statusNow"> {
  addTarget(target: TestTarget): Promise<void>;
}

function configurationOf({ shelf, slot, storage, allow = [] }: TestTarget): TargetConfiguration {
  return {
    shelf,
    slot,
    backend: "memory",
    path: "",
    readOnly: storage.info().readOnly,
    direct: false,
    durability: "durable",
    writebackIntervalMs: 1000,
    offsetSectors: 0,
    allow: [...allow],
    wireChanges: ["config", "mask", "reserve"],
  };
}

/** Log lines are not looked at: what they tell is in the status as well. */
const log = createLog({ level: "fatal" });

/**
 * The whole server, as the command line starts it, over ports and disks of the test. Time stands
 * still for it until it is stopped: a busy machine must not make it drop frames that a test is
 * waiting for.
 */
export async function startTestServer(options: TestServerOptions): Promise<TestServer> {
  const { arena, ports = [], targets, stateDirectory, bufferCount = 16 } = options;
  const configuration: Configuration = {
    server: {
      interfaces: [...(options.interfaces ?? ports.map((port) => port.name))],
      port: "packet",
      bufferCount,
      workers: 1,
      stateDirectory,
      controlSocket: undefined,
      controlSocketAccess: { mode: 0o600 },
      gc: "off",
    },
    targets: targets.map(configurationOf),
  };
  let isStopping = false;
  const added: TestTarget[] = [];
  const server = await startServer(configuration, log, {
    arena,
    ports,
    clock: () => (isStopping ? performance.now() : 0),
    openStorage: async ({ shelf, slot }) => {
      const target = [...targets, ...added].find((one) => one.shelf === shelf && one.slot === slot);
      if (target === undefined) throw new Error(`no disk for e${shelf}.${slot}`);
      return Promise.resolve(target.storage);
    },
  });
  return {
    api: server.api,
    statusNow: () => server.core.statusNow(),
    addTarget: async (target) => {
      added.push(target);
      await server.addTarget(configurationOf(target));
    },
    stop: async () => {
      isStopping = true;
      await server.stop();
    },
  };
}

/** A folder of its own for a server's state; in memory where the machine has such a place. */
export async function makeStateDirectory(): Promise<string> {
  const parent = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
  return mkdtemp(join(parent, "aoed-state-"));
}

export async function removeStateDirectory(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}
