export interface Write {
  /** Counts the writes and trims of a run from 1, in the order in which they were sent. */
  readonly version: number;
  readonly lba: number;
  readonly sectors: number;
  readonly isTrim: boolean;
  /** When it was sent and acknowledged: places in one order of all such events. */
  readonly sentAt: number;
  acknowledgedAt: number;
}

/** All that was ever written, trims included. Version 0 is a disk that nobody has written. */
export class WriteLog {
  readonly #writes: (Write | undefined)[] = [undefined];
  #events = 0;

  send(lba: number, sectors: number, isTrim: boolean): Write {
    const version = this.#writes.length;
    const sentAt = ++this.#events;
    const write = { version, lba, sectors, isTrim, sentAt, acknowledgedAt: Infinity };
    this.#writes.push(write);
    return write;
  }

  acknowledge(write: Write): void {
    write.acknowledgedAt = ++this.#events;
  }

  get(version: number): Write | undefined {
    return this.#writes[version];
  }

  /** What a sector holds after a write: its version, or 0 for zeros. */
  contentOf(version: number): number {
    return this.#writes[version]?.isTrim === true ? 0 : version;
  }
}
