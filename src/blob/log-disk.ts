/**
 * What the segment log needs of a disk: one folder of flat files, written in large pieces at known
 * positions. A small interface, so that the tests can put a disk underneath that crashes.
 *
 * Errors are those of the system, with their `code` (ENOSPC, EIO, …).
 */
export interface LogDisk {
  /** For people: the folder. */
  readonly description: string;
  list(): Promise<string[]>;
  /** A new empty file for reading and writing; fails with EEXIST when there is one. */
  create(name: string): Promise<LogFile>;
  open(name: string): Promise<LogFile>;
  remove(name: string): Promise<void>;
  /** Makes the names of all files created and removed so far durable. */
  syncNames(): Promise<void>;
}

export interface LogFile {
  /** Length when it was opened, plus what was written since. */
  readonly sizeBytes: number;
  /** Writes all of `data`; nothing is durable before `sync`. */
  write(data: Uint8Array, position: number): Promise<void>;
  /** Writes all of `data` and makes it, and all writes before, durable. */
  writeDurably(data: Uint8Array, position: number): Promise<void>;
  /** Makes all writes of this file durable. */
  sync(): Promise<void>;
  /**
   * Starts early on what the next sync has to wait for, and proves nothing: a system reports a
   * write that failed later on only once to whoever opened the file, and that report stays for
   * `sync`.
   */
  syncAhead(): Promise<void>;
  /** Fills `target`; the count is less than its length only at the end of the file. */
  read(target: Uint8Array, position: number): Promise<number>;
  /**
   * What was read here is not what had been written. True: another copy will be read the next
   * time, so it is worth trying again.
   */
  distrust?(position: number, lengthBytes: number): boolean;
  close(): Promise<void>;
}
