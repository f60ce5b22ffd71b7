import type { ScrubReport, VerifyReport } from "../control/store-api.ts";
import { approximateSize } from "./approximate-size.ts";
import { runJob } from "./long-work.ts";
import { readRate } from "./option-values.ts";
import { printAnswer } from "./print.ts";
import { type StoreOptions, withStore } from "./store-access.ts";

export interface VerifyOptions extends StoreOptions {
  readonly rate?: string;
}

/** Reads what is stored and compares it with its name. @returns the exit code: 0, or 1 for damage */
export async function verify(
  snapshot: string | undefined,
  options: VerifyOptions,
): Promise<number> {
  const bytesPerSecond = readRate(options.rate);
  if (snapshot === undefined) return verifyStore(options, bytesPerSecond);
  const report = await withStore(options, async (store) =>
    runJob(store, "verify", { snapshot, bytesPerSecond }),
  );
  printAnswer(options, report, () => snapshotText(snapshot, report));
  return report.blobs.length === 0 ? 0 : 1;
}

function snapshotText(snapshot: string, report: VerifyReport): string {
  const read = `snapshot ${snapshot}: ${approximateSize(report.bytes)} read`;
  if (report.blobs.length === 0) return `${read}, all as it should be\n`;
  const ranges = report.damaged.map(({ lba, lengthSectors }) => rangeText(lba, lengthSectors));
  return `${read}, ${report.blobs.length} blobs are damaged or missing\n${ranges.join("")}`;
}

async function verifyStore(
  options: VerifyOptions,
  bytesPerSecond: number | undefined,
): Promise<number> {
  const report = await withStore(options, async (store) =>
    runJob(store, "scrub", { bytesPerSecond }),
  );
  printAnswer(options, report, () => storeText(report));
  return report.damaged.length === 0 ? 0 : 1;
}

function storeText(report: ScrubReport): string {
  const read = `blobs read: ${report.blobs}, ${approximateSize(report.bytes)}`;
  if (report.damaged.length === 0) return `${read}, all as it should be\n`;
  const blobs = report.damaged.map(({ hash, place }) => `  ${hash} in ${place}\n`);
  const places = report.affected.map(({ snapshot, volume, ranges }) => {
    const owner = snapshot === null ? `volume ${volume}` : `snapshot ${snapshot} of ${volume}`;
    const lines = ranges.map(({ lba, lengthSectors }) => rangeText(lba, lengthSectors));
    return `${owner} cannot be read at\n${lines.join("")}`;
  });
  return `${read}, ${report.damaged.length} are damaged\n${blobs.join("")}${places.join("")}`;
}

function rangeText(lba: number, lengthSectors: number): string {
  return `  LBA ${lba} to ${lba + lengthSectors - 1}\n`;
}
