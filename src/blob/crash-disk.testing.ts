import type { LogDisk, LogFile } from "./log-disk.ts";

const SECTOR_BYTES = 512;

/** A small generator with a seed (mulberry32): the same seed gives the same run. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

interface PendingWrite {
  readonly position: number;
  readonly data: Uint8Array;
}

/** A file: what is certainly on the medium, what readers see, and the writes between the two. */
class Inode {
  durable = new Uint8Array(0);
  current = new Uint8Array(0);
  pending: PendingWrite[] = [];
  /** Counts the times that unsynced writes were lost to an error of the medium. */
  losses = 0;

  static apply(content: Uint8Array, position: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
    const end = position + data.length;
    const result = new Uint8Array(Math.max(content.length, end));
    result.set(content);
    result.set(data, position);
    return result;
  }

  /** In place where it fits. A disk after a crash has one array for both until it is written. */
  write(position: number, data: Uint8Array): void {
    if (this.current === this.durable) this.current = this.durable.slice();
    if (position + data.length <= this.current.length) this.current.set(data, position);
    else this.current = Inode.apply(this.current, position, data);
    this.pending.push({ position, data: data.slice() });
  }

  sync(): void {
    for (const { position, data } of this.pending) {
      if (position + data.length <= this.durable.length) this.durable.set(data, position);
      else this.durable = Inode.apply(this.durable, position, data);
    }
    this.pending = [];
  }
}

/** What may survive of unsynced writes; see `reboot`. */
export interface CrashChoice {
  random: () => number;
  /** Given: the last write of all keeps its first so many sectors, every other one is kept. */
  lastWriteSectors?: number;
}

export interface CrashDiskOptions {
  /** The operation (write, sync, create, …; counted from 1) in which the machine stops. */
  crashAtOperation?: number;
  /** Bytes that all files together may take; ENOSPC beyond. */
  capacityBytes?: number;
  /** Called in each operation, before a sync and after a write: a moment to look, or to copy. */
  observe?: (kind: OperationKind) => void;
  /** Called before each sync of a file; true makes the medium lose what the sync should keep. */
  losesWrites?: (name: string, unsynced: readonly PendingWrite[]) => boolean;
  /** Given: a write that fails has written some first sectors. */
  tear?: () => number;
  /** Called before each operation; a returned code is the error that it ends with. */
  fault?: (operation: number, kind: OperationKind, name: string) => string | undefined;
}

export type OperationKind = "create" | "remove" | "write" | "sync" | "syncNames" | "read";

/**
 * A disk in memory that crashes. After the crash no call ever settles, as if the process were gone;
 * `reboot` gives the disk that the next process finds: synced writes whole, of the others any
 * subset, in any order, torn at any sector; of unsynced names a prefix.
 */
export class CrashDisk implements LogDisk {
  readonly description = "crash disk";
  readonly options: CrashDiskOptions;
  operations = 0;
  crashed = false;
  readonly whenCrashed: Promise<void>;
  lastWrite: { inode: Inode; index: number } | undefined;
  readonly #crash: () => void;
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #nameChanges: (() => void)[] = [];

  constructor(options: CrashDiskOptions = {}) {
    this.options = options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.whenCrashed = promise;
    this.#crash = resolve;
  }

  /** Stops the machine now. */
  crashNow(): void {
    this.crashed = true;
    this.#crash();
  }

