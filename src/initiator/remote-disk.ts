import { writeDataSetRange } from "../ata/data-set.wire.ts";
import { AtaOpcode } from "../ata/ata-engine.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import type { DiscoveredTarget } from "./discovery.ts";
import { type AtaAnswer, type AtaCommandFields, AtaRequest, FAILURE_BITS } from "./ata-request.ts";
import { AtaReplyError, InitiatorError } from "./initiator-error.ts";
import { type LoadOptions, type LoadResult, runLoad } from "./load.ts";
import { Path } from "./path.ts";
import type { Transport } from "./transport.ts";

export interface RequestOptions {
  /** How long each command is repeated before it fails. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/** Commands of one transfer that are handed to the transport at once; its window sends fewer. */
const TRANSFER_COMMANDS = 128;

const TRIM = 0x01;
const TRIM_RANGE_SECTORS = 0xffff;
const TRIM_RANGES_IN_BLOCK = 64;

/**
 * A target as a disk of 512-octet sectors. Transfers of any length are cut into the commands that
 * the target and the interface take, as many at once as the target allows.
 *
 * Two transfers that overlap must not run at once: AoE promises no order, and a frame that the
 * network delays or repeats can take effect late.
 */
export class RemoteDisk {
  readonly target: DiscoveredTarget;
  readonly sectors: number;
  /** Most sectors of one command, over this interface. */
  readonly maxSectors: number;
  readonly #transport: Transport;
  readonly #path: Path;
  readonly #timeoutMs: number;

  constructor(
    transport: Transport,
    path: Path,
    target: DiscoveredTarget,
    options: RequestOptions = {},
  ) {
    this.target = target;
    this.sectors = target.sectors ?? 0;
    const frameBytes = transport.port.link.mtuBytes - 36;
    const fitting = Math.max(1, Math.floor(frameBytes / SECTOR_BYTES));
    this.maxSectors = Math.min(target.maxSectors, fitting);
    this.#transport = transport;
    this.#path = path;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  /** @throws InitiatorError when a command fails or is not answered in time */
  async read(lba: number, sectors: number): Promise<Uint8Array> {
    this.#checkRange(lba, sectors);
    const data = new Uint8Array(sectors * SECTOR_BYTES);
    await this.#transfer(lba, data, AtaOpcode.readSectorsExt, `reading ${sectors} sectors`);
    return data;
  }

  /** Resolves when the target has answered for all of it. `data` must not change until then. */
  async write(lba: number, data: Uint8Array): Promise<void> {
    if (data.length % SECTOR_BYTES !== 0) {
      throw new InitiatorError(`${data.length} octets are not a whole number of sectors`);
    }
    const sectors = data.length / SECTOR_BYTES;
    this.#checkRange(lba, sectors);
    await this.#transfer(lba, data, AtaOpcode.writeSectorsExt, `writing ${sectors} sectors`);
  }

  /** Resolves when everything written before it is durable. */
  async flush(): Promise<void> {
    const answer = await this.ata({ command: AtaOpcode.flushCacheExt });
    this.#check(answer, "FLUSH CACHE");
  }

  /** Tells the target that the sectors are not needed. */
  async trim(lba: number, sectors: number): Promise<void> {
    this.#checkRange(lba, sectors);
    for (let first = lba; first < lba + sectors;) {
      const data = new Uint8Array(SECTOR_BYTES);
      for (let index = 0; index < TRIM_RANGES_IN_BLOCK && first < lba + sectors; index++) {
        const length = Math.min(TRIM_RANGE_SECTORS, lba + sectors - first);
        writeDataSetRange(data, 0, index, { lba: first, sectors: length });
        first += length;
      }
      const command = AtaOpcode.dataSetManagement;
      const answer = await this.ata({ command, features: TRIM, sectorCount: 1, data });
      this.#check(answer, "TRIM");
    }
  }

  /**
   * Loads the disk and measures it, with a window of its own. Writes destroy what it holds.
   * @throws InitiatorError when a request fails or is not answered in time
   */
  async load(options: LoadOptions): Promise<LoadResult> {
    const { shelf, slot, mac } = this.#path;
    return runLoad(this.#transport, new Path(shelf, slot, mac), options);
  }

  /** Any ATA command, and its answer whatever the status. */
  async ata(fields: AtaCommandFields, options: RequestOptions = {}): Promise<AtaAnswer> {
    return new Promise((resolve, reject) => {
      const outcome = { succeeded: resolve, failed: reject };
      const request = new AtaRequest(this.#path, fields, outcome);
      this.#transport.submit(request, options.timeoutMs ?? this.#timeoutMs);
    });
  }

  /** Reads into `data`, or writes it, in commands of `maxSectors`. */
  async #transfer(lba: number, data: Uint8Array, command: number, what: string): Promise<void> {
    if (data.length === 0) return;
    const commandBytes = this.maxSectors * SECTOR_BYTES;
    const isRead = command === AtaOpcode.readSectorsExt;
    await new Promise<void>((resolve, reject) => {
      let next = 0;
      let remaining = Math.ceil(data.length / commandBytes);
      const outcome = {
        succeeded: (answer: AtaAnswer) => {
          if ((answer.status & FAILURE_BITS) !== 0) {
            outcome.failed(new AtaReplyError(this.#path.name, what, answer));
            return;
          }
          remaining--;
          if (remaining === 0) resolve();
          else submitNext();
        },
        failed: (error: Error) => {
          next = data.length;
          reject(error);
        },
      };
      const submitNext = (): void => {
        if (next >= data.length) return;
        const first = next;
        const part = data.subarray(first, Math.min(first + commandBytes, data.length));
        next += part.length;
        const fields = {
          command,
          lba: lba + first / SECTOR_BYTES,
          sectorCount: part.length / SECTOR_BYTES,
          ...(isRead ? { dataInBytes: part.length } : { data: part }),
        };
        const request = new AtaRequest(this.#path, fields, outcome, isRead ? part : undefined);
        this.#transport.submit(request, this.#timeoutMs);
      };
      for (let count = 0; count < TRANSFER_COMMANDS; count++) submitNext();
    });
  }

  #check(answer: AtaAnswer, what: string): void {
    if ((answer.status & FAILURE_BITS) === 0) return;
    throw new AtaReplyError(this.#path.name, what, answer);
  }

  #checkRange(lba: number, sectors: number): void {
    const isWhole = Number.isSafeInteger(lba) && Number.isSafeInteger(sectors);
    if (isWhole && lba >= 0 && sectors >= 0 && lba + sectors <= this.sectors) return;
    throw new InitiatorError(
      `${this.#path.name}: sectors ${lba} to ${lba + sectors - 1} are not on this disk of ${this.sectors}`,
    );
  }
}
