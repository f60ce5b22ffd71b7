import {
  combine,
  DUPLICATE_WRITE,
  EIGHT_KIBIBYTES,
  FOUR_KIBIBYTES,
  KIBIBYTE,
  MIXED,
  RANDOM_READ,
  RANDOM_WRITE,
  SEQUENTIAL_READ,
  SEQUENTIAL_WRITE,
  type Workload,
} from "./workloads.ts";

/** How the server treats the disk; its command line follows from it. */
export type Mode = "buffered" | "direct" | "durable" | "direct-durable";

/**
 * Where the image lies: tmpfs, a file of a real disk, a loop device on such a file, or a volume of
 * a content-addressed store on that disk (for who can serve one; the others have the file).
 */
export type Medium = "memory" | "file" | "loop" | "cas";

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
  /** aoed takes part several times, with other ways to the wire. */
  readonly comparesPorts: boolean;
  readonly workloads: readonly Workload[];
}

/** `workloads` is everything; `quick` the few lines that a two-minute run has time for. */
interface SuitePlan extends Suite {
  readonly quick: readonly Workload[];
}

const WINDOWS = [1, 16, 64];
const READS = [SEQUENTIAL_READ, RANDOM_READ];
const WRITES = [SEQUENTIAL_WRITE, RANDOM_WRITE];
const EVERY_KIND = [...READS, ...WRITES, MIXED];

const memory: SuitePlan = {
  name: "memory",
  title: "Protocol cost",
  remark:
    "Image on tmpfs, warm, no disk behind it: the cost of the protocol and of the server itself. " +
    'aoed runs with `durability = "writeback"`, vblade without options.',
  medium: "memory",
  mode: "buffered",
  cold: false,
  comparesPorts: false,
  workloads: [KIBIBYTE, FOUR_KIBIBYTES, EIGHT_KIBIBYTES].flatMap((size) =>
    combine(size, WINDOWS, EVERY_KIND),
  ),
  quick: [
    ...combine(KIBIBYTE, [1], [RANDOM_READ]),
    ...combine(KIBIBYTE, [64], [SEQUENTIAL_READ, SEQUENTIAL_WRITE, MIXED]),
    ...combine(FOUR_KIBIBYTES, [64], [RANDOM_READ]),
    ...combine(EIGHT_KIBIBYTES, [64], [SEQUENTIAL_READ, SEQUENTIAL_WRITE]),
    ...combine(EIGHT_KIBIBYTES, [16], [MIXED]),
  ],
};

const ports: SuitePlan = {
  ...memory,
  name: "ports",
  title: "Ways to the wire",
  remark:
    'The same image; *aoed* as in the table above, *aoed busy-poll* with `busy_poll = "50us"`, ' +
    '*aoed xdp* with `port = "xdp"`.',
  comparesPorts: true,
  workloads: [KIBIBYTE, FOUR_KIBIBYTES, EIGHT_KIBIBYTES].flatMap((size) =>
    combine(size, [1, 64], [RANDOM_READ, RANDOM_WRITE]),
  ),
  quick: combine(KIBIBYTE, [1, 64], [RANDOM_READ]),
};

const fairness: SuitePlan = {
  ...memory,
  name: "fairness",
  title: "Several initiators",
  remark:
    "Each with a window of its own; beside the name of the server is what the slowest of them got " +
    "in proportion to the fastest.",
  workloads: [
    ...combine(EIGHT_KIBIBYTES, [16], [MIXED], 4),
    ...combine(EIGHT_KIBIBYTES, [16], [MIXED], 16),
    ...combine(EIGHT_KIBIBYTES, [4], [MIXED], 64),
    ...combine(KIBIBYTE, [16], [RANDOM_READ], 64),
  ],
  quick: [
    ...combine(EIGHT_KIBIBYTES, [16], [MIXED], 4),
    ...combine(KIBIBYTE, [16], [RANDOM_READ], 64),
  ],
};

const durable: SuitePlan = {
  name: "durable",
  title: "Durable writes",
  remark:
    "A write is answered when the disk has confirmed it: aoed with its default durability, vblade " +
    "with O_SYNC (`-s`).",
  medium: "file",
  mode: "durable",
  cold: false,
  comparesPorts: false,
  workloads: [
    ...combine(EIGHT_KIBIBYTES, WINDOWS, [...WRITES, MIXED]),
    ...combine(FOUR_KIBIBYTES, [1, 64], [RANDOM_WRITE]),
    ...combine(KIBIBYTE, [1, 64], WRITES),
  ],
  quick: [
    ...combine(KIBIBYTE, [64], [RANDOM_WRITE]),
    ...combine(EIGHT_KIBIBYTES, [1, 64], [RANDOM_WRITE]),
    ...combine(EIGHT_KIBIBYTES, [64], [SEQUENTIAL_WRITE]),
  ],
};

const directDurable: SuitePlan = {
  ...durable,
  name: "direct-durable",
  title: "Durable writes, O_DIRECT",
  remark:
    "Durable and past the page cache: aoed with `direct = true` and its default durability, vblade " +
    "with `-d -s`.",
  mode: "direct-durable",
  workloads: [...combine(EIGHT_KIBIBYTES, [1, 64], WRITES), ...combine(KIBIBYTE, [64], WRITES)],
  quick: combine(EIGHT_KIBIBYTES, [64], [RANDOM_WRITE]),
};

