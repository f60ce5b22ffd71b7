import type { Sample, Timing } from "./measurement.ts";
import { run } from "./child-process.ts";
import type { Workload } from "./workloads.ts";

/** What is read of fio's `--output-format=json`. */
interface FioJob {
  readonly usr_cpu: number;
  readonly sys_cpu: number;
  readonly job_runtime: number;
  readonly read: FioDirection;
  readonly write: FioDirection;
}
interface FioDirection {
  readonly total_ios: number;
  readonly iops: number;
  readonly bw_bytes: number;
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

export interface FioSettings {
  readonly path: string;
  readonly processor: number;
  /** Each write is durable when it is done. */
  readonly durable: boolean;
  readonly signal: AbortSignal;
}

export function fioCommand(workload: Workload, timing: Timing, settings: FioSettings): string[] {
  const { order, readPercent, sectors, window, initiators } = workload;
  const kind = readPercent === 100 ? "read" : readPercent === 0 ? "write" : "rw";
  const where = ["taskset", "-c", String(settings.processor)];
  const output = ["fio", "--name=limit", `--filename=${settings.path}`, "--output-format=json"];
  const load = [`--rw=${order === "random" ? `rand${kind}` : kind}`, `--rwmixread=${readPercent}`];
  const size = [`--bs=${sectors * 512}`, `--iodepth=${window * initiators}`];
  const engine = ["--ioengine=io_uring", "--direct=1"];
  const durable = settings.durable ? ["--sync=dsync"] : [];
  const duration = [`--runtime=${timing.seconds}`, `--ramp_time=${timing.warmUpSeconds}`];
  const command = [...where, ...output, ...load, ...size, ...engine, ...durable];
  return [...command, "--time_based", ...duration];
}

/** Puts the load of a workload on the image itself, without a server. */
export async function measureFio(
  workload: Workload,
  round: number,
  timing: Timing,
  settings: FioSettings,
): Promise<Sample> {
  settings.signal.throwIfAborted();
  const [program, ...words] = fioCommand(workload, timing, settings);
  return fioSample(await run(program, ...words), round);
}

/** @param output of fio, JSON */
export function fioSample(output: string, round: number): Sample {
  const { jobs } = JSON.parse(output.slice(output.indexOf("{"))) as { jobs: FioJob[] };
  const [job] = jobs;
  const busier = job.read.total_ios >= job.write.total_ios ? job.read : job.write;
  const operations = Math.max(1, job.read.total_ios + job.write.total_ios);
  const cpuShare = (job.usr_cpu + job.sys_cpu) / 100;
  const percentileUs = (name: string): number => (busier.clat_ns.percentile?.[name] ?? 0) / 1000;
  return {
    round,
    operationsPerSecond: job.read.iops + job.write.iops,
    megabytesPerSecond: (job.read.bw_bytes + job.write.bw_bytes) / 1e6,
    p50Us: percentileUs("50.000000"),
    p99Us: percentileUs("99.000000"),
    serverCpuUs: (cpuShare * job.job_runtime * 1000) / operations,
    serverUserShare: cpuShare === 0 ? 0 : job.usr_cpu / 100 / cpuShare,
    otherCpuUs: 0,
    // It is its own generator, and nothing is sent.
    generatorIdle: 1,
    retransmits: 0,
    lateReplies: 0,
    fairness: 1,
    stolenShare: 0,
  };
}
