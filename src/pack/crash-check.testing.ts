import { setImmediate as nextTurn } from "node:timers/promises";
import { CrashDisk, seededRandom } from "../blob/crash-disk.testing.ts";
import type { CasStore } from "../cas/cas-store.ts";
import { type Content, CrashModel, isSame } from "../cas/crash-model.testing.ts";
import {
  contentOf,
  CrashWorkload,
  openCasOn,
  openVolume,
  snapshotContent,
} from "../cas/crash-workload.testing.ts";
import { Snapshots } from "../cas/snapshots.ts";
import { FaultObjectStore } from "../object/fault-object-store.ts";
import { MemoryBucket, MemoryObjectStore } from "../object/memory-object-store.ts";
import { TestClock } from "./clock.testing.ts";
import { decodeHead } from "./head.ts";
import { openPackedStore } from "./open-packed-store.ts";
import { HEAD_KEY, packKey, runKey } from "./pack-names.ts";

/** What a machine holds at a moment: contents of volumes, and of snapshots. */
interface State {
  readonly volumes: ReadonlyMap<string, Content>;
  readonly snapshots: ReadonlyMap<string, { readonly volume: string; readonly content: Content }>;
}

/** One moment of a run: both disks, and what had been acknowledged by then. */
interface CrashPoint {
  readonly bucket: MemoryBucket;
  readonly disk: CrashDisk;
  readonly model: CrashModel;
  /** All models from the beginning up to this one. */
  readonly history: readonly CrashModel[];
  readonly isRemote: boolean;
}

export function copyBucket(bucket: MemoryBucket): MemoryBucket {
  const copy = new MemoryBucket();
  for (const [key, object] of bucket.objects) copy.objects.set(key, object);
  return copy;
}

function openPacked(
  bucket: MemoryBucket,
  disk: CrashDisk,
  clock: TestClock,
  wrap: (store: MemoryObjectStore) => FaultObjectStore | MemoryObjectStore = (store) => store,
): Promise<CasStore> {
  return openCasOn((reader) =>
    openPackedStore({
      objects: wrap(new MemoryObjectStore(bucket)),
      disk,
      reader,
      host: "crash test",
      takeOver: true,
      clock,
      segmentBytes: 64 * 1024,
      packBytes: 16 * 1024,
      uploadIntervalMs: 100,
      diskCacheBytes: 1,
    }),
  );
}

async function readState(cas: CasStore): Promise<State> {
  const volumes = new Map<string, Content>();
  for (const { name } of cas.volumes()) {
    const volume = openVolume(cas, name);
    volumes.set(name, await contentOf(volume));
  }
  const snapshots = new Map<string, { volume: string; content: Content }>();
  for (const { id, volume } of new Snapshots(cas).list()) {
    snapshots.set(id, { volume, content: await snapshotContent(cas, id) });
  }
  return { volumes, snapshots };
}

/** Why a state is none that this model allows; undefined when it is one. */
function mismatch(model: CrashModel, state: State): string | undefined {
  const { pending } = model;
  for (const name of model.volumes.keys()) {
    const mayBeGone = pending?.kind === "delete-volume" && pending.name === name;
    if (!state.volumes.has(name) && !mayBeGone) return `volume '${name}' is gone`;
  }
  for (const [name, found] of state.volumes) {
    const isClone = pending?.kind === "clone" && pending.name === name;
    if (!isClone && !model.volumes.has(name)) return `volume '${name}' should not be`;
    const candidates = isClone ? [pending.content] : model.candidates(name);
    if (!candidates.some((candidate) => isSame(candidate, found)))
      return `volume '${name}' differs`;
  }
  for (const id of model.snapshots.keys()) {
    const mayBeGone = pending?.kind === "delete" && pending.snapshot === id;
    if (!state.snapshots.has(id) && !mayBeGone) return `snapshot ${id} is gone`;
  }
  for (const [id, { volume, content }] of state.snapshots) {
    const known = model.snapshots.get(id);
    const isNew = pending?.kind === "snapshot" || pending?.kind === "rollback";
    if (known === undefined && !isNew) return `snapshot ${id} should not be`;
    const candidates = known === undefined ? model.candidates(volume) : [known];
    if (!candidates.some((candidate) => isSame(candidate, content)))
      return `snapshot ${id} differs`;
  }
  return undefined;
}

/** A head never names what is not there. */
function checkNames(bucket: MemoryBucket): void {
  const object = bucket.objects.get(HEAD_KEY);
  if (object === undefined) return;
  const head = decodeHead(object.data, "the bucket");
  const parts = head.segments.flatMap((segment) => segment.parts);
  for (const key of [...head.runs.map(runKey), ...parts.map(packKey)]) {
    if (!bucket.objects.has(key)) throw new Error(`the head names ${key}, which is not there`);
  }
}

