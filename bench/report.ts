import type { Sample } from "./measurement.ts";
import type { BenchResult, Row, SuiteResult } from "./result.ts";
import { pairedRatio, relativeSpread, type Summary, summarise } from "./statistics.ts";
import { workloadName } from "./workloads.ts";

/** Below this share of idle time the generator may have held a server back. */
const SAFE_IDLE = 1 / 3;

/**
 * Puts `figures` between the markers of a document and leaves the rest alone.
 *
 * @param name of the markers: a document has places for several tables
 * @throws Error when the markers are missing
 */
export function insertFigures(document: string, figures: string, name = "figures"): string {
  const beginMarker = `<!-- ${name}: begin (written by make bench) -->`;
  const endMarker = `<!-- ${name}: end -->`;
  const begin = document.indexOf(beginMarker);
  const end = document.indexOf(endMarker);
  if (begin === -1 || end < begin) {
    throw new Error(
      `no place for the figures: the markers "${beginMarker}" and "${endMarker}" are missing`,
    );
  }
  const head = document.slice(0, begin + beginMarker.length);
  return `${head}\n\n${figures}\n${document.slice(end)}`;
}

/** All figures of a run as Markdown. */
export function renderFigures(result: BenchResult): string {
  const sections = result.suites.map((suite) => renderSuite(suite));
  return [renderMachine(result), renderHeadroom(result), ...sections].join("\n\n");
}

function renderMachine({ startedAt, machine, settings, seconds }: BenchResult): string {
  const { processor, processors, memoryGib, kernel, node, diskFileSystem, loadAverage } = machine;
  return [
    `Measured ${startedAt.slice(0, 10)} in ${Math.round(seconds / 60)} minutes:`,
    `${processors} processors (${processor}), ${memoryGib} GiB, Linux ${kernel}, Node ${node},`,
    `disk ${diskFileSystem}; load average before the start ${loadAverage.toFixed(2)}.`,
    `${settings.rounds} rounds of ${settings.secondsPerRun} s for each line,`,
    `images of ${settings.imageMebibytes} MiB; servers on processor ${settings.serverProcessor},`,
    `load on processor ${settings.generatorProcessor}.`,
  ].join("\n");
}

/** What shows that the figures are those of the servers and not of the load generator. */
export function renderHeadroom({ suites }: BenchResult): string {
  const rows = suites.flatMap((suite) => suite.rows).filter((row) => row.role !== "limit");
  if (rows.length === 0) return "No server could be measured.";
  const rate = (row: Row) => middle(row, "operationsPerSecond");
  const fastest = rows.reduce((best, row) => (rate(row) > rate(best) ? row : best));
  const idle = middle(fastest, "generatorIdle");
  const busiest = rows.reduce((least, row) =>
    middle(row, "generatorIdle") < middle(least, "generatorIdle") ? row : least,
  );
  const lowestIdle = middle(busiest, "generatorIdle");
  const verdict =
    lowestIdle >= SAFE_IDLE
      ? "so it held nobody back"
      : "so lines with less than 33 % are lower bounds for their server";
  return [
    `The fastest server was ${fastest.server} with ${count(rate(fastest))} operations/s`,
    `(${workloadName(fastest.workload)}); the generator was idle for ${percent(idle)} of that time`,
    `and could have driven ${(1 / (1 - idle)).toFixed(2)} times as much. It was never less idle`,
    `than ${percent(lowestIdle)} against a server (${busiest.server},`,
    `${workloadName(busiest.workload)}), ${verdict}.`,
  ].join("\n");
}

const HEADINGS = [
  "load",
  "server",
  "ops/s",
  "±",
  "MB/s",
  "p50 µs",
  "p99 µs",
  "server CPU µs/op",
  "other CPU µs/op",
  "resent",
  "generator idle",
  "aoed ÷ it: ops/s",
  "aoed ÷ it: CPU",
];

function renderSuite({ suite, rows, failures }: SuiteResult): string {
  const table = [
    `| ${HEADINGS.join(" | ")} |`,
    `|---|---|${"---:|".repeat(HEADINGS.length - 2)}`,
    ...rows.map((row) => renderRow(row, rows)),
  ];
  const notes = failures.map(({ server, reason }) => `- ${server} failed: ${oneLine(reason)}`);
  const parts = [`### ${suite.title}`, suite.remark, rows.length === 0 ? "" : table.join("\n")];
  return [...parts, notes.join("\n")].filter((part) => part !== "").join("\n\n");
}

export function renderRow(row: Row, rows: readonly Row[]): string {
  const rate = column(row, "operationsPerSecond");
  const candidate = rows.find(
    (other) =>
      other.role === "candidate" &&
      other.server !== row.server &&
      workloadName(other.workload) === workloadName(row.workload),
  );
  const fairness =
    row.workload.initiators === 1 ? "" : ` (slowest/fastest ${middle(row, "fairness").toFixed(2)})`;
  const cells = [
    `MTU ${row.workload.mtuBytes}, ${workloadName(row.workload)}`,
    row.server + fairness,
    count(rate.median),
    percent(relativeSpread(rate)),
    significant(middle(row, "megabytesPerSecond")),
    significant(middle(row, "p50Us")),
    significant(middle(row, "p99Us")),
    middle(row, "serverCpuUs").toFixed(2),
    middle(row, "otherCpuUs").toFixed(2),
    String(row.samples.reduce((sum, sample) => sum + sample.retransmits, 0)),
    percent(middle(row, "generatorIdle")),
    ratio(candidate, row, "operationsPerSecond"),
    ratio(candidate, row, "serverCpuUs"),
  ];
  return `| ${cells.join(" | ")} |`;
}

function column(row: Row, field: keyof Sample): Summary {
  return summarise(row.samples.map((sample) => sample[field]));
}

function middle(row: Row, field: keyof Sample): number {
  return column(row, field).median;
}

function byRound(row: Row, field: keyof Sample): Map<number, number> {
  return new Map(row.samples.map((sample) => [sample.round, sample[field]]));
}

function ratio(candidate: Row | undefined, row: Row, field: keyof Sample): string {
  if (candidate === undefined) return "";
  return pairedRatio(byRound(candidate, field), byRound(row, field))?.median.toFixed(2) ?? "";
}

/** Thousands apart, so that a column of figures can be read: 312 000. */
export function count(value: number): string {
  const rounded = value < 1000 ? Math.round(value) : Math.round(value / 100) * 100;
  return String(rounded).replaceAll(/\B(?=(\d{3})+$)/g, " ");
}

/** Three digits, as many as a noisy figure has a right to. */
export function significant(value: number): string {
  if (value >= 1000) return count(value);
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").slice(0, 300);
}
