/** One shape of load on a storage without the network. */
export interface Line {
  readonly operation: "read" | "write";
  readonly order: "random" | "sequential";
  /** Sectors of a request: 8, or the 16 of an AoE frame at MTU 9000. */
  readonly sectors: number;
  readonly window: number;
  readonly data: WrittenData | ReadData;
}

/**
 * What is written: `unique` was never seen before; `recent` is one of 4096 blocks (16 MiB) that are
 * stored already and come again and again; `old` was stored before the store was opened, and comes
 * once.
 */
export type WrittenData = "unique" | "recent" | "old";

/**
 * Where what is read lies: `hot` in the memory of the backend (of the kernel, for a file); `warm`
 * in the kernel's page cache only; `cold` on the disk only.
 */
export type ReadData = "hot" | "warm" | "cold";

const WINDOWS = [1, 16, 64];

function lines(
  operation: Line["operation"],
  order: Line["order"],
  sectors: number,
  data: Line["data"],
  windows: readonly number[] = WINDOWS,
): Line[] {
  return windows.map((window) => ({ operation, order, sectors, data, window }));
}

/** In the order of the table. */
export const LINES: readonly Line[] = [
  ...lines("write", "random", 8, "unique"),
  ...lines("write", "random", 8, "recent"),
  ...lines("write", "random", 8, "old", [64]),
  ...lines("write", "sequential", 16, "unique"),
  ...lines("read", "random", 8, "hot"),
  ...lines("read", "sequential", 16, "hot", [64]),
  ...lines("read", "random", 8, "warm", [1, 64]),
  ...lines("read", "random", 8, "cold"),
  ...lines("read", "sequential", 16, "cold", [1, 64]),
];

const DATA_WORDS: Record<Line["data"], string> = {
  unique: "unique",
  recent: "duplicates",
  old: "old duplicates",
  hot: "hot",
  warm: "page cache only",
  cold: "cold",
};

/** "4 KiB random write, unique, window 64" */
export function lineName({ operation, order, sectors, window, data }: Line): string {
  return `${sectors / 2} KiB ${order} ${operation}, ${DATA_WORDS[data]}, window ${window}`;
}
