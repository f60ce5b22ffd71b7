import { AoeCommand } from "../aoe/header.wire.ts";
import { AtaOpcode } from "../ata/ata-engine.ts";
import {
  ATA_DATA_OFFSET_BYTES,
  ataErrorRegister,
  ataStatus,
  lba48,
  writeAtaRegisters,
} from "../ata/registers.wire.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { FAILURE_BITS } from "./ata-request.ts";
import { AtaReplyError, InitiatorError } from "./initiator-error.ts";
import { LatencyHistogram } from "./latency-histogram.ts";
import type { Path } from "./path.ts";
import { AoeRequest, type ReplyFrame } from "./request.ts";
import type { Transport } from "./transport.ts";

const EXTENDED = 0x40;
const EXTENDED_WRITE = 0x41;
const RANDOM_BYTES = 64 * 1024;

/** A closed loop: as many requests as the window under way, the next when one is answered. */
export interface LoadOptions {
  readonly requestSectors: number;
  readonly order: "sequential" | "random";
  /** Share of the requests that are reads: 1 reads only, 0 writes only. */
  readonly readShare: number;
  /** The part of the disk that is used; whole requests of it. */
  readonly firstLba: number;
  readonly sectors: number;
  readonly window: number;
  /** Measured after the warm-up. */
  readonly durationMs: number;
  readonly warmupMs: number;
  /** How long a request is repeated before the run fails. */
  readonly timeoutMs: number;
  /** Of the order of addresses and of what is written. */
  readonly seed: number;
  /** Told a few times a second how many were answered since the last call. */
  readonly onProgress?: (operations: number) => void;
}

export interface LoadResult {
  readonly operations: number;
  readonly reads: number;
  readonly writes: number;
  readonly bytes: number;
  readonly elapsedMs: number;
  readonly latency: LatencyHistogram;
}

const PROGRESS_MS = 250;

/**
 * Keeps a window of requests to one target under way for a time, and measures each from the first
 * time it was sent. Nothing is allocated for a request but by the transport.
 *
 * @throws InitiatorError when a request fails or is not answered in time
 */
export async function runLoad(
  transport: Transport,
  path: Path,
  options: LoadOptions,
): Promise<LoadResult> {
  return new Load(transport, path, options).run();
}

class Load {
  readonly options: LoadOptions;
  readonly #transport: Transport;
  readonly #path: Path;
  readonly #random: () => number;
  readonly #content: Uint8Array;
  readonly #latency = new LatencyHistogram();
  readonly #result = Promise.withResolvers<void>();
  #nextIndex = 0;
  #stamp = 0;
  #underWay = 0;
  #isEnding = false;
  #isMeasuring = false;
  #startedMs = 0;
  #elapsedMs = 0;
  #reads = 0;
  #writes = 0;
  #reported = 0;