const direct: SuitePlan = {
  ...durable,
  name: "direct",
  title: "O_DIRECT",
  remark:
    "Past the page cache, and not durable: aoed with `direct = true` and writeback, vblade with " +
    "`-d`. Both answer a write when the disk has the data, which may be in its cache.",
  mode: "direct",
  workloads: [
    ...combine(EIGHT_KIBIBYTES, WINDOWS, [...READS, ...WRITES]),
    ...combine(EIGHT_KIBIBYTES, [64], [MIXED]),
    ...combine(FOUR_KIBIBYTES, [64], [RANDOM_READ]),
  ],
  quick: combine(EIGHT_KIBIBYTES, [64], [RANDOM_READ, SEQUENTIAL_WRITE]),
};

const cold: SuitePlan = {
  name: "cold",
  title: "Cold cache",
  remark:
    "Image on the machine's disk, dropped from the page cache before each run, which reads each " +
    "block once.",
  medium: "file",
  mode: "buffered",
  cold: true,
  comparesPorts: false,
  workloads: [
    ...combine(EIGHT_KIBIBYTES, WINDOWS, READS),
    ...combine(KIBIBYTE, [64], [SEQUENTIAL_READ]),
  ],
  quick: combine(EIGHT_KIBIBYTES, [64], READS),
};

const file: SuitePlan = {
  ...cold,
  name: "file",
  title: "File on disk, hot",
  remark:
    "Image on the machine's disk, in the page cache. aoed with writeback, vblade without options.",
  cold: false,
  workloads: combine(EIGHT_KIBIBYTES, [64], EVERY_KIND),
  quick: [],
};

const loop: SuitePlan = {
  ...file,
  name: "loop",
  title: "Block device, hot",
  remark:
    "A block device: a loop device over a file on the machine's disk. The kernel's loop workers show " +
    "up beside the server, as other CPU.",
  medium: "loop",
  workloads: combine(EIGHT_KIBIBYTES, [64], [...READS, ...WRITES]),
  quick: combine(EIGHT_KIBIBYTES, [64], [RANDOM_READ]),
};

const loopDurable: SuitePlan = {
  ...loop,
  name: "loop-durable",
  title: "Block device, durable",
  mode: "durable",
  workloads: combine(EIGHT_KIBIBYTES, [1, 64], [RANDOM_WRITE]),
  quick: [],
};

const CAS_SERVERS =
  "*aoed cas* serves a volume of a content-addressed store that the same image was imported into, " +
  "*aoed* and vblade the image file itself, on the same disk.";

const volume: SuitePlan = {
  name: "volume",
  title: "Content-addressed volume, durable",
  remark: `${CAS_SERVERS} Every write is durable when it is answered; reads are hot.`,
  medium: "cas",
  mode: "durable",
  cold: false,
  comparesPorts: false,
  workloads: [
    ...combine(FOUR_KIBIBYTES, WINDOWS, [RANDOM_WRITE, DUPLICATE_WRITE]),
    ...combine(EIGHT_KIBIBYTES, WINDOWS, [SEQUENTIAL_WRITE]),
    ...combine(KIBIBYTE, [64], WRITES),
    ...combine(FOUR_KIBIBYTES, WINDOWS, [RANDOM_READ]),
    ...combine(EIGHT_KIBIBYTES, [64], [SEQUENTIAL_READ]),
  ],
  quick: [
    ...combine(FOUR_KIBIBYTES, [64], [RANDOM_WRITE, DUPLICATE_WRITE, RANDOM_READ]),
    ...combine(EIGHT_KIBIBYTES, [64], [SEQUENTIAL_WRITE]),
  ],
};

const volumeWriteback: SuitePlan = {
  ...volume,
  name: "volume-writeback",
  title: "Content-addressed volume, writeback",
  remark: `${CAS_SERVERS} Both of aoed with \`durability = "writeback"\`, vblade without \`-s\`.`,
  mode: "buffered",
  workloads: [
    ...combine(FOUR_KIBIBYTES, [1, 64], [RANDOM_WRITE, DUPLICATE_WRITE]),
    ...combine(EIGHT_KIBIBYTES, [64], [SEQUENTIAL_WRITE, MIXED]),
  ],
  quick: [],
};

const volumeCold: SuitePlan = {
  ...volumeWriteback,
  name: "volume-cold",
  title: "Content-addressed volume, cold cache",
  remark:
    `${CAS_SERVERS} All of it leaves the page cache before each run, which reads each block once; ` +
    "the volume's own cache is 8 MiB.",
  cold: true,
  workloads: [
    ...combine(FOUR_KIBIBYTES, WINDOWS, [RANDOM_READ]),
    ...combine(EIGHT_KIBIBYTES, [1, 64], [SEQUENTIAL_READ]),
  ],
  quick: combine(FOUR_KIBIBYTES, [64], [RANDOM_READ]),
};

/** In the order of the tables. */
const plans = [
  memory,
  ports,
  fairness,
  durable,
  directDurable,
  direct,
  cold,
  file,
  loop,
  loopDurable,
  volume,
  volumeWriteback,
  volumeCold,
];

export function suitesFor(isQuick: boolean): readonly Suite[] {
  return plans
    .map(({ quick, workloads, ...suite }) => ({ ...suite, workloads: isQuick ? quick : workloads }))
    .filter((suite) => suite.workloads.length > 0);
}
