import type { SnapshotStatus, StoreApi } from "../control/store-api.ts";
import { formatSize } from "../config/units.ts";
import { approximateSize } from "./approximate-size.ts";
import { confirm } from "./confirm.ts";
import { runJob } from "./long-work.ts";
import { printAnswer } from "./print.ts";
import { type StoreOptions, withStore } from "./store-access.ts";
import { formatTable } from "./table.ts";

export interface CreateOptions extends StoreOptions {
  readonly description?: string;
}

export interface RollbackOptions extends StoreOptions {
  readonly volume?: string;
  readonly yes?: true;
}

/** Digits of a root hash that tell snapshots apart in a table. */
const SHOWN_DIGITS = 12;

export async function createSnapshot(volume: string, options: CreateOptions): Promise<void> {
  const record = await withStore(options, async (store) =>
    store.createSnapshot(volume, options.description ?? ""),
  );
  printAnswer(options, record, () => `snapshot ${record.id} of ${record.volume}\n`);
}

export async function listSnapshots(
  volume: string | undefined,
  options: StoreOptions,
): Promise<void> {
  const records = await withStore(options, async (store) => store.snapshots(volume));
  printAnswer(options, records, () =>
    records.length === 0
      ? "there are no snapshots\n"
      : formatTable(
          ["ID", "VOLUME", "TAKEN", "SIZE", "BY", "ROOT", "DESCRIPTION"],
          records.map(snapshotRow),
        ),
  );
}

function snapshotRow(record: SnapshotStatus): string[] {
  return [
    record.id,
    record.volume,
    record.timestamp,
    formatSize(record.size),
    record.trigger,
    record.root_hash.slice(0, SHOWN_DIGITS),
    oneLine(record.description),
  ];
}

export async function showSnapshot(reference: string, options: StoreOptions): Promise<void> {
  const record = await withStore(options, async (store) => store.snapshot(reference));
  printAnswer(options, record, () => description(record));
}

function description(record: SnapshotStatus): string {
  const rows: [string, string][] = [
    ["snapshot", record.id],
    ["volume", record.volume],
    ["taken", `${record.timestamp} (${record.trigger})`],
    ["size", formatSize(record.size)],
    ["root hash", record.root_hash],
    ["follows", record.parent ?? "nothing"],
    ["description", oneLine(record.description)],
  ];
  return rows.map(([name, value]) => `${name.padEnd(13)}${value}`.trimEnd() + "\n").join("");
}

export async function deleteSnapshots(
  references: readonly string[],
  options: StoreOptions,
): Promise<void> {
  const records = await withStore(options, async (store) => {
    // All are looked up first: a mistake in the last one must not leave half of it done.
    for (const reference of references) await store.snapshot(reference);
    const deleted: SnapshotStatus[] = [];
    for (const reference of references) deleted.push(await store.deleteSnapshot(reference));
    return deleted;
  });
  printAnswer(options, records, () =>
    records
      .map(({ id, volume }) => `deleted snapshot ${id} of ${volume}\n`)
      .join("")
      .concat("its space is given back by the next collection: aoed gc\n"),
  );
}

export async function rollback(reference: string, options: RollbackOptions): Promise<void> {
  const report = await withStore(options, async (store) => {
    const volume = options.volume ?? (await store.snapshot(reference)).volume;
    await warnOfInitiators(store, volume, options.yes === true);
    return store.rollback(reference, volume);
  });
  const { restored, safety } = report;
  printAnswer(
    options,
    report,
    () => `${safety.volume} holds snapshot ${restored.id} again
what it held before is snapshot ${safety.id}
`,
  );
}

/** A file system that is mounted keeps in memory what the disk no longer holds, and ruins it. */
async function warnOfInitiators(store: StoreApi, volume: string, yes: boolean): Promise<void> {
  const status = (await store.volumes()).find(({ name, target }) =>
    [name, target, target?.slice(1)].includes(volume),
  );
  if (status === undefined || status.target === null) return;
  const warning = `volume ${status.name} is served as ${status.target}: every client must have unmounted it`;
  await confirm(warning, yes);
}

export async function cloneSnapshot(
  reference: string,
  volume: string,
  options: StoreOptions,
): Promise<void> {
  const status = await withStore(options, async (store) => store.clone(reference, volume));
  printAnswer(
    options,
    status,
    () => `volume ${status.name} of ${formatSize(status.sizeBytes)}, a clone of ${status.origin}\n`,
  );
}

export async function diffSnapshots(
  from: string,
  to: string | undefined,
  options: StoreOptions,
): Promise<void> {
  const ranges = await withStore(options, async (store) => store.diff(from, to));
  printAnswer(options, ranges, () => {
    const rows = ranges.map(({ lba, lengthSectors }) => [
      String(lba),
      String(lengthSectors),
      approximateSize(lengthSectors * 512),
    ]);
    return rows.length === 0 ? "they are equal\n" : formatTable(["LBA", "SECTORS", "BYTES"], rows);
  });
}

export async function showSpace(options: StoreOptions): Promise<void> {
  const report = await withStore(options, async (store) => runJob(store, "space", {}));
  printAnswer(options, report, () => {
    const rows = report.uses.map((use) => [
      use.volume,
      use.snapshot ?? "(now)",
      approximateSize(use.uniqueBytes),
      approximateSize(use.freedIfDeletedBytes),
    ]);
    return `${formatTable(["VOLUME", "SNAPSHOT", "UNIQUE", "FREED IF DELETED"], rows)}
shared by several  ${approximateSize(report.sharedBytes)}
of no use          ${approximateSize(report.garbageBytes)}
`;
  });
}

/** Descriptions are anybody's text: none may control a terminal. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{C}/gu, " ");
}
