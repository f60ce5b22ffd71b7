import { count, significant } from "../report.ts";
import { pairedRatio, relativeSpread, type Summary, summarise } from "../statistics.ts";
import type { LoadSample } from "./closed-loop.ts";
import { lineName } from "./lines.ts";
import type { BackendResult, BackendRow } from "./result.ts";

const HEADINGS = [
  "load",
  "backend",
  "requests/s",
  "±",
  "MB/s",
  "p50 µs",
  "p99 µs",
  "longest ms",
  "CPU µs/request",
  "of it JavaScript's thread",
  "other processors",
  "heap bytes/request",
  "longest turn ms",
  "of its CPU",
  "cas ÷ it",
];

/** The table of a run as Markdown. */
export function renderBackendFigures(result: BackendResult): string {
  const { startedAt, seconds, machine, rounds, secondsPerRun, diskMebibytes, rows } = result;
  const { processor, processors, memoryGib, kernel, node, diskFileSystem, loadAverage } = machine;
  const head = [
    `Measured ${startedAt.slice(0, 10)} in ${Math.round(seconds / 60)} minutes:`,
    `${processors} processors (${processor}), ${memoryGib} GiB, Linux ${kernel}, Node ${node},`,
    `disk ${diskFileSystem}; load average before the start ${loadAverage.toFixed(2)}.`,
    `${rounds} rounds of ${secondsPerRun} s for each line, disks of ${diskMebibytes} MiB.`,
  ].join("\n");
  const table = [
    `| ${HEADINGS.join(" | ")} |`,
    `|---|---|${"---:|".repeat(HEADINGS.length - 2)}`,
    ...rows.map((row) => renderRow(row, rows)),
  ];
  return `${head}\n\n${table.join("\n")}`;
}

function renderRow(row: BackendRow, rows: readonly BackendRow[]): string {
  const rate = column(row, "operationsPerSecond");
  const cas = rows.find(
    ({ backend, durability, line }) =>
      backend === "cas" &&
      durability === row.durability &&
      lineName(line) === lineName(row.line) &&
      row.backend !== "cas",
  );
  const cells = [
    lineName(row.line),
    row.line.operation === "read" ? row.backend : `${row.backend}, ${row.durability}`,
    count(rate.median),
    `${(relativeSpread(rate) * 100).toFixed(0)} %`,
    significant(middle(row, "megabytesPerSecond")),
    significant(middle(row, "p50Us")),
    significant(middle(row, "p99Us")),
    significant(middle(row, "longestUs") / 1000),
    middle(row, "cpuUs").toFixed(2),
    middle(row, "mainThreadCpuUs").toFixed(2),
    middle(row, "otherProcessors").toFixed(2),
    count(middle(row, "heapBytes")),
    significant(middle(row, "longestTurnMs")),
    significant(middle(row, "longestTurnCpuMs")),
    ratio(cas, row),
  ];
  return `| ${cells.join(" | ")} |`;
}

function column(row: BackendRow, field: keyof LoadSample): Summary {
  return summarise(row.samples.map((sample) => sample[field]));
}

function middle(row: BackendRow, field: keyof LoadSample): number {
  return column(row, field).median;
}

function ratio(cas: BackendRow | undefined, row: BackendRow): string {
  if (cas === undefined) return "";
  const byRound = ({ samples }: BackendRow): Map<number, number> =>
    new Map(samples.map((sample) => [sample.round, sample.operationsPerSecond]));
  return pairedRatio(byRound(cas), byRound(row))?.median.toFixed(2) ?? "";
}