/** The same folder again: everything acknowledged. An empty one: a state that there once was. */
async function check(point: CrashPoint): Promise<void> {
  const { bucket, disk, model, history, isRemote } = point;
  checkNames(bucket);
  const here = await readState(await openPacked(copyBucket(bucket), disk, new TestClock()));
  const wrong = mismatch(model, here);
  if (wrong !== undefined) throw new Error(`restarted: ${wrong}`);
  if (!bucket.objects.has(HEAD_KEY)) return;
  const elsewhere = await openPacked(copyBucket(bucket), new CrashDisk(), new TestClock());
  const there = await readState(elsewhere);
  if (isRemote) {
    const lost = mismatch(model, there);
    if (lost !== undefined) throw new Error(`attached elsewhere, with remote durability: ${lost}`);
  } else if (history.every((past) => mismatch(past, there) !== undefined)) {
    throw new Error(`attached elsewhere: ${mismatch(model, there)}, and so it was never before`);
  }
}

function modelOf(state: State): CrashModel {
  const model = new CrashModel();
  model.volumes = new Map(state.volumes);
  for (const [id, { content }] of state.snapshots) model.snapshots.set(id, content);
  return model;
}

/** Every so many requests and operations a crash is looked at, each seed begins at another one. */
const STRIDE = 11;

/** Requests that take a while: meanwhile the log grows, is collected, and is sent in part. */
const SLOW_SHARE = 0.3;
const SLOWEST_TURNS = 20;

async function slowly(turns: number): Promise<undefined> {
  for (let turn = 0; turn < turns; turn++) await nextTurn();
  return undefined;
}

/**
 * Runs a workload over a local disk and a bucket. Before each request to the bucket, and at each
 * operation of the disk, the machine may have stopped. From time to time it does, and the workload
 * goes on with the same folder, or on another machine.
 */
async function runAndCrash(
  seed: number,
  restarts: number,
  steps: number,
  isRemote: boolean,
): Promise<number> {
  const random = seededRandom(seed);
  let checked = 0;
  let bucket = new MemoryBucket();
  let disk = new CrashDisk();
  let model = new CrashModel();
  let history: CrashModel[] = [];
  for (let restart = 0; restart < restarts; restart++) {
    let points: CrashPoint[] = [];
    let moments = 0;
    const current = { bucket, disk, model, history, isAlive: true };
    const observe = (): void => {
      if (!current.isAlive) return;
      const copy = current.model.copy();
      current.history.push(copy);
      if (moments++ % STRIDE !== seed % STRIDE) return;
      points.push({
        bucket: copyBucket(current.bucket),
        disk: current.disk.reboot({ random }),
        model: copy,
        history: current.history.slice(),
        isRemote,
      });
    };
    Object.assign(disk.options, { observe });
    const clock = new TestClock();
    const cas = await openPacked(
      bucket,
      disk,
      clock,
      (store) =>
        new FaultObjectStore(store, () => {
          observe();
          if (!current.isAlive) return new Promise<never>(() => {});
          return random() < SLOW_SHARE ? slowly(1 + random() * SLOWEST_TURNS) : undefined;
        }),
    );
    const ticking = tick(clock, current);
    const durability = isRemote ? "remote" : "durable";
    const workload = await CrashWorkload.begin(cas, random, model, { durability });
    for (let step = 0; step < steps; step++) {
      await workload.step();
      const observed = points;
      points = [];
      for (const point of observed) await check(point);
      checked += observed.length;
    }
    await workload.check();
    current.isAlive = false;
    disk.crashNow();
    await ticking;
    bucket = copyBucket(bucket);
    const moves = bucket.objects.has(HEAD_KEY) && random() < 0.5;
    if (moves) {
      disk = new CrashDisk();
      const elsewhere = await openPacked(copyBucket(bucket), new CrashDisk(), new TestClock());
      model = modelOf(await readState(elsewhere));
      history = [];
    } else {
      disk = disk.reboot({ random });
      model = model.copy();
      history = [...history];
    }
  }
  return checked;
}

/** Time passes while the workload runs. */
async function tick(clock: TestClock, world: { isAlive: boolean }): Promise<void> {
  while (world.isAlive) {
    await nextTurn();
    await clock.advance(100);
  }
}

/** Runs workloads until so many crashes were checked; `AOED_CRASH_POINTS` overrides how many. */
export async function crashPackedTimes(
  wanted: number,
  firstSeed: number,
  isRemote: boolean,
): Promise<number> {
  const times = Number(process.env["AOED_CRASH_POINTS"] ?? wanted);
  let checked = 0;
  for (let seed = firstSeed; checked < times; seed++) {
    try {
      checked += await runAndCrash(seed, 3, 12, isRemote);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  return checked;
}
