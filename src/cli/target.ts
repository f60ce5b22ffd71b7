import { resolve } from "node:path";
import { targetName } from "../config/configuration.ts";
import { parseAssignment } from "../config/assignment.ts";
import { withTargetAdded, withTargetChanged, withTargetRemoved } from "../config/edit-target.ts";
import { withoutUndefined } from "../config/target-keys.ts";
import { formatSize, parseSize } from "../config/units.ts";
import type { AddTargetRequest, TargetStatus, TargetTable } from "../control/control-api.ts";
import { UsageError } from "../errors.ts";
import { tableOfAdded } from "../server/changes.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { atServer, exchange } from "./control-client.ts";
import { printAnswer } from "./print.ts";
import { type Edit, SavedTarget } from "./saved-target.ts";
import { formatTable } from "./table.ts";
import { parseTargetAddress, type TargetAddress } from "./target-address.ts";

export interface TargetOptions {
  readonly socket?: string;
  readonly json?: true;
}

/** What can be said of a target on the command line; the names are those of the options. */
export interface AddTargetOptions extends TargetOptions {
  readonly file?: string;
  readonly device?: string;
  readonly memory?: true;
  readonly volume?: string;
  readonly snapshot?: string;
  readonly store?: string;
  readonly size?: string;
  readonly readOnly?: true;
  readonly direct?: true;
  readonly durability?: "durable" | "writeback";
  readonly offset?: string;
  readonly length?: string;
  readonly allow?: readonly string[];
  readonly wireChanges?: string;
  readonly configString?: string;
  readonly save?: true;
}

/** Serves one more disk, until it is removed or the server ends. */
export async function addTarget(text: string, options: AddTargetOptions): Promise<void> {
  const address = parseTargetAddress(text, "SHELF.SLOT");
  const request = addRequest(address, options);
  const { keys } = request;
  // A volume that the server has to find can be written down only when it is found.
  const early =
    options.save && keys !== undefined
      ? await SavedTarget.prepare(options.socket, (file, path) =>
          withTargetAdded(file, path, { ...address, ...keys }),
        )
      : undefined;
  const target = await ask<TargetStatus>(options, "POST", "/v1/targets", request);
  const saved =
    options.save && early === undefined
      ? await SavedTarget.prepare(options.socket, (file, path) =>
          withTargetAdded(file, path, tableOfAdded(target)),
        )
      : early;
  await finish(options, target, saved, () => targetTable([target]));
}

function addRequest(address: TargetAddress, options: AddTargetOptions): AddTargetRequest {
  const { file, device, memory, volume, snapshot } = options;
  const kinds = { "--file": file, "--device": device, "--memory": memory };
  const named = Object.entries({ ...kinds, "--volume": volume, "--snapshot": snapshot });
  if (named.filter(([, value]) => value !== undefined).length !== 1) {
    const list = "--file PATH, --device PATH, --memory, --volume NAME or --snapshot ID";
    throw new UsageError(`name what to serve: ${list}, one of them`);
  }
  const store = options.store === undefined ? undefined : resolve(options.store);
  const isFromStore = volume !== undefined || snapshot !== undefined;
  const { size, allow, wireChanges, configString } = options;
  const isPlain = [size, allow, wireChanges, configString].every((value) => value === undefined);
  if (isFromStore && isPlain) {
    const { readOnly, durability } = options;
    return { ...address, volume, snapshot, store, readOnly, durability };
  }
  if (isFromStore && store === undefined) {
    throw new UsageError("name the folder of the store with --store");
  }
  return { ...address, keys: keysOf(options, store) };
}

function keysOf(options: AddTargetOptions, store: string | undefined): TargetTable {
  const { file, device, memory, volume, snapshot, wireChanges } = options;
  const path = file ?? device;
  const backend =
    file !== undefined ? "file" : device !== undefined ? "device" : memory ? "memory" : "cas";
  const keys = {
    backend,
    path: path === undefined ? undefined : resolve(path),
    size: options.size,
    read_only: options.readOnly,
    direct: options.direct,
    durability: options.durability,
    offset: options.offset,
    length: options.length,
    allow: options.allow,
    wire_changes: wireChanges === "none" ? [] : wireChanges?.split(","),
    config_string: options.configString,
    cas: backend === "cas" ? withoutUndefined({ path: store, volume, snapshot }) : undefined,
  };
  return withoutUndefined(keys);
}

