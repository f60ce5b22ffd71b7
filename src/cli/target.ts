import { resolve } from "node:path";
import { targetName } from "../config/configuration.ts";
import { formatSize } from "../config/units.ts";
import type { AddTargetRequest, TargetStatus } from "../control/control-api.ts";
import { UsageError } from "../errors.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { atServer, exchange } from "./control-client.ts";
import { printAnswer } from "./print.ts";
import { formatTable } from "./table.ts";
import { parseTargetAddress } from "./target-address.ts";

export interface TargetOptions {
  readonly socket?: string;
  readonly json?: true;
}

export interface AddTargetOptions extends TargetOptions {
  readonly volume?: string;
  readonly snapshot?: string;
  readonly store?: string;
  readonly readOnly?: true;
  readonly durability?: "durable" | "writeback";
}

/** Serves one more volume or snapshot, until the server ends. */
export async function addTarget(text: string, options: AddTargetOptions): Promise<void> {
  const { volume, snapshot, store, readOnly, durability } = options;
  const address = parseTargetAddress(text, "SHELF.SLOT");
  if ((volume === undefined) === (snapshot === undefined)) {
    throw new UsageError("name what to serve: --volume NAME or --snapshot ID, one of the two");
  }
  const body: AddTargetRequest = {
    ...address,
    volume,
    snapshot,
    store: store === undefined ? undefined : resolve(store),
    readOnly,
    durability,
  };
  const target = await ask<TargetStatus>(options, "POST", "/v1/targets", body);
  printAnswer(options, target, () => targetTable([target]));
}

/** What is in flight is answered; from then on commands to the target fail at once. */
export async function removeTarget(text: string, options: TargetOptions): Promise<void> {
  const name = targetName(parseTargetAddress(text, "SHELF.SLOT"));
  const answer = await ask(options, "DELETE", `/v1/targets/${name}`);
  printAnswer(options, answer, () => `${name} is not served any more\n`);
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
