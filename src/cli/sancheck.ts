import type { Initiator } from "../initiator/initiator.ts";
import type { PathReport } from "../initiator/path-report.ts";
import { type Finding, findings } from "../initiator/san-findings.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { SILENCE, withInitiators } from "./initiators.ts";
import { withProgressBar } from "./long-work.ts";
import { octetsAsBase64, readCount, readDuration } from "./option-values.ts";
import { formatTable } from "./table.ts";

export interface SancheckCommandOptions {
  readonly interface?: readonly string[];
  readonly timeout: string;
  readonly pings: string;
  readonly json?: true;
}

/**
 * Tries every way to every target of the segment and says what is wrong.
 * @returns the exit code: 0 when nothing is, 1 when something is or nobody answered
 */
export async function sancheck(options: SancheckCommandOptions): Promise<number> {
  const timeoutMs = readDuration(options.timeout, "--timeout");
  const pings = readCount(options.pings, "--pings");
  return withInitiators(options.interface ?? [], async (initiators) => {
    const reports = await withProgressBar(async (_, onProgress) => {
      const progress = new Map<Initiator, { done: number; total: number }>();
      const onReport = (initiator: Initiator) => (done: number, total: number) => {
        progress.set(initiator, { done, total });
        const all = [...progress.values()];
        const sum = (key: "done" | "total") => all.reduce((count, one) => count + one[key], 0);
        onProgress({ phase: "check", done: sum("done"), total: sum("total"), unit: "paths" });
      };
      const all = await Promise.all(
        initiators.map(async (initiator) =>
          initiator.report({ timeoutMs, pings, onReport: onReport(initiator) }),
        ),
      );
      return all.flat();
    });
    const found = findings(reports);
    process.stdout.write(options.json === true ? asJson(reports, found) : text(reports, found));
    if (reports.length === 0) process.stderr.write(SILENCE);
    const isWell = reports.length > 0 && found.every(({ severity }) => severity === "note");
    return isWell ? 0 : 1;
  });
}

function asJson(reports: readonly PathReport[], found: readonly Finding[]): string {
  const paths = reports.map(({ target, ...others }) => ({
    target: { ...target, configString: octetsAsBase64(target.configString) },
    ...others,
  }));
  return `${JSON.stringify({ paths, findings: found }, null, 2)}\n`;
}

function text(reports: readonly PathReport[], found: readonly Finding[]): string {
  if (reports.length === 0) return "";
  const paths = formatTable(
    ["TARGET", "INTERFACE", "SERVER", "MTU", "OUT", "IN", "LOSS", "AVERAGE", "MOST"],
    reports.map(pathRow),
  );
  const lines = found.map(
    ({ severity, target, message }) => `${severity}: ${target}: ${message}\n`,
  );
  return `${paths}\n${lines.length === 0 ? "nothing is wrong\n" : lines.join("")}`;
}

function pathRow({ target, mtuBytes, sizes, ping }: PathReport): string[] {
  const { inwardSectors } = sizes;
  const time = (timeMs: number | undefined): string =>
    timeMs === undefined ? "-" : `${timeMs.toFixed(2)} ms`;
  return [
    `e${target.shelf}.${target.slot}`,
    target.interface,
    target.mac,
    String(mtuBytes),
    String(sizes.outwardBytes),
    inwardSectors === undefined ? "-" : String(inwardSectors * SECTOR_BYTES),
    `${(ping.lossRate * 100).toFixed(0)} %`,
    time(ping.averageMs),
    time(ping.maximumMs),
  ];
}
