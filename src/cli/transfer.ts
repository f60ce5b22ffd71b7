import { resolve } from "node:path";
import type { TransferReport } from "../control/store-api.ts";
import { UsageError } from "../errors.ts";
import { approximateSize } from "./approximate-size.ts";
import { runJob } from "./long-work.ts";
import { checkNewName } from "./option-values.ts";
import { printAnswer } from "./print.ts";
import { serverWith, type StoreOptions, withStore } from "./store-access.ts";

export interface TransferOptions {
  readonly from?: string;
  readonly to?: string;
  readonly volume?: string;
  readonly socket?: string;
  readonly json?: true;
}

/** Moves a snapshot to another store. */
export async function sendSnapshot(reference: string, options: TransferOptions): Promise<void> {
  if (options.to === undefined) throw new UsageError("--to is missing; name the other store");
  await transfer(reference, options);
}

/** Fetches a snapshot from another store. */
export async function receiveSnapshot(reference: string, options: TransferOptions): Promise<void> {
  if (options.from === undefined) throw new UsageError("--from is missing; name the other store");
  await transfer(reference, options);
}

/**
 * The server that has one of the two stores open does it, and opens the other one itself; without a
 * server this process opens both.
 */
async function transfer(snapshot: string, options: TransferOptions): Promise<void> {
  const { volume } = options;
  if (volume !== undefined) checkNewName(volume, "--volume");
  const from = options.from === undefined ? undefined : resolve(options.from);
  const to = options.to === undefined ? undefined : resolve(options.to);
  const isPull =
    from !== undefined && (to === undefined || (await isReachedThroughReceiver(from, to)));
  const report = isPull
    ? await withStore(storeOptions(options, to), async (store) =>
        runJob(store, "receive", { snapshot, from, volume }),
      )
    : await withStore(storeOptions(options, from), async (store) =>
        runJob(store, "send", { snapshot, to: to ?? "", volume }),
      );
  printAnswer(options, report, () => transferText(report));
}

async function isReachedThroughReceiver(from: string, to: string): Promise<boolean> {
  return (await serverWith(from)) === undefined && (await serverWith(to)) !== undefined;
}

function storeOptions(options: TransferOptions, store: string | undefined): StoreOptions {
  return {
    ...(options.socket === undefined ? {} : { socket: options.socket }),
    ...(store === undefined ? {} : { store }),
  };
}

function transferText(report: TransferReport): string {
  const { snapshot, moved, movedBytes, present } = report;
  return `snapshot ${snapshot.id} of ${snapshot.volume} at the receiver
moved ${moved} blobs, ${approximateSize(movedBytes)}; ${present} were there already
root hash ${snapshot.root_hash}, as at the sender
`;
}
