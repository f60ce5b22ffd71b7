import { UsageError } from "../errors.ts";
import type { ControlApi, ManagementApi } from "./control-api.ts";
import { Fields } from "./fields.ts";
import type { ApiRequest, Route } from "./router.ts";

/** The server as a whole, and its targets. */
export const targetRoutes: readonly Route[] = [
  { method: "GET", path: "/v1/status", handle: async (api) => api.status() },
  { method: "GET", path: "/v1/targets", handle: async (api) => (await api.status()).targets },
  { method: "POST", path: "/v1/targets", handle: addTarget },
  { method: "DELETE", path: "/v1/targets/:address", handle: removeTarget },
  { method: "POST", path: "/v1/targets/:address/set", handle: setTarget },
  { method: "POST", path: "/v1/targets/:address/resize", handle: resizeTarget },
  { method: "POST", path: "/v1/reload", handle: reload },
  {
    method: "GET",
    path: "/v1/configuration",
    handle: (api) => ({ file: api.configurationFile() }),
  },
  { method: "POST", path: "/v1/targets/:address/clear", handle: clear },
];

async function addTarget(api: ControlApi, { body }: ApiRequest): Promise<unknown> {
  const known = ["shelf", "slot", "volume", "snapshot", "store", "readOnly", "durability", "keys"];
  const fields = new Fields(body, known);
  const keys = fields.optionalTable("keys");
  if (keys !== undefined) {
    // They say everything of the target.
    const address = new Fields(body, ["shelf", "slot", "keys"]);
    return api.addTarget({
      shelf: shelfNumber(address.number("shelf")),
      slot: slotNumber(address.number("slot")),
      keys,
    });
  }
  return api.addTarget({
    shelf: shelfNumber(fields.number("shelf")),
    slot: slotNumber(fields.number("slot")),
    volume: fields.optionalText("volume"),
    snapshot: fields.optionalText("snapshot"),
    store: fields.optionalText("store"),
    readOnly: fields.optionalFlag("readOnly"),
    durability: fields.optionalChoice("durability", ["durable", "writeback"]),
  });
}

async function removeTarget(api: ControlApi, { parameters }: ApiRequest): Promise<unknown> {
  const { shelf, slot } = addressOf(parameters["address"]);
  await api.removeTarget(shelf, slot);
  return { removed: `e${shelf}.${slot}` };
}

async function setTarget(api: ManagementApi, request: ApiRequest): Promise<unknown> {
  const { shelf, slot } = addressOf(request.parameters["address"]);
  const keys = new Fields(request.body, ["keys"]).optionalTable("keys");
  if (keys === undefined) throw new UsageError("keys is missing");
  return api.setTarget(shelf, slot, keys);
}

async function resizeTarget(api: ManagementApi, request: ApiRequest): Promise<unknown> {
  const { shelf, slot } = addressOf(request.parameters["address"]);
  const fields = new Fields(request.body, ["sizeBytes", "shrink"]);
  const shrink = fields.optionalFlag("shrink") ?? false;
  return api.resizeTarget(shelf, slot, fields.number("sizeBytes"), shrink);
}

async function reload(api: ManagementApi, { body }: ApiRequest): Promise<unknown> {
  const dryRun = new Fields(body, ["dryRun"]).optionalFlag("dryRun") ?? false;
  return api.reload({ dryRun });
}

async function clear(api: ControlApi, { parameters, body }: ApiRequest): Promise<unknown> {
  const { shelf, slot } = addressOf(parameters["address"]);
  const fields = new Fields(body, ["configString", "mask", "reservation"]);
  return api.clear(shelf, slot, {
    configString: fields.optionalFlag("configString") ?? false,
    mask: fields.optionalFlag("mask") ?? false,
    reservation: fields.optionalFlag("reservation") ?? false,
  });
}

/** "1.0" or "e1.0". */
function addressOf(text: string): { shelf: number; slot: number } {
  const match = /^e?(\d{1,5})\.(\d{1,3})$/.exec(text);
  if (match === null) throw new UsageError(`${JSON.stringify(text)} is not a target's address`);
  return { shelf: shelfNumber(Number(match[1])), slot: slotNumber(Number(match[2])) };
}

function shelfNumber(shelf: number): number {
  if (shelf <= 65534 && shelf !== 4095) return shelf;
  throw new UsageError(`shelf ${shelf}: use a whole number from 0 to 65534, but not 4095`);
}

function slotNumber(slot: number): number {
  if (slot <= 254) return slot;
  throw new UsageError(`slot ${slot}: use a whole number from 0 to 254`);
}
