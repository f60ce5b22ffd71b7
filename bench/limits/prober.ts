import type { Volume } from "../../src/cas/volume.ts";
import type { BlockRequest } from "../../src/storage/block-storage.ts";
import { Latencies } from "../backend/latencies.ts";
import { Permutation } from "../backend/permutation.ts";
import { TurnProbe } from "../backend/turn-probe.ts";
import { AwaitedRequest, type Workbench } from "./test-volume.ts";

const SECTORS_PER_BLOCK = 8;
/** One more at a time would only wait for the others. */
const MOST_UNDER_WAY = 8;

export interface ProbeReport {
  readonly reads: number;
  readonly writes: number;
  readonly longestReadMs: number;
  readonly longestWriteMs: number;
  readonly p99WriteMs: number;
  /** The longest turn of the event loop, on the clock and of its processor time. */
  readonly longestTurnMs: number;
  readonly longestTurnCpuMs: number;
  /** Of the thread that runs JavaScript, while the probe went on. */
  readonly cpuMs: number;
}

/** Somebody who uses the volume meanwhile: each millisecond a block is read and one written. */
export class Prober {
  readonly #volume: Volume;
  readonly #bench: Workbench;
  readonly #order: Permutation;
  readonly #written: Permutation;
  readonly #writtenBlocks: number;
  readonly #frames: number[] = [];
  readonly #reads = new Latencies();
  readonly #writes = new Latencies();
  readonly #turns = new TurnProbe();
  readonly #underWay = new Set<Promise<void>>();
  #counts = { reads: 0, writes: 0 };
  #timer: NodeJS.Timeout | undefined;
  #failure: unknown;
  #position = 0;

  /** @param writtenBlocks as they were given to `writeBlocks` */
  constructor(volume: Volume, bench: Workbench, writtenBlocks: number) {
    this.#volume = volume;
    this.#bench = bench;
    const blocks = volume.info().sectors / SECTORS_PER_BLOCK;
    this.#order = new Permutation(blocks, 77);
    this.#written = new Permutation(blocks, 1);
    this.#writtenBlocks = writtenBlocks;
    for (let index = 0; index < MOST_UNDER_WAY; index++) {
      const frame = bench.arena.allocate();
      const offset = bench.arena.frameOffset(frame) + 36;
      bench.pattern.prepare(offset, 1);
      this.#frames.push(offset);
    }
  }

  start(): void {
    this.#reads.clear();
    this.#writes.clear();
    this.#counts = { reads: 0, writes: 0 };
    this.#turns.start();
    this.#timer = setInterval(() => this.#probe(), 1);
  }

  async stop(): Promise<ProbeReport> {
    this.#turns.stop();
    clearInterval(this.#timer);
    await Promise.all(this.#underWay);
    if (this.#failure !== undefined) throw this.#failure;
    return {
      ...this.#counts,
      longestReadMs: this.#reads.longestUs / 1000,
      longestWriteMs: this.#writes.longestUs / 1000,
      p99WriteMs: this.#writes.quantileUs(0.99) / 1000,
      longestTurnMs: this.#turns.longestMs,
      longestTurnCpuMs: this.#turns.longestCpuMs,
      cpuMs: this.#turns.cpuMs,
    };
  }

  #probe(): void {
    if (this.#frames.length < 2) return;
    const written = this.#order.at(this.#position);
    const read = this.#written.at((this.#position * 997) % this.#writtenBlocks);
    this.#position++;
    this.#begin(written, this.#writes, (request) => {
      this.#counts.writes++;
      this.#bench.pattern.putUnique(request.memoryOffset, written, 1);
      this.#volume.write(request);
    });
    this.#begin(read, this.#reads, (request) => {
      this.#counts.reads++;
      this.#volume.read(request);
    });
    this.#volume.submit();
  }

  #begin(block: number, latencies: Latencies, hand: (request: BlockRequest) => void): void {
    const offset = this.#frames.pop();
    if (offset === undefined) return;
    const request = new AwaitedRequest();
    request.lba = block * SECTORS_PER_BLOCK;
    request.lengthSectors = SECTORS_PER_BLOCK;
    request.memoryOffset = offset;
    hand(request);
    const done: Promise<void> = request.tookMs
      .then(
        (ms) => latencies.add(ms * 1000),
        (error: unknown) => {
          this.#failure ??= error;
        },
      )
      .then(() => {
        this.#frames.push(offset);
        this.#underWay.delete(done);
      });
    this.#underWay.add(done);
  }
}
