/** One shape of load: what the generator is told. */
export interface Workload {
  readonly mtuBytes: number;
  readonly sectors: number;
  readonly window: number;
  readonly order: "sequential" | "random";
  readonly readPercent: number;
  /** Source addresses that share the load, each with a window of its own. */
  readonly initiators: number;
}

/** How the server treats the disk; its command line follows from it. */
export const MODES = ["buffered", "direct", "durable"] as const;
export type Mode = (typeof MODES)[number];

/** Where the image lies: tmpfs, a file of a real disk, or a loop device on such a file. */
export type Medium = "memory" | "file" | "loop";

/** Workloads that the same servers run on the same images. */
export interface Suite {
  readonly name: string;
  readonly title: string;
  /** What a reader of the table should know about it. */
  readonly remark: string;
  readonly medium: Medium;
  readonly mode: Mode;
  /** Cold: the image leaves the page cache before each run, which visits each block at most once. */
  readonly cold: boolean;
  readonly workloads: readonly Workload[];
}

const READ = 100;
const MIXED = 70;
const WRITE = 0;

const KIBIBYTE = { mtuBytes: 1500, sectors: 2 };
const FOUR_KIBIBYTES = { mtuBytes: 9000, sectors: 8 };
const EIGHT_KIBIBYTES = { mtuBytes: 9000, sectors: 16 };
const SIZES = [KIBIBYTE, FOUR_KIBIBYTES, EIGHT_KIBIBYTES];
const WINDOWS = [1, 16, 64];

type Size = (typeof SIZES)[number];
type Kind = readonly [order: Workload["order"], readPercent: number];

const EVERY_KIND: readonly Kind[] = [
  ["sequential", READ],
  ["random", READ],
  ["sequential", WRITE],
  ["random", WRITE],
  ["random", MIXED],
];

function combine(
  sizes: readonly Size[],
  windows: readonly number[],
  kinds: readonly Kind[],
): Workload[] {
  return sizes.flatMap((size) =>
    kinds.flatMap(([order, readPercent]) =>
      windows.map((window) => ({ ...size, window, order, readPercent, initiators: 1 })),
    ),
  );
}

const MEMORY_REMARK =
  "Image on tmpfs, warm, no disk behind it: the cost of the protocol and of the server itself. " +
  'aoed runs with `durability = "writeback"`, vblade without options.';
const FILE_REMARK =
  "Image on the machine's disk (ext4), in the page cache. aoed with writeback, vblade without options.";
const COLD_REMARK =
  "The image has been dropped from the page cache before each run, which visits each block once.";
const DIRECT_REMARK =
  "O_DIRECT on both sides (`direct = true`, `vblade -d`), image on the machine's disk. aoed writes " +
  "with writeback here: like vblade, it answers when the disk has the data, which may be its cache.";
const DURABLE_REMARK =
  "A write is answered when the disk has confirmed it: aoed with its default durability, vblade " +
  "with O_SYNC (`-s`).";
const LOOP_REMARK =
  "A block device: a loop device over a file on the machine's disk. The kernel's loop workers show " +
  "up beside the server, as other CPU.";
const FAIR_REMARK =
  "Four initiators with a window of 16 each; what the slowest got of what the fastest got is beside " +
  "the operations.";

