import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { type Initiator, openInitiator } from "../../src/initiator/initiator.ts";
import type { RemoteDisk } from "../../src/initiator/remote-disk.ts";
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { DiskModel } from "./disk-model.ts";
import { versionOf } from "./sector-content.ts";
import { Workload, type WorkloadOptions, type WorkloadReport } from "./workload.ts";

/**
 *   checker.ts INTERFACE SEED
 *
 * An initiator that remembers what it wrote to e1.0 and what was acknowledged, and says whether the
 * disk holds it. It is told what to do by lines of JSON, `{"call": "load", "argument": {…}}`, and
 * answers each with one: `{"result": …}` or `{"error": "…"}`. One call at a time.
 */
export interface CheckReport {
  readonly sectors: number;
  /** What is wrong. */
  readonly findings: readonly string[];
}

export interface CheckerCalls {
  /** Finds the disk; the model of it is made at the first time. */
  readonly open: { argument: null; result: { sectors: number } };
  /** Starts a workload. */
  readonly load: { argument: WorkloadOptions; result: null };
  /** How many writes the running workload has had acknowledged. */
  readonly progress: { argument: null; result: { acknowledged: number } };
  /** Resolves when it is over by itself. */
  readonly finish: { argument: null; result: WorkloadReport };
  /** The server is gone: nothing of what is on its way is sent again. */
  readonly abandon: { argument: null; result: WorkloadReport };
  /** Reads the whole disk. */
  readonly check: { argument: null; result: CheckReport };
  /** A snapshot is being taken from now on. */
  readonly beginCut: { argument: null; result: { cut: number } };
  readonly endCut: { argument: { cut: number }; result: null };
  /** Compares the image of a snapshot with what it may hold. */
  readonly checkCut: { argument: { cut: number; image: string }; result: CheckReport };
}

const READ_SECTORS = 2048;
const WORDS_PER_SECTOR = SECTOR_BYTES / 4;

class Checker {
  readonly #interfaceName: string;
  readonly #random: () => number;
  #initiator: Initiator | undefined;
  #disk: RemoteDisk | undefined;
  #model: DiskModel | undefined;
  #workload: Workload | undefined;

  constructor(interfaceName: string, seed: number) {
    this.#interfaceName = interfaceName;
    this.#random = randomFrom(seed);
  }

  async open(): Promise<{ sectors: number }> {
    this.#initiator ??= openInitiator({ interfaceName: this.#interfaceName });
    this.#disk = await this.#initiator.open(1, 0);
    const { sectors } = this.#disk;
    this.#model ??= new DiskModel(sectors);
    return { sectors };
  }

  load(options: WorkloadOptions): null {
    this.#workload = new Workload(present(this.#disk), this.#modelNow, this.#random, options);
    return null;
  }

  get #modelNow(): DiskModel {
    return present(this.#model);
  }

  progress(): { acknowledged: number } {
    return { acknowledged: present(this.#workload).acknowledged };
  }

  async finish(): Promise<WorkloadReport> {
    return present(this.#workload).ended();
  }

  async abandon(): Promise<WorkloadReport> {
    const workload = present(this.#workload);
    workload.abandon();
    await this.#initiator?.close();
    this.#initiator = undefined;
    this.#disk = undefined;
    for (const cut of this.#modelNow.cuts) cut.end();
    return workload.ended();
  }

  async check(): Promise<CheckReport> {
    const disk = present(this.#disk);
    const findings: string[] = [];
    for (let lba = 0; lba < disk.sectors; lba += READ_SECTORS) {
      const sectors = Math.min(READ_SECTORS, disk.sectors - lba);
      findings.push(...this.#modelNow.settle(lba, await disk.read(lba, sectors)));
    }
    return { sectors: disk.sectors, findings };
  }

  beginCut(): { cut: number } {
    this.#modelNow.beginCut();
    return { cut: this.#modelNow.cuts.length - 1 };
  }

  endCut({ cut }: { cut: number }): null {
    present(this.#modelNow.cuts[cut]).end();
    return null;
  }

  async checkCut({ cut, image }: { cut: number; image: string }): Promise<CheckReport> {
    const octets = await readFile(image);
    const words = new Uint32Array(octets.buffer, octets.byteOffset, octets.length / 4);
    const found = Array.from({ length: octets.length / SECTOR_BYTES }, (_, sector) =>
      versionOf(words, sector * WORDS_PER_SECTOR, sector),
    );
    const findings = present(this.#modelNow.cuts[cut]).check(found);
    return { sectors: found.length, findings };
  }
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("this call comes too early");
  return value;
}

/** mulberry32: numbers from 0 to 1 that depend on the seed alone. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Answers = {
  readonly [Call in keyof CheckerCalls]: (
    argument: CheckerCalls[Call]["argument"],
  ) => CheckerCalls[Call]["result"] | Promise<CheckerCalls[Call]["result"]>;
};

async function answer(answers: Answers, line: string): Promise<object> {
  try {
    const { call, argument } = JSON.parse(line) as { call: keyof CheckerCalls; argument: never };
    return { result: await answers[call](argument) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

if (import.meta.main) {
  const [interfaceName = "", seed = "1"] = process.argv.slice(2);
  const checker = new Checker(interfaceName, Number(seed));
  const answers: Answers = {
    open: async () => checker.open(),
    load: (options) => checker.load(options),
    progress: () => checker.progress(),
    finish: async () => checker.finish(),
    abandon: async () => checker.abandon(),
    check: async () => checker.check(),
    beginCut: () => checker.beginCut(),
    endCut: (argument) => checker.endCut(argument),
    checkCut: async (argument) => checker.checkCut(argument),
  };
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(answers, line)));
  }
  process.exit(0);
}
