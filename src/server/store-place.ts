import { existsSync, readFileSync, statSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { NoteReader } from "../blob/blob-store.ts";
import { lockStore, openFileStore } from "../blob/open-file-store.ts";
import { NodeDisk } from "../blob/node-disk.ts";
import { SUPERBLOCK_NAME } from "../blob/segment-format.ts";
import { CasStore } from "../cas/cas-store.ts";
import type { FrontConfiguration } from "../config/front-keys.ts";
import { loadStoreFile, type StoreLocation } from "../config/load.ts";
import { UsageError } from "../errors.ts";
import { ObjectFault } from "../object/object-store.ts";
import type { ObjectStoreSettings } from "../object/object-store-settings.ts";

export type StoreLog = (level: "warn" | "error", message: string) => void;

/** Where a store is: in a folder, or in an object store with a folder in front of it. */
export interface StorePlace {
  readonly path: string;
  readonly remote?: RemotePlace | undefined;
}

export interface RemotePlace {
  readonly settings: ObjectStoreSettings;
  readonly front: FrontConfiguration;
  /** Beside a writer, the store as it stood when it was opened. */
  readonly readOnly: boolean;
}

/** In the folder before an object store: where that is, for commands that name the folder only. */
const REMOTE_NAME = "object-store.json";
/** What opening a store elsewhere has to read at most, and so a short one. */
const REMOTE_TAIL_LIMIT_BYTES = 64 * 1024 * 1024;
/** What goes on longer is tried again by the store itself, which says so in its status. */
const RETRY_DEADLINE_MS = 10_000;

/** Whether a store is in this folder, or was here in front of an object store. */
export function isStore(folder: string): boolean {
  return existsSync(join(folder, SUPERBLOCK_NAME)) || existsSync(join(folder, REMOTE_NAME));
}

/**
 * The place that is meant by a path alone: a folder, or a file that says where a store is.
 * @throws UsageError
 */
export function placeOf(path: string): StorePlace {
  return isFile(path) ? placeIn(loadStoreFile(path)) : placeOfFolder(path);
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

function placeIn({ path, objectStore, front, readOnly }: StoreLocation): StorePlace {
  if (objectStore === undefined) return { path };
  return { path, remote: { settings: objectStore, front, readOnly } };
}

function placeOfFolder(folder: string): StorePlace {
  const file = join(folder, REMOTE_NAME);
  if (!existsSync(file)) return { path: folder };
  try {
    return { path: folder, remote: JSON.parse(readFileSync(file, "utf8")) as RemotePlace };
  } catch (error) {
    throw new UsageError(`${file} cannot be read; start the server once, which writes it anew`, {
      cause: error,
    });
  }
}

/** @throws UsageError */
export function openStoreAt(place: StorePlace, log: StoreLog): Promise<CasStore> {
  const { path, remote } = place;
  if (remote === undefined) {
    return CasStore.open({ open: async (reader) => openFileStore(path, reader), log });
  }
  return CasStore.open({
    open: async (reader) => openRemote(path, remote, reader, log),
    log,
    tailLimitBytes: REMOTE_TAIL_LIMIT_BYTES,
  });
}

async function openRemote(path: string, remote: RemotePlace, reader: NoteReader, log: StoreLog) {
  // Loaded when they are used: the clients of services are large.
  const { openObjectStore } = await import("../object/open-object-store.ts");
  const { openPackedStore } = await import("../pack/open-packed-store.ts");
  const { settings, front, readOnly } = remote;
  const disk = await NodeDisk.open(path);
  const unlock = await lockStore(path);
  const objects = await openObjectStore(settings, {
    retry: { deadlineMs: RETRY_DEADLINE_MS },
    readOnly,
    warn: (message) => log("warn", message),
  }).catch(async (error: unknown) => {
    await unlock();
    if (!(error instanceof ObjectFault)) throw error;
    throw new UsageError(`the object store does not answer: ${error.message}`, { cause: error });
  });
  const options = { objects, disk, reader, host: hostname(), readOnly, ...front, log, unlock };
  const store = await openPackedStore(options);
  if (!readOnly) {
    await remember(path, remote).catch((error: unknown) => {
      log(
        "warn",
        `${path}: commands cannot find the object store by this folder: ${String(error)}`,
      );
    });
  }
  return store;
}

/** Without `take_over`: that is said once, by whoever knows that the other machine is down. */
async function remember(path: string, { settings, front, readOnly }: RemotePlace): Promise<void> {
  const { takeOver: _, ...rest } = front;
  const file = join(path, REMOTE_NAME);
  const text = `${JSON.stringify({ settings, front: rest, readOnly }, null, 2)}\n`;
  await writeFile(`${file}.new`, text, { mode: 0o600 });
  await rename(`${file}.new`, file);
}
