import { realpathSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { loadStoreFile } from "../config/load.ts";
import { controlSocketIn, likelyControlSockets } from "../config/state-directory.ts";
import type { StoreApi, StoreStatus } from "../control/store-api.ts";
import { systemErrorCode, UsageError } from "../errors.ts";
import { atServer, exchange } from "./control-client.ts";
import { RemoteStore } from "./remote-store.ts";
import { statOrCode } from "./target-path.ts";

/** Options that say which store a command is about. */
export interface StoreOptions {
  /** The store's folder, or a file that says where it is. */
  readonly store?: string;
  /** The control socket of the server that has it. */
  readonly socket?: string;
  readonly json?: true;
}

/**
 * Runs `action` on a store: through the server at `--socket`; or, with `--store`, through a running
 * server that has it open, else directly; or through whichever server runs.
 * @param create whether a store is made where there is none
 * @throws UsageError when the store is missing, or in use by somebody who does not answer
 */
export async function withStore<Result>(
  options: StoreOptions,
  action: (store: StoreApi) => Promise<Result>,
  create = false,
): Promise<Result> {
  const { socket, store } = options;
  const path = store === undefined ? undefined : resolve(store);
  if (path === undefined || socket !== undefined) {
    return throughServer(socket, path === undefined ? undefined : folderOf(path), action);
  }
  const holder = await serverWith(path);
  if (holder !== undefined) return throughServer(holder, folderOf(path), action);
  return directly(path, create, action);
}

async function throughServer<Result>(
  socket: string | undefined,
  path: string | undefined,
  action: (store: StoreApi) => Promise<Result>,
): Promise<Result> {
  const found = await atServer(socket, async (candidate) => {
    await exchange(candidate, { method: "GET", path: "/v1/stores" });
    return candidate;
  }).catch((error: unknown) => {
    if (!(error instanceof UsageError) || path !== undefined) throw error;
    throw new UsageError(`${error.message}, or name the folder of a --store`, { cause: error });
  });
  return action(new RemoteStore(found, path));
}

/** The control socket of the server that has this store open, if one answers where they do. */
export async function serverWith(path: string): Promise<string | undefined> {
  const wanted = realPath(folderOf(path));
  // The store of a server without a configuration lies beside its socket.
  const sockets = new Set([controlSocketIn(dirname(wanted)), ...likelyControlSockets()]);
  for (const socket of sockets) {
    const stores = await storesAt(socket);
    if (stores.some((store) => store.path === wanted)) return socket;
  }
  return undefined;
}

async function storesAt(socketPath: string): Promise<StoreStatus[]> {
  try {
    const answer = await exchange(socketPath, { method: "GET", path: "/v1/stores" });
    return answer as StoreStatus[];
  } catch (error) {
    // Nobody is there, or somebody else's server: the lock of the store decides.
    if (systemErrorCode(error) !== undefined || error instanceof UsageError) return [];
    throw error;
  }
}

async function directly<Result>(
  path: string,
  create: boolean,
  action: (store: StoreApi) => Promise<Result>,
): Promise<Result> {
  // Loaded only here: a command that asks a server does without the backend.
  const { StorePool } = await import("../server/store-pool.ts");
  const { LocalStore } = await import("../server/local-store.ts");
  const pool = new StorePool((level, message) => {
    process.stderr.write(`aoed: ${level}: ${message}\n`);
  });
  try {
    const open = await pool.acquire(path, create);
    return await action(new LocalStore(open, { pool }));
  } finally {
    await pool.close();
  }
}

/** The folder of a store that is named by it, or by a file that says where it is. */
function folderOf(path: string): string {
  const stats = statOrCode(path);
  if (stats === "EACCES") {
    throw new UsageError(`${path}: permission denied; run this as root, or as the store's user`);
  }
  return typeof stats !== "string" && stats.isFile() ? loadStoreFile(path).path : path;
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
