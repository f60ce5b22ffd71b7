import { StoreFault } from "../blob/blob-store.ts";
import type { CrashDisk, OperationKind } from "../blob/crash-disk.testing.ts";

/** How often an operation of the disk fails. */
const FAULT_SHARE = 0.04;

/** Lets writes and syncs of a disk fail at random while something runs. */
export class DiskFaults {
  readonly #disk: CrashDisk | undefined;
  readonly #random: () => number;

  /** @param disk undefined: it never fails */
  constructor(disk: CrashDisk | undefined, random: () => number) {
    this.#disk = disk;
    this.#random = random;
  }

  get areOn(): boolean {
    return this.#disk?.options.fault !== undefined;
  }

  async run(action: () => Promise<void>): Promise<void> {
    const options = this.#disk?.options;
    if (options === undefined || this.#random() < 0.3) return action();
    options.fault = (_operation, kind) => this.#fault(kind);
    options.losesWrites = () => this.#random() < FAULT_SHARE;
    options.tear = this.#random;
    try {
      return await action();
    } finally {
      delete options.fault;
      delete options.losesWrites;
      delete options.tear;
    }
  }

  #fault(kind: OperationKind): string | undefined {
    if (kind === "read" || this.#random() >= FAULT_SHARE) return undefined;
    return kind !== "sync" && this.#random() < 0.5 ? "ENOSPC" : "EIO";
  }

  /** Waits for work that a disk that fails may refuse. */
  async tolerate(work: Promise<unknown>): Promise<void> {
    const { areOn } = this;
    await work.catch((error: unknown) => {
      if (!areOn || !(error instanceof StoreFault)) throw error;
    });
  }
}
