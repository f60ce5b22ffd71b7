import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { targetName } from "../config/configuration.ts";
import { controlSocketIn, likelyControlSockets } from "../config/state-directory.ts";
import type { ClearRequest, ServerStatus, TargetStateStatus } from "../control/control-api.ts";
import { UsageError } from "../errors.ts";
import { formatMac } from "../mac-address.ts";
import {
  EMPTY_STATE,
  loadState,
  saveState,
  stateFilePath,
  type TargetState,
} from "../target/state-file.ts";
import { askServer, isServerThere } from "./control-client.ts";
import { parseTargetAddress, type TargetAddress } from "./target-address.ts";

export interface StateOptions {
  readonly socket?: string;
  readonly stateDir?: string;
  readonly json?: true;
}

export interface ClearOptions extends StateOptions {
  readonly configString?: true;
  readonly mask?: true;
  readonly reservation?: true;
}

/** Where a target's state is: with the server that runs, or in the file it left. */
type Place = { readonly socket: string } | { readonly folder: string };

export async function showState(text: string, options: StateOptions): Promise<void> {
  const address = parseTargetAddress(text, "SHELF.SLOT");
  const place = await findState(address, options);
  const state =
    "socket" in place
      ? await stateFromServer(place.socket, address)
      : asStatus(await loadState(stateFilePath(place.folder, address.shelf, address.slot)));
  print(address, state, options);
}

export async function clearState(text: string, options: ClearOptions): Promise<void> {
  const address = parseTargetAddress(text, "SHELF.SLOT");
  const what: ClearRequest = {
    configString: options.configString === true,
    mask: options.mask === true,
    reservation: options.reservation === true,
  };
  if (!Object.values(what).includes(true)) {
    throw new UsageError("say what to clear: --config-string, --mask, --reservation, or several");
  }
  const place = await findState(address, options);
  const state =
    "socket" in place
      ? await askServer<TargetStateStatus>(
          place.socket,
          "POST",
          `/v1/targets/${address.shelf}.${address.slot}/clear`,
          what,
        )
      : asStatus(await clearInFile(place.folder, address, what));
  print(address, state, options);
}

/** A server that runs comes first: it holds the state in memory and would write over the file. */
async function findState(address: TargetAddress, options: StateOptions): Promise<Place> {
  if (options.socket !== undefined) return { socket: options.socket };
  const sockets =
    options.stateDir === undefined
      ? likelyControlSockets()
      : [controlSocketIn(resolve(options.stateDir))];
  for (const socket of sockets) {
    if (await isServerThere(socket)) return { socket };
  }
  const folders = sockets.map((socket) => dirname(socket));
  const folder = folders.find((candidate) =>
    existsSync(stateFilePath(candidate, address.shelf, address.slot)),
  );
  if (folder !== undefined) return { folder };
  const where = folders.join(" or ");
  throw new UsageError(
    `${targetName(address)}: no server runs and there is no state in ${where}; name its --state-dir`,
  );
}

async function stateFromServer(socket: string, address: TargetAddress): Promise<TargetStateStatus> {
  const { targets } = await askServer<ServerStatus>(socket, "GET", "/v1/status");
  const target = targets.find(
    ({ shelf, slot }) => shelf === address.shelf && slot === address.slot,
  );
  if (target !== undefined) return target.state;
  const served = targets.map(targetName).join(", ");
  throw new UsageError(`${targetName(address)}: the server has no such target; it has ${served}`);
}

async function clearInFile(
  folder: string,
  { shelf, slot }: TargetAddress,
  what: ClearRequest,
): Promise<TargetState> {
  const path = stateFilePath(folder, shelf, slot);
  const before = await loadState(path);
  const after: TargetState = {
    configString: what.configString ? EMPTY_STATE.configString : before.configString,
    mask: what.mask ? [] : before.mask,
    reservation: what.reservation ? [] : before.reservation,
  };
  await saveState(folder, path, after);
  return after;
}

function asStatus(state: TargetState): TargetStateStatus {
  return {
    configString: Buffer.from(state.configString).toString("base64"),
    mask: state.mask.map(formatMac),
    reservation: state.reservation.map(formatMac),
  };
}

function print(address: TargetAddress, state: TargetStateStatus, options: StateOptions): void {
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify({ ...address, ...state }, null, 2)}\n`);
    return;
  }
  const octets = Buffer.from(state.configString, "base64");
  process.stdout.write(`${targetName(address)}
config string  ${octets.length === 0 ? "empty" : printable(octets)}
mask           ${state.mask.length === 0 ? "empty: every initiator is heard" : state.mask.join(" ")}
reservation    ${state.reservation.length === 0 ? "none" : `held by ${state.reservation.join(" ")}`}
`);
}

/** Text as it is; anything else in hexadecimal, so that it cannot control a terminal. */
function printable(octets: Buffer): string {
  const text = octets.toString("utf8");
  const isText = Buffer.from(text, "utf8").equals(octets) && !/\p{C}/u.test(text);
  return isText ? JSON.stringify(text) : `${octets.length} octets ${octets.toString("hex")}`;
}
