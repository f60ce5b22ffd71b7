import { getHeapStatistics } from "node:v8";
import type { FrameArena } from "../../src/arena/frame-arena.ts";
import { BlockRequest, BlockStatus, type BlockStorage } from "../../src/storage/block-storage.ts";
import { sampleProcessorTimes } from "../processor-time.ts";
import { BLOCK_BYTES, type BlockPattern } from "./block-pattern.ts";
import { Latencies } from "./latencies.ts";
import type { Line } from "./lines.ts";
import { Permutation } from "./permutation.ts";
import { TurnProbe } from "./turn-probe.ts";

const SECTORS_PER_BLOCK = BLOCK_BYTES / 512;
/** Where the payload of an AoE frame lies in its place of the arena. */
const PAYLOAD_OFFSET_BYTES = 36;
/** Contents that `recent` chooses from. */
const RECENT_BLOCKS = 4096;
/** Requests that complete at once are followed by others so often before the loop goes on. */
const ROUNDS_PER_TURN = 16;

export type Load = Omit<Line, "data"> & {
  readonly data: Line["data"] | "initial";
  readonly seed: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** Ends after so many, or earlier when the time is over. */
  readonly requests: number;
};

/** One run of one line. */
export interface LoadSample {
  readonly operationsPerSecond: number;
  readonly megabytesPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly longestUs: number;
  /** Of all threads of this process, and of the one that runs JavaScript, for one request. */
  readonly cpuUs: number;
  readonly mainThreadCpuUs: number;
  /** Busy time of the machine that is not this process, in processors. */
  readonly otherProcessors: number;
  /** Bytes of JavaScript heap that were allocated, for one request. */
  readonly heapBytes: number;
  /** The longest turn of the event loop: on the clock, and of its processor time. */
  readonly longestTurnMs: number;
  readonly longestTurnCpuMs: number;
}

class LoadRequest extends BlockRequest {
  issuedMs = 0;
  readonly #loop: ClosedLoop;

  constructor(loop: ClosedLoop, memoryOffset: number) {
    super();
    this.#loop = loop;
    this.memoryOffset = memoryOffset;
  }

  override completed(): void {
    this.#loop.completed(this);
  }
}

interface Counters {
  readonly atMs: number;
  readonly cpuUs: number;
  readonly mainThreadCpuUs: number;
  readonly busyUs: number;
  readonly heapBytes: number;
}

/**
 * Keeps a window of requests under way on a storage, as the server does: what has completed in a
 * turn of the event loop is followed by new requests in one `submit`.
 */
export class ClosedLoop {
  readonly #pattern: BlockPattern;
  readonly #idle: LoadRequest[] = [];
  readonly #latencies = new Latencies();
  readonly #probe = new TurnProbe();
  readonly #turn = (): void => this.#takeTurn();
  #done: LoadRequest[] = [];
  #spare: LoadRequest[] = [];
  #storage: BlockStorage | undefined;
  #load: Load | undefined;
  #order: Permutation | undefined;
  #position = 0;
  #units = 0;
  #underWay = 0;
  #operations = 0;
  #nowMs = 0;
  #warmUntilMs = 0;
  #endMs = 0;
  #isTurnDue = false;
  #isInTurn = false;
  #begin: Counters | undefined;
  #finish: ((error: Error | undefined) => void) | undefined;
  #failure: Error | undefined;

  /** @param window the most requests at once, each with a frame of the arena */
  constructor(arena: FrameArena, pattern: BlockPattern, window: number) {
    this.#pattern = pattern;
    for (let index = 0; index < window; index++) {
      const frame = arena.allocate();
      if (frame < 0) throw new Error("the arena has too few frames for this window");
      this.#idle.push(new LoadRequest(this, arena.frameOffset(frame) + PAYLOAD_OFFSET_BYTES));
    }
  }