  constructor(transport: Transport, path: Path, options: LoadOptions) {
    this.#transport = transport;
    this.#path = path;
    this.options = options;
    this.#random = generator(options.seed);
    this.#content = new Uint8Array(RANDOM_BYTES + options.requestSectors * SECTOR_BYTES);
    for (let at = 0; at < this.#content.length; at++) this.#content[at] = this.#random() & 0xff;
  }

  async run(): Promise<LoadResult> {
    const { warmupMs, durationMs, window } = this.options;
    this.#path.setLimit(window);
    const begin = setTimeout(() => this.#measure(), warmupMs);
    const end = setTimeout(() => this.#end(), warmupMs + durationMs);
    const progress = setInterval(() => this.#report(), PROGRESS_MS);
    try {
      for (let count = 0; count < window; count++) this.next(new LoadRequest(this.#path, this));
      await this.#result.promise;
    } finally {
      for (const timer of [begin, end, progress]) clearTimeout(timer);
    }
    const operations = this.#reads + this.#writes;
    return {
      operations,
      reads: this.#reads,
      writes: this.#writes,
      bytes: operations * this.options.requestSectors * SECTOR_BYTES,
      elapsedMs: this.#elapsedMs,
      latency: this.#latency,
    };
  }

  /** Sends the request, which is new or answered, with another address. */
  next(request: LoadRequest): void {
    const { requestSectors, firstLba, sectors, order, readShare, timeoutMs } = this.options;
    const places = Math.floor(sectors / requestSectors);
    const index = order === "random" ? this.#randomBelow(places) : this.#nextIndex++ % places;
    request.begin(firstLba + index * requestSectors, this.#random() < readShare * 2 ** 32);
    this.#underWay++;
    this.#transport.submit(request, timeoutMs);
  }

  answered(request: LoadRequest, latencyMs: number): void {
    this.#underWay--;
    if (this.#isMeasuring) {
      this.#latency.add(latencyMs);
      if (request.isRead) this.#reads++;
      else this.#writes++;
    }
    if (!this.#isEnding) this.next(request);
    else if (this.#underWay === 0) this.#result.resolve();
  }

  failed(error: Error): void {
    this.#isEnding = true;
    this.#isMeasuring = false;
    this.#result.reject(error);
  }

  /** Writes the data of one write: no two of a run are alike, so that nothing is deduplicated. */
  fill(bytes: Uint8Array, at: number, lengthBytes: number): void {
    const from = this.#random() % RANDOM_BYTES;
    bytes.set(this.#content.subarray(from, from + lengthBytes), at);
    for (let sector = 0; sector < lengthBytes; sector += SECTOR_BYTES) {
      this.#stamp++;
      for (let octet = 0; octet < 6; octet++) {
        bytes[at + sector + octet] = Math.floor(this.#stamp / 2 ** (8 * octet));
      }
      for (let octet = 0; octet < 4; octet++) {
        bytes[at + sector + 6 + octet] = this.options.seed >>> (8 * octet);
      }
    }
  }

  #measure(): void {
    this.#isMeasuring = true;
    this.#startedMs = performance.now();
  }

  #end(): void {
    this.#elapsedMs = performance.now() - this.#startedMs;
    this.#isMeasuring = false;
    this.#isEnding = true;
  }

  #report(): void {
    const operations = this.#reads + this.#writes;
    this.options.onProgress?.(operations - this.#reported);
    this.#reported = operations;
  }

  /** Uniform also above 2³² places. */
  #randomBelow(limit: number): number {
    return Math.floor(((this.#random() + this.#random() / 2 ** 32) / 2 ** 32) * limit);
  }
}

/** One place in the window, used again for each request that passes through it. */
class LoadRequest extends AoeRequest {
  readonly command = AoeCommand.ata;
  isRead = true;
  readonly #load: Load;
  #lba = 0;
  #startedMs = 0;

  constructor(path: Path, load: Load) {
    super(path, true);
    this.#load = load;
  }

  begin(lba: number, isRead: boolean): void {
    this.#lba = lba;
    this.isRead = isRead;
    this.tags.length = 0;
  }

  override writeArguments(bytes: Uint8Array, at: number): number {
    const { requestSectors } = this.#load.options;
    if (this.tags.length === 0) this.#startedMs = performance.now();
    writeAtaRegisters(bytes, at, {
      command: this.isRead ? AtaOpcode.readSectorsExt : AtaOpcode.writeSectorsExt,
      lba: this.#lba,
      sectorCount: requestSectors,
      features: 0,
      flags: this.isRead ? EXTENDED : EXTENDED_WRITE,
    });
    if (this.isRead) return ATA_DATA_OFFSET_BYTES;
    const lengthBytes = requestSectors * SECTOR_BYTES;
    this.#load.fill(bytes, at + ATA_DATA_OFFSET_BYTES, lengthBytes);
    return ATA_DATA_OFFSET_BYTES + lengthBytes;
  }

  override answered({ bytes, at, lengthBytes }: ReplyFrame): void {
    const latencyMs = performance.now() - this.#startedMs;
    if (lengthBytes < ATA_DATA_OFFSET_BYTES) return this.#failWith("a truncated answer");
    const status = ataStatus(bytes, at);
    if ((status & FAILURE_BITS) !== 0) {
      const answer = { status, error: ataErrorRegister(bytes, at), lba: lba48(bytes, at) };
      const what = this.isRead ? "reading" : "writing";
      const { name } = this.path;
      return this.failed(new AtaReplyError(name, `${what} at sector ${this.#lba}`, answer));
    }
    const dataBytes = this.isRead ? this.#load.options.requestSectors * SECTOR_BYTES : 0;
    if (lengthBytes < ATA_DATA_OFFSET_BYTES + dataBytes) {
      return this.#failWith("an answer with less than the sectors asked");
    }
    this.#load.answered(this, latencyMs);
  }

  #failWith(what: string): void {
    this.failed(new InitiatorError(`${this.path.name}: ${what}`));
  }

  override failed(error: Error): void {
    this.#load.failed(error);
  }
}

/** Marsaglia's xorshift: fast, and the same for the same seed. @returns 32 bits, never all 0 */
function generator(seed: number): () => number {
  let state = (seed | 0) === 0 ? 0x9e3779b9 : seed | 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