  /** The disk after the crash, as another process finds it; see `CrashChoice`. */
  reboot(choice: CrashChoice, options: CrashDiskOptions = {}): CrashDisk {
    const next = new CrashDisk(options);
    const kept = Math.floor(choice.random() * (this.#nameChanges.length + 1));
    const changes = choice.lastWriteSectors === undefined ? kept : this.#nameChanges.length;
    for (const change of this.#nameChanges.slice(0, changes)) change();
    const survivors = new Map<Inode, Inode>();
    for (const [name, inode] of this.#durableNames) {
      const survivor = survivors.get(inode) ?? this.#survivor(inode, choice);
      survivors.set(inode, survivor);
      next.#names.set(name, survivor);
      next.#durableNames.set(name, survivor);
    }
    return next;
  }

  #survivor(inode: Inode, choice: CrashChoice): Inode {
    const survivor = new Inode();
    let length = inode.durable.length;
    const content = new Uint8Array(Math.max(length, inode.current.length));
    content.set(inode.durable);
    const order = inode.pending.map((write, index) => ({ write, index }));
    if (choice.lastWriteSectors === undefined) shuffle(order, choice.random);
    for (const { write, index } of order) {
      const isLast = this.lastWrite?.inode === inode && this.lastWrite.index === index;
      const keeps = sectorFilter(choice, isLast);
      for (let offset = 0; offset < write.data.length; offset += SECTOR_BYTES) {
        // Sectors of the medium: a write that begins within one shares it with its neighbour.
        const start = write.position + offset;
        const end = Math.min(offset + SECTOR_BYTES, write.data.length);
        if (keeps(offset / SECTOR_BYTES)) {
          content.set(write.data.subarray(offset, end), start);
          length = Math.max(length, start + end - offset);
        }
      }
    }
    survivor.durable = length === content.length ? content : content.slice(0, length);
    survivor.current = survivor.durable;
    return survivor;
  }

  /** The names and sizes that readers see now. */
  files(): Map<string, number> {
    return new Map([...this.#names].map(([name, inode]) => [name, inode.current.length]));
  }

  contents(name: string): Uint8Array {
    const inode = this.#names.get(name);
    if (inode === undefined) throw new Error(`no file ${name}`);
    return inode.current;
  }

  /** Damages the medium itself. */
  flipBit(name: string, offset: number, bit: number): void {
    const inode = this.#names.get(name);
    if (inode === undefined) throw new Error(`no file ${name}`);
    inode.current[offset] ^= 1 << bit;
    const isShared = inode.durable === inode.current;
    if (!isShared && offset < inode.durable.length) inode.durable[offset] ^= 1 << bit;
  }

  totalBytes(): number {
    return [...this.#names.values()].reduce((sum, inode) => sum + inode.current.length, 0);
  }

  /** Counts an operation, lets time pass, and fails or crashes as the options say. */
  async step(kind: OperationKind, name: string, effect: () => void): Promise<void> {
    if (this.crashed) return never();
    const operation = ++this.operations;
    await Promise.resolve();
    if (this.crashed) return never();
    const code = this.options.fault?.(operation, kind, name);
    if (code !== undefined) throw systemError(code);
    const isCrash = operation === this.options.crashAtOperation;
    // A write or a change of a name may or may not happen in a crash; a sync has not happened.
    const isSync = kind === "sync" || kind === "syncNames";
    if (isSync) this.options.observe?.(kind);
    if (!isCrash || !isSync) effect();
    if (!isSync) this.options.observe?.(kind);
    if (isCrash) {
      this.crashNow();
      return never();
    }
    await Promise.resolve();
    if (this.crashed) return never();
    return undefined;
  }

  async list(): Promise<string[]> {
    return [...this.#names.keys()];
  }

  async create(name: string): Promise<LogFile> {
    if (this.#names.has(name)) throw systemError("EEXIST");
    const inode = new Inode();
    await this.step("create", name, () => {
      this.#names.set(name, inode);
      this.#nameChanges.push(() => this.#durableNames.set(name, inode));
    });
    return new CrashFile(this, name, inode);
  }

  async open(name: string): Promise<LogFile> {
    const inode = this.#names.get(name);
    if (inode === undefined) throw systemError("ENOENT");
    return new CrashFile(this, name, inode);
  }

  async remove(name: string): Promise<void> {
    if (!this.#names.has(name)) throw systemError("ENOENT");
    await this.step("remove", name, () => {
      this.#names.delete(name);
      this.#nameChanges.push(() => this.#durableNames.delete(name));
    });
  }

  syncNames(): Promise<void> {
    return this.step("syncNames", "", () => {
      for (const change of this.#nameChanges) change();
      this.#nameChanges = [];
    });
  }
}

class CrashFile implements LogFile {
  readonly #disk: CrashDisk;
  readonly #name: string;
  readonly #inode: Inode;
  #reportedLosses: number;

  constructor(disk: CrashDisk, name: string, inode: Inode) {
    this.#disk = disk;
    this.#name = name;
    this.#inode = inode;
    this.#reportedLosses = inode.losses;
  }

  get sizeBytes(): number {
    return this.#inode.current.length;
  }

  async write(data: Uint8Array, position: number): Promise<void> {
    const capacity = this.#disk.options.capacityBytes ?? Infinity;
    const growth = Math.max(0, position + data.length - this.sizeBytes);
    if (growth > 0 && this.#disk.totalBytes() + growth > capacity) {
      // As a file system does: what fits is written, then the error.
      const fits = Math.max(0, capacity - this.#disk.totalBytes() - growth + data.length);
      const part = data.subarray(0, fits - (fits % SECTOR_BYTES));
      await this.#disk.step("write", this.#name, () => this.#inode.write(position, part));
      throw systemError("ENOSPC");
    }
    try {
      await this.#disk.step("write", this.#name, () => {
        this.#inode.write(position, data);
        this.#disk.lastWrite = { inode: this.#inode, index: this.#inode.pending.length - 1 };
      });
    } catch (error) {
      this.#writePart(data, position);
      throw error;
    }
  }

  #writePart(data: Uint8Array, position: number): void {
    const { tear } = this.#disk.options;
    if (tear === undefined) return;
    const sectors = Math.floor(tear() * (data.length / SECTOR_BYTES + 1));
    this.#inode.write(position, data.subarray(0, sectors * SECTOR_BYTES));
  }

  async writeDurably(data: Uint8Array, position: number): Promise<void> {
    await this.write(data, position);
    await this.sync();
  }

  async sync(): Promise<void> {
    await this.#syncOrLose();
    const { losses } = this.#inode;
    const isReported = this.#reportedLosses === losses;
    this.#reportedLosses = losses;
    if (!isReported) throw systemError("EIO");
  }

  /** Through a descriptor of its own: a loss that it runs into is still to be reported by `sync`. */
  async syncAhead(): Promise<void> {
    const before = this.#inode.losses;
    await this.#syncOrLose();
    if (this.#inode.losses > before) throw systemError("EIO");
  }

  /** As Linux does: after an error what was written can still be read, but nobody writes it again. */
  #syncOrLose(): Promise<void> {
    return this.#disk.step("sync", this.#name, () => {
      if (this.#disk.options.losesWrites?.(this.#name, this.#inode.pending) === true) {
        this.#inode.losses++;
        this.#inode.pending = [];
      }
      this.#inode.sync();
    });
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    if (this.#disk.crashed) return never();
    const code = this.#disk.options.fault?.(this.#disk.operations, "read", this.#name);
    if (code !== undefined) throw systemError(code);
    await Promise.resolve();
    const part = this.#inode.current.subarray(position, position + target.length);
    target.set(part);
    return part.length;
  }

  async close(): Promise<void> {}
}

function sectorFilter(choice: CrashChoice, isLast: boolean): (sector: number) => boolean {
  const first = choice.lastWriteSectors;
  if (first !== undefined) return (sector) => !isLast || sector < first;
  const fate = choice.random();
  if (fate < 0.3) return () => true;
  if (fate < 0.5) return () => false;
  return () => choice.random() < 0.5;
}

function shuffle(items: unknown[], random: () => number): void {
  for (let index = items.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [items[index], items[other]] = [items[other], items[index]];
  }
}

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: made by the test`), { code });
}

function never<T>(): Promise<T> {
  return new Promise<T>(() => {});
}