  /** @throws Error when a request failed or returned other data than was written */
  async run(storage: BlockStorage, load: Load): Promise<LoadSample> {
    this.#storage = storage;
    this.#load = load;
    this.#units = Math.floor(storage.info().sectors / load.sectors);
    this.#order = load.order === "random" ? new Permutation(this.#units, load.seed) : undefined;
    this.#position = 0;
    this.#failure = undefined;
    const blocks = load.sectors / SECTORS_PER_BLOCK;
    this.#done = this.#idle.slice(0, load.window);
    for (const request of this.#done) this.#pattern.prepare(request.memoryOffset, blocks);
    this.#nowMs = performance.now();
    this.#warmUntilMs = this.#nowMs + load.warmUpSeconds * 1000;
    this.#endMs = this.#warmUntilMs + load.seconds * 1000;
    this.#begin = undefined;
    const finished = new Promise<void>((resolve, reject) => {
      this.#finish = (error) => (error === undefined ? resolve() : reject(error));
    });
    this.#schedule();
    await finished;
    return this.#sample(load);
  }

  completed(request: LoadRequest): void {
    this.#underWay--;
    this.#done.push(request);
    if (!this.#isInTurn) this.#schedule();
  }

  #schedule(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    setImmediate(this.#turn);
  }

  #takeTurn(): void {
    this.#isTurnDue = false;
    this.#isInTurn = true;
    for (let round = 0; round < ROUNDS_PER_TURN && this.#done.length > 0; round++) {
      this.#nowMs = performance.now();
      if (this.#begin === undefined && this.#nowMs >= this.#warmUntilMs) this.#startCounting();
      this.#collect();
    }
    this.#isInTurn = false;
    if (this.#done.length > 0) this.#schedule();
    else if (this.#underWay === 0) this.#end();
  }

  /** Looks at what has completed, and hands over as many new requests. */
  #collect(): void {
    const storage = this.#storage as BlockStorage;
    const done = this.#done;
    this.#done = this.#spare;
    this.#spare = done;
    for (let index = 0; index < done.length; index++) {
      const request = done[index];
      if (request.issuedMs > 0) this.#check(request);
      if (!this.#isOver()) this.#issue(storage, request);
      else request.issuedMs = 0;
    }
    done.length = 0;
    storage.submit();
  }

  #isOver(): boolean {
    if (this.#nowMs >= this.#endMs || this.#failure !== undefined) return true;
    return this.#position >= (this.#load as Load).requests;
  }

  #issue(storage: BlockStorage, request: LoadRequest): void {
    const { operation, sectors } = this.#load as Load;
    const step = this.#position % this.#units;
    this.#position++;
    const unit = this.#order === undefined ? step : this.#order.at(step);
    request.lba = unit * sectors;
    request.lengthSectors = sectors;
    request.issuedMs = this.#nowMs;
    this.#underWay++;
    if (operation === "read") {
      storage.read(request);
      return;
    }
    this.#fill(request, step, unit);
    storage.write(request);
  }

  #fill(request: LoadRequest, step: number, unit: number): void {
    const { data, sectors } = this.#load as Load;
    const blocks = sectors / SECTORS_PER_BLOCK;
    const { memoryOffset } = request;
    if (data === "unique") this.#pattern.putUnique(memoryOffset, unit * blocks, blocks);
    else if (data === "recent") this.#pattern.putInitial(memoryOffset, step % RECENT_BLOCKS, 1);
    // Shifted by one: no block gets what it holds already.
    else if (data === "old") this.#pattern.putInitial(memoryOffset, (unit + 1) % this.#units, 1);
    else this.#pattern.putInitial(memoryOffset, unit * blocks, blocks);
  }

  #check(request: LoadRequest): void {
    const { operation, sectors } = this.#load as Load;
    this.#latencies.add((this.#nowMs - request.issuedMs) * 1000);
    this.#operations++;
    if (request.status !== BlockStatus.ok) {
      this.#failure ??= new Error(`${operation} of LBA ${request.lba}: status ${request.status}`);
    } else if (operation === "read") {
      const blocks = sectors / SECTORS_PER_BLOCK;
      if (!this.#pattern.isInitial(request.memoryOffset, request.lba / SECTORS_PER_BLOCK, blocks)) {
        this.#failure ??= new Error(`read of LBA ${request.lba}: wrong data`);
      }
    }
  }

  #startCounting(): void {
    this.#begin = countersNow();
    this.#latencies.clear();
    this.#operations = 0;
    this.#probe.start();
  }

  #end(): void {
    const finish = this.#finish;
    this.#finish = undefined;
    finish?.(this.#failure);
  }

  #sample({ sectors }: Load): LoadSample {
    this.#probe.stop();
    const end = countersNow();
    const begin = this.#begin as Counters;
    const seconds = (end.atMs - begin.atMs) / 1000;
    const cpuUs = end.cpuUs - begin.cpuUs;
    const operations = Math.max(1, this.#operations);
    const operationsPerSecond = this.#operations / seconds;
    return {
      operationsPerSecond,
      megabytesPerSecond: (operationsPerSecond * sectors * 512) / 1e6,
      p50Us: this.#latencies.quantileUs(0.5),
      p99Us: this.#latencies.quantileUs(0.99),
      longestUs: this.#latencies.longestUs,
      cpuUs: cpuUs / operations,
      mainThreadCpuUs: (end.mainThreadCpuUs - begin.mainThreadCpuUs) / operations,
      otherProcessors: Math.max(0, end.busyUs - begin.busyUs - cpuUs) / (seconds * 1e6),
      heapBytes: (end.heapBytes - begin.heapBytes) / operations,
      longestTurnMs: this.#probe.longestMs,
      longestTurnCpuMs: this.#probe.longestCpuMs,
    };
  }
}

function countersNow(): Counters {
  const all = process.cpuUsage();
  const main = process.threadCpuUsage();
  return {
    atMs: performance.now(),
    cpuUs: all.user + all.system,
    mainThreadCpuUs: main.user + main.system,
    busyUs: sampleProcessorTimes([]).busyUs,
    heapBytes: getHeapStatistics().total_allocated_bytes,
  };
}
