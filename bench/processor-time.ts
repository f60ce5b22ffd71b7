import { readdirSync, readFileSync } from "node:fs";

/** Where processor time went since the machine or the process started, in microseconds. */
export interface ProcessorTimes {
  /** All threads of the process group, on the processor. */
  readonly serverUs: number;
  /** The part of it in user mode; in steps of a clock tick. */
  readonly serverUserUs: number;
  /** Every processor, everything, but idle and waiting and what the hypervisor gave to others. */
  readonly busyUs: number;
  readonly stolenUs: number;
}

/** USER_HZ is 100 on every architecture that Linux has in use. */
const US_PER_TICK = 10_000;

/** Every process whose group is `group`: the server, and what it may have started. */
export function processesOfGroup(group: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => readGroup(pid) === group);
}

export function sampleProcessorTimes(pids: readonly number[]): ProcessorTimes {
  const { busyUs, stolenUs } = parseMachineStat(readFileSync("/proc/stat", "utf8"));
  let serverUs = 0;
  let serverUserUs = 0;
  for (const pid of pids) {
    serverUs += threadsUs(pid);
    serverUserUs += parseProcessStat(readOrEmpty(`/proc/${pid}/stat`)).userUs;
  }
  return { serverUs, serverUserUs, busyUs, stolenUs };
}

/** The first line of /proc/stat: user nice system idle iowait irq softirq steal guest guest_nice. */
export function parseMachineStat(text: string): { busyUs: number; stolenUs: number } {
  const ticks = text.split("\n", 1)[0].trim().split(/\s+/).slice(1).map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = ticks;
  return {
    busyUs: (user + nice + system + irq + softirq) * US_PER_TICK,
    stolenUs: steal * US_PER_TICK,
  };
}

/** /proc/PID/stat; the name in parentheses may hold blanks and parentheses itself. */
export function parseProcessStat(text: string): { group: number; userUs: number } {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { group: Number(fields[2] ?? 0), userUs: Number(fields[11] ?? 0) * US_PER_TICK };
}

/** schedstat counts nanoseconds, where utime and stime count ticks of 10 ms. */
function threadsUs(pid: number): number {
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {
    return 0;
  }
  const onProcessorNs = threads.map((thread) =>
    Number(readOrEmpty(`/proc/${pid}/task/${thread}/schedstat`).split(" ", 1)[0]),
  );
  return onProcessorNs.reduce((sum, ns) => sum + ns, 0) / 1000;
}

function readGroup(pid: number): number {
  return parseProcessStat(readOrEmpty(`/proc/${pid}/stat`)).group;
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