export interface ChangeOptions extends TargetOptions {
  readonly save?: true;
}

/** What is in flight is answered; from then on commands to the target fail at once. */
export async function removeTarget(text: string, options: ChangeOptions): Promise<void> {
  const address = parseTargetAddress(text, "SHELF.SLOT");
  const name = targetName(address);
  const saved = await prepare(options, (file, path) => withTargetRemoved(file, path, address));
  const answer = await ask(options, "DELETE", `/v1/targets/${name}`);
  await finish(options, answer, saved, () => `${name} is not served any more\n`);
}

/** Changes keys of a target in use. */
export async function setTarget(
  text: string,
  assignments: readonly string[],
  options: ChangeOptions,
): Promise<void> {
  const address = parseTargetAddress(text, "SHELF.SLOT");
  const keys = assignments.map(parseAssignment).reduce(mergedChanges, {});
  const saved = await prepare(options, (file, path) =>
    withTargetChanged(file, path, address, keys),
  );
  const path = `/v1/targets/${targetName(address)}/set`;
  const target = await ask<TargetStatus>(options, "POST", path, { keys });
  await finish(options, target, saved, () => targetTable([target]));
}

/** "cas.a=1" and "cas.b=2" are two changes of one table. */
function mergedChanges(before: TargetTable, next: TargetTable): TargetTable {
  const cas = [before["cas"], next["cas"]];
  if (cas.some((table) => typeof table !== "object")) return { ...before, ...next };
  return { ...before, cas: { ...(cas[0] as object), ...(cas[1] as object) } };
}

export interface ResizeTargetOptions extends ChangeOptions {
  readonly shrink?: true;
}

/** Gives a disk in use another size; initiators are told. */
export async function resizeTarget(
  text: string,
  size: string,
  options: ResizeTargetOptions,
): Promise<void> {
  const address = parseTargetAddress(text, "SHELF.SLOT");
  const sizeBytes = parseSize(size);
  if (sizeBytes === undefined) {
    throw new UsageError(`${JSON.stringify(size)} is not a size; use one such as 20GiB`);
  }
  const saved = await prepare(options, (file, path) =>
    withTargetChanged(file, path, address, { size }),
  );
  const body = { sizeBytes, shrink: options.shrink === true };
  const path = `/v1/targets/${targetName(address)}/resize`;
  const target = await ask<TargetStatus>(options, "POST", path, body);
  await finish(options, target, saved, () => targetTable([target]));
}

async function prepare(options: ChangeOptions, edit: Edit): Promise<SavedTarget | undefined> {
  return options.save ? SavedTarget.prepare(options.socket, edit) : undefined;
}

async function finish(
  options: ChangeOptions,
  answer: unknown,
  saved: SavedTarget | undefined,
  text: () => string,
): Promise<void> {
  const file = await saved?.write();
  printAnswer(options, answer, () => (file === undefined ? text() : `${text()}saved in ${file}\n`));
}

export async function listTargets(options: TargetOptions): Promise<void> {
  const targets = await ask<TargetStatus[]>(options, "GET", "/v1/targets");
  printAnswer(options, targets, () => targetTable(targets));
}

async function ask<Answer>(
  options: TargetOptions,
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: unknown,
): Promise<Answer> {
  return (await atServer(options.socket, async (socket) =>
    exchange(socket, { method, path, body }),
  )) as Answer;
}

function targetTable(targets: readonly TargetStatus[]): string {
  return formatTable(
    ["TARGET", "SIZE", "WRITES", "DISK"],
    targets.map((target) => [
      targetName(target),
      formatSize(target.storage.sectors * SECTOR_BYTES),
      target.storage.readOnly ? "refused" : target.storage.durability,
      target.storage.description,
    ]),
  );
}
