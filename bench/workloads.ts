/** One shape of load: what the generator is told. */
export interface Workload {
  readonly mtuBytes: number;
  readonly sectors: number;
  readonly window: number;
  readonly order: "sequential" | "random";
  readonly readPercent: number;
  /** Source addresses that share the load, each with a window of its own. */
  readonly initiators: number;
  /** What each place in the window writes in turn, again and again; absent: nothing twice. */
  readonly contents?: number;
}

/** How much a request moves, and the MTU that it takes. */
export type Size = Pick<Workload, "mtuBytes" | "sectors">;
export const KIBIBYTE: Size = { mtuBytes: 1500, sectors: 2 };
export const FOUR_KIBIBYTES: Size = { mtuBytes: 9000, sectors: 8 };
export const EIGHT_KIBIBYTES: Size = { mtuBytes: 9000, sectors: 16 };

export type Kind = Pick<Workload, "order" | "readPercent" | "contents">;
export const SEQUENTIAL_READ: Kind = { order: "sequential", readPercent: 100 };
export const RANDOM_READ: Kind = { order: "random", readPercent: 100 };
export const SEQUENTIAL_WRITE: Kind = { order: "sequential", readPercent: 0 };
export const RANDOM_WRITE: Kind = { order: "random", readPercent: 0 };
export const DUPLICATE_WRITE: Kind = { ...RANDOM_WRITE, contents: 16 };
export const MIXED: Kind = { order: "random", readPercent: 70 };

/** Every kind with every window, at one size. */
export function combine(
  size: Size,
  windows: readonly number[],
  kinds: readonly Kind[],
  initiators = 1,
): Workload[] {
  return kinds.flatMap((kind) =>
    windows.map((window) => ({ ...size, ...kind, window, initiators })),
  );
}

/** "1 KiB random read, window 64": unique within a suite. */
export function workloadName(workload: Workload): string {
  const { sectors, order, readPercent, window } = workload;
  const mixture = `${readPercent}/${100 - readPercent} read/write`;
  const kind = readPercent === 100 ? "read" : readPercent === 0 ? "write" : mixture;
  const data = workload.contents === undefined ? "" : " of duplicates";
  const initiators = workload.initiators === 1 ? "" : `, ${workload.initiators} initiators`;
  return `${sectors / 2} KiB ${order} ${kind}${data}, window ${window}${initiators}`;
}
