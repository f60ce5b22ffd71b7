import type { ControlApi } from "../control/control-api.ts";
import type { StoreApi } from "../control/store-api.ts";
import type { Server } from "../server/server.ts";
import type { MethodTable } from "./remote.ts";

/**
 * What the main thread asks a worker. A method that is missing in a table does not compile, so this
 * is where one that ControlApi or StoreApi gets is added, and then where workers-api.ts says which
 * workers it is asked of.
 */

/** The worker's Server. */
export const SERVER_OBJECT = "server";
/** Its ControlApi. Every other name is the path of a store. */
export const CONTROL_OBJECT = "control";

export type ServerMethod =
  | "acquire"
  | "open"
  | "make"
  | "begin"
  | "abandon"
  | "stop"
  | "addTarget"
  | "withdrawTarget"
  | "restrictTarget"
  | "suspendTarget"
  | "resumeTarget"
  | "resizeTarget"
  | "setElsewhere"
  | "forgetRemoved"
  | "recallRemoved"
  | "storeCandidates";

export const SERVER_METHODS: MethodTable<Server, ServerMethod> = {
  acquire: true,
  open: true,
  make: true,
  begin: true,
  abandon: true,
  stop: true,
  addTarget: true,
  withdrawTarget: true,
  restrictTarget: true,
  suspendTarget: true,
  resumeTarget: true,
  resizeTarget: true,
  setElsewhere: true,
  forgetRemoved: true,
  recallRemoved: true,
  storeCandidates: true,
};

/** Stores are no plain data: the main thread finds them by `storeCandidates`. */
export type ControlMethod = Exclude<keyof ControlApi, "stores" | "store">;

export const CONTROL_METHODS: MethodTable<ControlApi, ControlMethod> = {
  status: true,
  addTarget: true,
  removeTarget: true,
  clear: true,
};

export const STORE_METHODS: MethodTable<StoreApi> = {
  status: true,
  volumes: true,
  createVolume: true,
  resizeVolume: true,
  deleteVolume: true,
  snapshots: true,
  snapshot: true,
  createSnapshot: true,
  deleteSnapshot: true,
  rollback: true,
  clone: true,
  diff: true,
  run: true,
};
