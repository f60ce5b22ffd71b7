import type { ControlApi, StoreHint } from "./control-api.ts";
import { Fields } from "./fields.ts";
import type { ApiRequest, Route } from "./router.ts";
import type { StoreApi } from "./store-api.ts";

/** Volumes and snapshots. Every request may name its store: `?store=/data/aoe-store`. */
export const storeRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/v1/stores",
    handle: async (api) => Promise.all((await api.stores()).map(async (store) => store.status())),
  },
  { method: "GET", path: "/v1/store", handle: async (api, r) => (await storeOf(api, r)).status() },
  {
    method: "GET",
    path: "/v1/volumes",
    handle: async (api, r) => (await storeOf(api, r)).volumes(),
  },
  { method: "POST", path: "/v1/volumes", handle: createVolume },
  { method: "POST", path: "/v1/volumes/:volume/resize", handle: resizeVolume },
  { method: "DELETE", path: "/v1/volumes/:volume", handle: deleteVolume },
  { method: "GET", path: "/v1/snapshots", handle: listSnapshots },
  { method: "POST", path: "/v1/snapshots", handle: createSnapshot },
  {
    method: "GET",
    path: "/v1/snapshots/:snapshot",
    handle: async (api, r) => (await storeOf(api, r)).snapshot(r.parameters["snapshot"]),
  },
  {
    method: "DELETE",
    path: "/v1/snapshots/:snapshot",
    handle: async (api, r) => (await storeOf(api, r)).deleteSnapshot(r.parameters["snapshot"]),
  },
  { method: "POST", path: "/v1/snapshots/:snapshot/rollback", handle: rollback },
  { method: "POST", path: "/v1/snapshots/:snapshot/clone", handle: clone },
  { method: "GET", path: "/v1/snapshots/:snapshot/diff", handle: diff },
];

/** The store that a request means, by what it names. */
export async function storeOf(
  api: ControlApi,
  request: ApiRequest,
  hint: StoreHint = {},
): Promise<StoreApi> {
  return api.store({
    path: request.query.get("store") ?? undefined,
    volume: request.parameters["volume"],
    snapshot: request.parameters["snapshot"],
    ...hint,
  });
}

async function createVolume(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const fields = new Fields(request.body, ["name", "sizeBytes", "blockBytes"]);
  const store = await storeOf(api, request);
  return store.createVolume({
    name: fields.text("name"),
    sizeBytes: fields.number("sizeBytes"),
    blockBytes: fields.optionalNumber("blockBytes"),
  });
}

async function resizeVolume(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const sizeBytes = new Fields(request.body, ["sizeBytes"]).number("sizeBytes");
  const store = await storeOf(api, request);
  return store.resizeVolume(request.parameters["volume"], sizeBytes);
}

async function deleteVolume(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const { volume } = request.parameters;
  const store = await storeOf(api, request);
  await store.deleteVolume(volume);
  return { deleted: volume };
}

async function listSnapshots(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const volume = request.query.get("volume") ?? undefined;
  const store = await storeOf(api, request, { volume });
  return store.snapshots(volume);
}

async function createSnapshot(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const fields = new Fields(request.body, ["volume", "description"]);
  const volume = fields.text("volume");
  const description = fields.optionalText("description") ?? "";
  const store = await storeOf(api, request, { volume });
  return store.createSnapshot(volume, description);
}

async function rollback(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const volume = new Fields(request.body, ["volume"]).text("volume");
  const { snapshot } = request.parameters;
  const store = await storeOf(api, request, { volume });
  return store.rollback(snapshot, volume);
}

async function clone(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const volume = new Fields(request.body, ["volume"]).text("volume");
  const store = await storeOf(api, request);
  return store.clone(request.parameters["snapshot"], volume);
}

async function diff(api: ControlApi, request: ApiRequest): Promise<unknown> {
  const to = request.query.get("to") ?? undefined;
  const store = await storeOf(api, request);
  return store.diff(request.parameters["snapshot"], to);
}
