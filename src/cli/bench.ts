import { parseSize } from "../config/units.ts";
import { UsageError } from "../errors.ts";
import type { Initiator } from "../initiator/initiator.ts";
import type { LoadOptions, LoadResult } from "../initiator/load.ts";
import type { RemoteDisk } from "../initiator/remote-disk.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { approximateSize } from "./approximate-size.ts";
import { confirm } from "./confirm.ts";
import { openDisk, withInitiators } from "./initiators.ts";
import { readCount, readDuration } from "./option-values.ts";
import { formatTable } from "./table.ts";
import { parseTargetAddress } from "./target-address.ts";

export interface BenchCommandOptions {
  readonly interface?: readonly string[];
  readonly size: string;
  readonly window: string;
  readonly order: "random" | "sequential" | "both";
  readonly load: string;
  readonly range?: string;
  readonly duration: string;
  readonly warmup: string;
  readonly seed: string;
  readonly yes?: true;
  readonly json?: true;
}

const ORDERS = { random: ["random"], sequential: ["sequential"], both: ["sequential", "random"] };
const TIMEOUT_MS = 30_000;
/** Of the frames that an initiator has. */
const MOST_OUTSTANDING = 512;
const PERCENTILES = { p50: 0.5, p90: 0.9, p99: 0.99, "p99.9": 0.999 } as const;

/** One line of the table: a load on one target. */
interface Row {
  readonly target: string;
  readonly server: string;
  readonly interface: string;
  readonly load: string;
  readonly order: string;
  readonly requestBytes: number;
  readonly window: number;
  readonly operations: number;
  readonly operationsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly averageMs: number;
  readonly percentilesMs: Record<keyof typeof PERCENTILES, number>;
  readonly maximumMs: number;
  readonly retransmitted: number;
}

interface Plan {
  readonly requestBytes: number;
  readonly window: number;
  readonly order: "random" | "sequential";
  readonly load: string;
}

/**
 * Loads targets and prints how they fared: one line for each kind of load and target. Several
 * targets are loaded at the same time.
 * @returns the exit code: 1 when a target failed
 */
export async function bench(
  addresses: readonly string[],
  options: BenchCommandOptions,
): Promise<number> {
  const targets = addresses.map((text) => parseTargetAddress(text, "SHELF.SLOT"));
  const plans = readPlans(options);
  const common = {
    durationMs: readDuration(options.duration, "--duration"),
    warmupMs: options.warmup === "0" ? 0 : readDuration(options.warmup, "--warmup"),
    seed: readCount(options.seed, "--seed"),
    timeoutMs: TIMEOUT_MS,
  };
  if (plans.some(({ load }) => readShareOf(load) < 1)) {
    const what = `writes destroy what ${addresses.join(", ")} hold${targets.length > 1 ? "" : "s"}`;
    await confirm(what, options.yes === true);
  }
  return withInitiators(options.interface ?? [], async (initiators) => {
    const disks: RemoteDisk[] = [];
    for (const address of targets) disks.push(await openDisk(initiators, address));
    for (const plan of plans) for (const disk of disks) checkPlan(disk, plan, options.range);
    const rows: Row[] = [];
    for (const plan of plans) {
      rows.push(...(await runPlan(initiators, disks, plan, common, options.range)));
    }
    process.stdout.write(
      options.json === true ? `${JSON.stringify(rows, null, 2)}\n` : table(rows),
    );
    return 0;
  });
}

/** Every combination of the lists, in the order in which they were given. */
function readPlans({ size, window, order, load }: BenchCommandOptions): Plan[] {
  const orders = ORDERS[order] as Plan["order"][];
  return readList(load, readLoad).flatMap((kind) =>
    readList(size, readRequestBytes).flatMap((requestBytes) =>
      orders.flatMap((inOrder) =>
        readList(window, readWindow).map((requests) => ({
          requestBytes,
          window: requests,
          order: inOrder,
          load: kind,
        })),
      ),
    ),
  );
}

function readList<Value>(text: string, read: (item: string) => Value): Value[] {
  return text.split(",").map((item) => read(item.trim()));
}

function readLoad(text: string): string {
  if (text === "read" || text === "write" || /^[1-9]?\d\/[1-9]?\d$/.test(text)) {
    const [reads, writes] = text.split("/").map(Number);
    if (writes === undefined || reads + writes === 100) return text;
  }
  const right = 'use "read", "write", or the two shares such as 70/30';
  throw new UsageError(`--load: ${JSON.stringify(text)} is not a kind of load; ${right}`);
}

function readShareOf(load: string): number {
  if (load === "read") return 1;
  return load === "write" ? 0 : Number(load.split("/")[0]) / 100;
}

function readRequestBytes(text: string): number {
  const bytes = parseSize(text) ?? 0;
  if (bytes > 0 && bytes % SECTOR_BYTES === 0 && bytes <= 255 * SECTOR_BYTES) return bytes;
  const right = "use a multiple of 512 octets such as 1KiB or 8KiB";
  throw new UsageError(`--size: ${JSON.stringify(text)} is not a size of requests; ${right}`);
}

