import { CrashDisk, type CrashDiskOptions, seededRandom } from "../blob/crash-disk.testing.ts";
import type { CasStore } from "./cas-store.ts";
import { type Content, CrashModel, isSame } from "./crash-model.testing.ts";
import {
  contentOf,
  CrashWorkload,
  openCas,
  openVolume,
  snapshotContent,
} from "./crash-workload.testing.ts";
import { Snapshots } from "./snapshots.ts";

/** The disk at a moment of a crash, and what must be found on it. */
interface CrashPoint {
  readonly disk: CrashDisk;
  readonly model: CrashModel;
}

/** Opens what is left after a crash and compares everything with the model. */
async function check({ disk, model }: CrashPoint): Promise<void> {
  const cas = await openCas(disk);
  await checkVolumes(cas, model);
  await checkSnapshots(cas, model);
}

async function checkVolumes(cas: CasStore, model: CrashModel): Promise<void> {
  const { pending } = model;
  const names = new Set(cas.volumes().map(({ name }) => name));
  for (const name of model.volumes.keys()) {
    const mayBeGone = pending?.kind === "delete-volume" && pending.name === name;
    if (!names.has(name) && !mayBeGone) throw new Error(`volume '${name}' is gone`);
  }
  for (const name of names) {
    const found = await contentOf(openVolume(cas, name));
    const isClone = pending?.kind === "clone" && pending.name === name;
    const candidates = isClone ? [pending.content] : model.candidates(name);
    if (!isClone && !model.volumes.has(name)) throw new Error(`volume '${name}' should not be`);
    if (!candidates.some((candidate) => isSame(candidate, found))) {
      throw new Error(
        `volume '${name}' holds ${show(found)}, not ${candidates.map(show).join(" or ")}`,
      );
    }
  }
}

async function checkSnapshots(cas: CasStore, model: CrashModel): Promise<void> {
  const { pending } = model;
  const snapshots = new Snapshots(cas);
  const found = new Set(snapshots.list().map(({ id }) => id));
  for (const id of model.snapshots.keys()) {
    const mayBeGone = pending?.kind === "delete" && pending.snapshot === id;
    if (!found.has(id) && !mayBeGone) throw new Error(`snapshot ${id} is gone`);
  }
  for (const record of snapshots.list()) {
    const content = await snapshotContent(cas, record.id);
    const known = model.snapshots.get(record.id);
    const isNew = pending?.kind === "snapshot" || pending?.kind === "rollback";
    if (known === undefined && !isNew) throw new Error(`snapshot ${record.id} should not be`);
    const candidates = known === undefined ? model.candidates(record.volume) : [known];
    if (!candidates.some((candidate) => isSame(candidate, content))) {
      throw new Error(`snapshot ${record.id} holds ${show(content)}`);
    }
  }
}

function show(content: Content): string {
  return JSON.stringify([...content].toSorted(([left], [right]) => left - right));
}

/**
 * Runs a workload; at each operation of the disk the machine may have stopped. From time to time it
 * does stop, and the workload goes on with what was left.
 */
async function runAndCrash(seed: number, restarts: number, steps: number): Promise<number> {
  const random = seededRandom(seed);
  let checked = 0;
  let model = new CrashModel();
  let disk = new CrashDisk();
  for (let restart = 0; restart < restarts; restart++) {
    let points: CrashPoint[] = [];
    const current = disk;
    const currentModel = model;
    const options: CrashDiskOptions = {
      observe: () => points.push({ disk: current.reboot({ random }), model: currentModel.copy() }),
    };
    Object.assign(current.options, options);
    const workload = await CrashWorkload.begin(await openCas(current), random, currentModel);
    for (let step = 0; step < steps; step++) {
      await workload.step();
      const observed = points;
      points = [];
      for (const point of observed) await check(point);
      checked += observed.length;
    }
    await workload.check();
    current.crashNow();
    model = currentModel.copy();
    disk = current.reboot({ random });
  }
  return checked;
}

/**
 * Runs workloads until so many crashes were checked. `AOED_CRASH_POINTS` overrides how many.
 *
 * @param firstSeed later ones follow; a failure names its seed
 */
export async function crashTimes(wanted: number, firstSeed: number): Promise<number> {
  const times = Number(process.env["AOED_CRASH_POINTS"] ?? wanted);
  let checked = 0;
  for (let seed = firstSeed; checked < times; seed++) {
    try {
      checked += await runAndCrash(seed, 3, 12);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  return checked;
}
