import { expect, test } from "vitest";
import { AwaitedBatch, MARK_KEPT, type NoteReader, StoreFault } from "./blob-store.ts";
import { CrashDisk, type CrashDiskOptions, seededRandom } from "./crash-disk.testing.ts";
import { FileStore } from "./file-store.ts";
import { hashFromHex, hashOf, hashToHex } from "./hash.ts";

/**
 * A layer above, as small as can be: keys with the name of a blob each. A note "key=hash" sets a
 * key, the image is the whole map. What was acknowledged must be there after any crash, nothing may
 * be there that was not written, and every named blob must be readable.
 */
class Keys implements NoteReader {
  map = new Map<string, string>();

  image(bytes: Uint8Array): void {
    const text = Buffer.from(bytes).toString();
    this.map = new Map(JSON.parse(text) as [string, string][]);
  }

  note(bytes: Uint8Array): void {
    const [key, hash] = Buffer.from(bytes).toString().split("=") as [string, string];
    this.map.set(key, hash);
  }
}

function openStore(disk: CrashDisk, reader: NoteReader): Promise<FileStore> {
  return FileStore.open({ disk, reader, segmentBytes: 32768 });
}

function textOf(map: Map<string, string>): string {
  return [...map.keys()]
    .toSorted((left, right) => left.localeCompare(right))
    .map((key) => `${key}=${map.get(key)}`)
    .join();
}

interface Write {
  readonly key: string;
  readonly hash: string;
}

class Workload {
  readonly random: () => number;
  /** Every state that the map went through, in order; those up to `durable` must not be lost. */
  readonly states: Map<string, string>[];
  durable = 0;
  store!: FileStore;
  readonly keys = new Keys();

  readonly #batchesAtOnce: number;

  constructor(seed: number, initial: Map<string, string>, batchesAtOnce = 4) {
    this.#batchesAtOnce = batchesAtOnce;
    this.random = seededRandom(seed);
    this.states = [new Map(initial)];
    this.keys.map = new Map(initial);
  }

  async open(disk: CrashDisk): Promise<void> {
    this.keys.map.clear();
    this.store = await openStore(disk, this.keys);
  }

  async run(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) await this.step();
  }

  async step(): Promise<void> {
    const choice = this.random();
    if (choice < 0.8) await this.#appendSome();
    else if (choice < 0.9) await this.#checkpoint();
    else await this.#collect();
  }

  async #appendSome(): Promise<void> {
    const count = 1 + Math.floor(this.random() * this.#batchesAtOnce);
    const running: Promise<void>[] = [];
    for (let batch = 0; batch < count; batch++) running.push(this.#append());
    await Promise.all(running);
  }

  async #append(): Promise<void> {
    const batch = new AwaitedBatch();
    const writes: Write[] = [];
    for (let blob = 0; blob <= this.random() * 3; blob++) {
      const data = Buffer.alloc(
        64 + Math.floor(this.random() * 1500),
        `content ${Math.floor(this.random() * 60)}`,
      );
      const hash = hashOf(data);
      batch.addBlob(hash, 0, data, 0, data.length);
      const write = { key: `key ${Math.floor(this.random() * 12)}`, hash: hashToHex(hash) };
      writes.push(write);
      batch.notes.push(Buffer.from(`${write.key}=${write.hash}`));
    }
    batch.durable = this.random() < 0.8;
    // Alone, a batch builds on what was acknowledged: one that failed before is not part of it.
    const next = new Map(this.#batchesAtOnce === 1 ? this.keys.map : this.states.at(-1));
    for (const { key, hash } of writes) next.set(key, hash);
    const state = this.states.push(next) - 1;
    await batch.appendTo(this.store);
    for (const { key, hash } of writes) this.keys.map.set(key, hash);
    if (batch.durable) this.durable = Math.max(this.durable, state);
  }

  async #checkpoint(): Promise<void> {
    const state = this.states.length - 1;
    await this.store.checkpoint(() => Buffer.from(JSON.stringify([...this.keys.map])));
    this.durable = Math.max(this.durable, state);
  }

  async #collect(): Promise<void> {
    await this.#checkpoint();
    await this.#checkpoint();
    this.store.beginMarking(true);
    for (const hash of this.keys.map.values()) {
      this.store.exchangeMark(hashFromHex(hash) as Uint8Array, 0, MARK_KEPT);
    }
    // Puts go on while the sweep runs.
    const writing = this.#appendSome();
    const sweeping = this.store.sweep({ liveThreshold: 0.7, pace: async () => {} });
    const results = await Promise.allSettled([writing, sweeping]);
    this.store.endMarking();
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}

