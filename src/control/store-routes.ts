import type { ControlApi, StoreHint } from "./control-api.ts";
import { Fields } from "./fields.ts";
import type { ApiRequest, Route } from "./router.ts";
import type { StoreApi } from "./store-api.ts";

/** Volumes and snapshots. Every request may name its store: `?store=/data/aoe-store`. */
export const storeRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/v1/stores",
    handle: async (api) => Promise.all(api.stores().map(async (store) => store.status())),
  },
  { method: "GET", path: "/v1/store", handle: async (api, r) => storeOf(api, r).status() },
  { method: "GET", path: "/v1/volumes", handle: async (api, r) => storeOf(api, r).volumes() },
  { method: "POST", path: "/v1/volumes", handle: createVolume },
  { method: "POST", path: "/v1/volumes/:volume/resize", handle: resizeVolume },
  { method: "DELETE", path: "/v1/volumes/:volume", handle: deleteVolume },
  { method: "GET", path: "/v1/snapshots", handle: listSnapshots },
  { method: "POST", path: "/v1/snapshots", handle: createSnapshot },
  {
    method: "GET",
    path: "/v1/snapshots/:snapshot",
    handle: async (api, r) => storeOf(api, r).snapshot(r.parameters["snapshot"]),
  },
  {
    method: "DELETE",
    path: "/v1/snapshots/:snapshot",
    handle: async (api, r) => storeOf(api, r).deleteSnapshot(r.parameters["snapshot"]),
  },
  { method: "POST", path: "/v1/snapshots/:snapshot/rollback", handle: rollback },
  { method: "POST", path: "/v1/snapshots/:snapshot/clone", handle: clone },
  { method: "GET", path: "/v1/snapshots/:snapshot/diff", handle: diff },
];

/** The store that a request means, by what it names. */
export function storeOf(api: ControlApi, request: ApiRequest, hint: StoreHint = {}): StoreApi {
  return api.store({
    path: request.query.get("store") ?? undefined,
    volume: request.parameters["volume"],
    snapshot: request.parameters["snapshot"],
    ...hint,
  });
}

async function createVolume(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const fields = new Fields(request.body, ["name", "sizeBytes", "blockBytes"]);
  return storeOf(api, request).createVolume({
    name: fields.text("name"),
    sizeBytes: fields.number("sizeBytes"),
    blockBytes: fields.optionalNumber("blockBytes"),
  });
}

async function resizeVolume(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const sizeBytes = new Fields(request.body, ["sizeBytes"]).number("sizeBytes");
  return storeOf(api, request).resizeVolume(request.parameters["volume"], sizeBytes);
}

async function deleteVolume(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const { volume } = request.parameters;
  await storeOf(api, request).deleteVolume(volume);
  return { deleted: volume };
}

async function listSnapshots(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const volume = request.query.get("volume") ?? undefined;
  return storeOf(api, request, { volume }).snapshots(volume);
}

async function createSnapshot(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const fields = new Fields(request.body, ["volume", "description"]);
  const volume = fields.text("volume");
  const description = fields.optionalText("description") ?? "";
  return storeOf(api, request, { volume }).createSnapshot(volume, description);
}

async function rollback(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const volume = new Fields(request.body, ["volume"]).text("volume");
  const { snapshot } = request.parameters;
  return storeOf(api, request, { volume }).rollback(snapshot, volume);
}

async function clone(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const volume = new Fields(request.body, ["volume"]).text("volume");
  return storeOf(api, request).clone(request.parameters["snapshot"], volume);
}

async function diff(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const to = request.query.get("to") ?? undefined;
  return storeOf(api, request).diff(request.parameters["snapshot"], to);
}