const fullSuites: readonly Suite[] = [
  {
    name: "memory",
    title: "Protocol cost",
    remark: MEMORY_REMARK,
    medium: "memory",
    mode: "buffered",
    cold: false,
    workloads: combine(SIZES, WINDOWS, EVERY_KIND),
  },
  {
    name: "fairness",
    title: "Four initiators",
    remark: FAIR_REMARK,
    medium: "memory",
    mode: "buffered",
    cold: false,
    workloads: combine([EIGHT_KIBIBYTES], [16], [["random", MIXED]]).map((workload) => ({
      ...workload,
      initiators: 4,
    })),
  },
  {
    name: "durable",
    title: "Durable writes",
    remark: DURABLE_REMARK,
    medium: "file",
    mode: "durable",
    cold: false,
    workloads: [
      ...combine([EIGHT_KIBIBYTES], WINDOWS, EVERY_KIND.slice(2)),
      ...combine([FOUR_KIBIBYTES], [1, 64], [["random", WRITE]]),
      ...combine([KIBIBYTE], [1, 64], EVERY_KIND.slice(2, 4)),
    ],
  },
  {
    name: "direct",
    title: "O_DIRECT",
    remark: DIRECT_REMARK,
    medium: "file",
    mode: "direct",
    cold: false,
    workloads: [
      ...combine([EIGHT_KIBIBYTES], WINDOWS, EVERY_KIND.slice(0, 4)),
      ...combine([EIGHT_KIBIBYTES], [64], EVERY_KIND.slice(4)),
      ...combine([FOUR_KIBIBYTES], [64], [["random", READ]]),
    ],
  },
  {
    name: "cold",
    title: "Cold cache",
    remark: COLD_REMARK,
    medium: "file",
    mode: "buffered",
    cold: true,
    workloads: [
      ...combine([EIGHT_KIBIBYTES], WINDOWS, EVERY_KIND.slice(0, 2)),
      ...combine([KIBIBYTE], [64], [["sequential", READ]]),
    ],
  },
  {
    name: "file",
    title: "File on disk, hot",
    remark: FILE_REMARK,
    medium: "file",
    mode: "buffered",
    cold: false,
    workloads: combine([EIGHT_KIBIBYTES], [64], EVERY_KIND),
  },
  {
    name: "loop",
    title: "Block device, hot",
    remark: LOOP_REMARK,
    medium: "loop",
    mode: "buffered",
    cold: false,
    workloads: combine([EIGHT_KIBIBYTES], [64], EVERY_KIND.slice(0, 4)),
  },
  {
    name: "loop-durable",
    title: "Block device, durable",
    remark: LOOP_REMARK,
    medium: "loop",
    mode: "durable",
    cold: false,
    workloads: combine([EIGHT_KIBIBYTES], [1, 64], [["random", WRITE]]),
  },
];

/** The few workloads of each suite that a two-minute run has time for. */
const quickWorkloads: Record<string, readonly Workload[]> = {
  memory: [
    ...combine([KIBIBYTE], [1], [["random", READ]]),
    ...combine(
      [KIBIBYTE],
      [64],
      [
        ["sequential", READ],
        ["sequential", WRITE],
        ["random", MIXED],
      ],
    ),
    ...combine([FOUR_KIBIBYTES], [64], [["random", READ]]),
    ...combine(
      [EIGHT_KIBIBYTES],
      [64],
      [
        ["sequential", READ],
        ["sequential", WRITE],
      ],
    ),
    ...combine([EIGHT_KIBIBYTES], [16], [["random", MIXED]]),
  ],
  fairness: fullSuites[1].workloads,
  durable: [
    ...combine([KIBIBYTE], [64], [["random", WRITE]]),
    ...combine([EIGHT_KIBIBYTES], [1, 64], [["random", WRITE]]),
    ...combine([EIGHT_KIBIBYTES], [64], [["sequential", WRITE]]),
  ],
  direct: combine(
    [EIGHT_KIBIBYTES],
    [64],
    [
      ["random", READ],
      ["sequential", WRITE],
    ],
  ),
  cold: combine(
    [EIGHT_KIBIBYTES],
    [64],
    [
      ["sequential", READ],
      ["random", READ],
    ],
  ),
  file: [],
  loop: combine([EIGHT_KIBIBYTES], [64], [["random", READ]]),
  "loop-durable": [],
};

export function suitesFor(quick: boolean): readonly Suite[] {
  if (!quick) return fullSuites;
  return fullSuites
    .map((suite) => ({ ...suite, workloads: quickWorkloads[suite.name] ?? [] }))
    .filter((suite) => suite.workloads.length > 0);
}

/** "1 KiB random read, window 64": unique within a suite. */
export function workloadName(workload: Workload): string {
  const kibibytes = workload.sectors / 2;
  const kind =
    workload.readPercent === READ
      ? "read"
      : workload.readPercent === WRITE
        ? "write"
        : `${workload.readPercent}/${100 - workload.readPercent} read/write`;
  const initiators = workload.initiators === 1 ? "" : `, ${workload.initiators} initiators`;
  return `${kibibytes} KiB ${workload.order} ${kind}, window ${workload.window}${initiators}`;
}