async function checkRecovered(disk: CrashDisk, workload: Workload): Promise<Keys> {
  const keys = new Keys();
  const store = await openStore(disk, keys);
  const possible = workload.states.slice(workload.durable);
  const found = textOf(keys.map);
  const matches = possible.some((state) => textOf(state) === found);
  expect(matches, "the state after the crash is one that was written").toBe(true);
  for (const hash of keys.map.values()) {
    const name = hashFromHex(hash) as Uint8Array;
    expect(hashOf(await store.get(name))).toEqual(name);
  }
  return keys;
}

/** Runs until the crash, and again on what is left, several times in a row. */
async function crashRepeatedly(seed: number, crashes: number): Promise<number> {
  const random = seededRandom(seed);
  let options: CrashDiskOptions = { crashAtOperation: 1 + Math.floor(random() * 250) };
  let disk = new CrashDisk(options);
  let map = new Map<string, string>();
  for (let crash = 0; crash < crashes; crash++) {
    const workload = new Workload(seed * 1000 + crash, map);
    const work = workload.open(disk).then(() => workload.run(40));
    await Promise.race([work, disk.whenCrashed]);
    if (!disk.crashed) disk.crashNow();
    options = { crashAtOperation: 1 + Math.floor(random() * 250) };
    const checked = disk.reboot({ random }, {});
    map = (await checkRecovered(checked, workload)).map;
    checked.crashNow();
    disk = checked.reboot({ random }, options);
  }
  return crashes;
}

test("loses nothing acknowledged in 600 crashes at any operation", async () => {
  for (let seed = 1; seed <= 120; seed++) {
    try {
      await crashRepeatedly(seed, 5);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
}, 60_000);

test("a frame torn at any sector is as if it had never been written", async () => {
  const data = Buffer.alloc(3000, "torn");
  for (let sectors = 0; sectors <= 8; sectors++) {
    const disk = new CrashDisk();
    const store = await openStore(disk, new Keys());
    const kept = new AwaitedBatch();
    kept.notes.push(Buffer.from("key=kept"));
    await kept.appendTo(store);
    const torn = new AwaitedBatch();
    torn.durable = false;
    torn.addBlob(hashOf(data), 0, data, 0, data.length);
    torn.notes.push(Buffer.from("key=torn"));
    await torn.appendTo(store);
    disk.crashNow();
    const keys = new Keys();
    const random = seededRandom(sectors);
    await openStore(disk.reboot({ random, lastWriteSectors: sectors }), keys);
    // 64 + 40 + 12 bytes of header, entry and note, 3000 of payload: seven sectors.
    expect(keys.map.get("key")).toBe(sectors >= 7 ? "torn" : "kept");
  }
});

test("survives ENOSPC and EIO at every operation, and works on when there is space", async () => {
  for (const code of ["ENOSPC", "EIO"]) {
    for (let failing = 1; failing < 160; failing++) {
      let isFailing = true;
      let faults = 0;
      const disk = new CrashDisk({
        fault: (operation, kind) => {
          const fails = isFailing && kind !== "read" && operation >= failing && faults < 6;
          if (fails) faults++;
          return fails ? code : undefined;
        },
      });
      const workload = new Workload(failing, new Map(), 1);
      await expectFaults(code, () => workload.open(disk));
      if (faults > 0) continue;
      let isUnavailable = false;
      for (let step = 0; step < 30 && !isUnavailable; step++) {
        const fault = await expectFaults(code, () => workload.step());
        isUnavailable = fault?.kind === "unavailable";
      }
      // Only what was acknowledged before it was durable can make a store stop for good.
      isFailing = false;
      if (!isUnavailable) await workload.run(5);
      disk.crashNow();
      await checkRecovered(disk.reboot({ random: seededRandom(failing) }), workload);
    }
  }
}, 60_000);

/** Lets faults of the disk pass, and nothing else. */
async function expectFaults(
  code: string,
  action: () => Promise<void>,
): Promise<StoreFault | undefined> {
  try {
    await action();
  } catch (error) {
    if (error instanceof StoreFault) return error;
    if (!(error instanceof Error && "code" in error && error.code === code)) throw error;
  }
  return undefined;
}
