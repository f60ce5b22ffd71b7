import type { LogDisk, LogFile } from "../blob/log-disk.ts";
import { decodeDocument, encodeDocument } from "./document.ts";

const NAME = "remote";
/** The two copies are this far apart. */
const STRIDE_BYTES = 4096;

/** What a local folder is the front of, and in which state it was left. */
export interface Marker {
  /** Of the store, in hexadecimal; "": it is not known yet. */
  readonly storeId: string;
  /** Random: by it the owner of a lease is recognised after a restart. */
  readonly owner: string;
  /** Of the last lease. */
  readonly epoch: number;
  /** Of the head that the local log goes on from; 0: there was none. */
  readonly headEpoch: number;
  /**
   * `attaching`: what is in the folder is not whole, and may be thrown away; `attached`: it may hold
   * writes that are nowhere else; `clean`: everything in it is in the object store.
   */
  readonly state: "attaching" | "attached" | "clean";
}

interface MarkerCopy extends Marker {
  readonly counter: number;
}

/** The marker of a local folder: two copies, written in turn. The file is made when it is written. */
export class MarkerFile {
  readonly #disk: LogDisk;
  #file: LogFile | undefined;
  #counter: number;
  current: Marker | undefined;

  private constructor(disk: LogDisk, file: LogFile | undefined, newest: MarkerCopy | undefined) {
    this.#disk = disk;
    this.#file = file;
    this.#counter = newest?.counter ?? 0;
    this.current = newest;
  }

  static async open(disk: LogDisk): Promise<MarkerFile> {
    if (!(await disk.list()).includes(NAME)) return new MarkerFile(disk, undefined, undefined);
    const file = await disk.open(NAME);
    let newest: MarkerCopy | undefined;
    for (const position of [0, STRIDE_BYTES]) {
      const bytes = new Uint8Array(STRIDE_BYTES);
      await file.read(bytes, position);
      const copy = decodeDocument("remote marker", bytes) as MarkerCopy | "newer" | undefined;
      if (copy === undefined || copy === "newer") continue;
      if (copy.counter > (newest?.counter ?? -1)) newest = copy;
    }
    return new MarkerFile(disk, file, newest);
  }

  /** Resolves when it is durable. */
  async write(marker: Marker): Promise<void> {
    this.#counter++;
    const copy: MarkerCopy = { ...marker, counter: this.#counter };
    const bytes = encodeDocument("remote marker", copy);
    const file = this.#file ?? (await this.#create());
    await file.writeDurably(bytes, (this.#counter % 2) * STRIDE_BYTES);
    this.current = marker;
  }

  async #create(): Promise<LogFile> {
    this.#file = await this.#disk.create(NAME);
    await this.#disk.syncNames();
    return this.#file;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}
