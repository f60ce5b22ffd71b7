import { DEFAULT_CAS_CACHE_BYTES, type TargetConfiguration } from "../config/configuration.ts";
import type { AddTargetRequest } from "../control/control-api.ts";
import { UsageError } from "../errors.ts";
import { WIRE_CHANGES } from "../target/wire-change.ts";
import type { ServerStores } from "./server-stores.ts";

/** @throws UsageError unless one of a volume and a snapshot is named */
export function checkAddRequest({ volume, snapshot }: AddTargetRequest): void {
  if ((volume === undefined) !== (snapshot === undefined)) return;
  throw new UsageError("name what to serve: --volume NAME or --snapshot ID, one of the two");
}

/**
 * What a target that is added while the server runs would be in the configuration file.
 * @throws UsageError when it cannot be known which volume or snapshot is meant
 */
export function addedTarget(request: AddTargetRequest, stores: ServerStores): TargetConfiguration {
  const { shelf, slot, volume, snapshot, store, readOnly = false } = request;
  checkAddRequest(request);
  const isSnapshot = snapshot !== undefined;
  if (isSnapshot && request.durability === "writeback") {
    throw new UsageError("a snapshot takes no writes: leave the durability away");
  }
  const open = store === undefined ? stores.find({ volume, snapshot }) : undefined;
  return {
    shelf,
    slot,
    backend: "cas",
    path: "",
    readOnly: readOnly || isSnapshot,
    direct: false,
    durability: request.durability ?? "durable",
    writebackIntervalMs: 1000,
    offsetSectors: 0,
    allow: [],
    wireChanges: WIRE_CHANGES,
    cas: {
      blobStore: "file",
      path: store ?? open?.path,
      blockSizeBytes: undefined,
      volume: volume ?? "",
      createsVolume: false,
      snapshot,
      cacheBytes: DEFAULT_CAS_CACHE_BYTES,
      snapshots: undefined,
    },
  };
}