function readWindow(text: string): number {
  const count = readCount(text, "--window");
  if (count <= MOST_OUTSTANDING) return count;
  throw new UsageError(`--window: ${count} is too many; use at most ${MOST_OUTSTANDING}`);
}

function checkPlan(disk: RemoteDisk, plan: Plan, range: string | undefined): void {
  const mostBytes = disk.maxSectors * SECTOR_BYTES;
  const { shelf, slot, interface: name } = disk.target;
  if (plan.requestBytes > mostBytes) {
    const limit = `e${shelf}.${slot} takes at most ${mostBytes} octets at once over ${name}`;
    throw new UsageError(`--size: ${limit}; use less, or raise the MTU on both sides`);
  }
  if (rangeSectors(disk, range) * SECTOR_BYTES >= plan.requestBytes) return;
  throw new UsageError(`--range: has no room for one request of ${plan.requestBytes} octets`);
}

function rangeSectors(disk: RemoteDisk, range: string | undefined): number {
  if (range === undefined) return disk.sectors;
  const bytes = parseSize(range);
  if (bytes === undefined || bytes === 0 || bytes % SECTOR_BYTES !== 0) {
    const right = "use a multiple of 512 octets such as 1GiB";
    throw new UsageError(`--range: ${JSON.stringify(range)} is not a size; ${right}`);
  }
  return Math.min(disk.sectors, bytes / SECTOR_BYTES);
}

async function runPlan(
  initiators: readonly Initiator[],
  disks: readonly RemoteDisk[],
  plan: Plan,
  common: Pick<LoadOptions, "durationMs" | "warmupMs" | "seed" | "timeoutMs">,
  range: string | undefined,
): Promise<Row[]> {
  const resentBefore = retransmitted(initiators);
  const live = new LiveLine(plan);
  const results = await Promise.all(
    disks.map(async (disk, index) =>
      disk.load({
        ...common,
        seed: common.seed + index,
        requestSectors: plan.requestBytes / SECTOR_BYTES,
        order: plan.order,
        readShare: readShareOf(plan.load),
        firstLba: 0,
        sectors: rangeSectors(disk, range),
        window: plan.window,
        onProgress: (operations) => live.show(operations),
      }),
    ),
  ).finally(() => live.end());
  const resent = retransmitted(initiators) - resentBefore;
  return results.map((result, index) => rowOf(disks[index], plan, result, resent));
}

function retransmitted(initiators: readonly Initiator[]): number {
  return initiators.reduce((sum, { statistics }) => sum + statistics.retransmitted, 0);
}

function rowOf({ target }: RemoteDisk, plan: Plan, result: LoadResult, resent: number): Row {
  const { latency, operations, bytes } = result;
  const seconds = Math.max(result.elapsedMs, 1) / 1000;
  const percentiles = Object.entries(PERCENTILES);
  return {
    target: `e${target.shelf}.${target.slot}`,
    server: target.mac,
    interface: target.interface,
    load: plan.load,
    order: plan.order,
    requestBytes: plan.requestBytes,
    window: plan.window,
    operations,
    operationsPerSecond: operations / seconds,
    bytesPerSecond: bytes / seconds,
    averageMs: latency.averageMs,
    percentilesMs: Object.fromEntries(
      percentiles.map(([name, share]) => [name, latency.percentileMs(share)]),
    ) as Row["percentilesMs"],
    maximumMs: latency.maximumMs,
    retransmitted: resent,
  };
}

function table(rows: readonly Row[]): string {
  const headings = ["TARGET", "LOAD", "ORDER", "SIZE", "WINDOW", "OPS/S", "DATA/S", "AVERAGE"];
  const names = Object.keys(PERCENTILES) as (keyof typeof PERCENTILES)[];
  return formatTable(
    [...headings, ...names, "MOST", "RESENT"],
    rows.map((row) => [
      row.target,
      row.load,
      row.order,
      approximateSize(row.requestBytes),
      String(row.window),
      Math.round(row.operationsPerSecond).toString(),
      approximateSize(row.bytesPerSecond),
      duration(row.averageMs),
      ...names.map((name) => duration(row.percentilesMs[name])),
      duration(row.maximumMs),
      String(row.retransmitted),
    ]),
  );
}

function duration(timeMs: number): string {
  return timeMs < 1 ? `${Math.round(timeMs * 1000)} µs` : `${timeMs.toPrecision(3)} ms`;
}

/** What goes on, on a terminal, until the table is there. */
class LiveLine {
  readonly #plan: Plan;
  #operations = 0;
  #sinceMs = performance.now();
  #isDrawn = false;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  show(operations: number): void {
    this.#operations += operations;
    const elapsedMs = performance.now() - this.#sinceMs;
    if (!process.stderr.isTTY || elapsedMs < 200) return;
    const { load, order, requestBytes, window } = this.#plan;
    const rate = Math.round((this.#operations / elapsedMs) * 1000);
    const what = `${load} ${order} ${approximateSize(requestBytes)}, window ${window}`;
    process.stderr.write(`\r\u001b[K${what}: ${rate} operations/s`);
    this.#operations = 0;
    this.#sinceMs = performance.now();
    this.#isDrawn = true;
  }

  end(): void {
    if (this.#isDrawn) process.stderr.write("\r\u001b[K");
  }
}
