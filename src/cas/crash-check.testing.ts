import { CrashDisk, seededRandom } from "../blob/crash-disk.testing.ts";
import type { CasStore } from "./cas-store.ts";
import { type Content, CrashModel, isSame } from "./crash-model.testing.ts";
import {
  contentOf,
  CrashWorkload,
  openCas,
  openVolume,
  type SectorsPerBlock,
  segmentBytesFor,
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
    const candidates = isClone ? [pending.content] : model.durableCandidates(name);
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
async function runAndCrash(
  seed: number,
  restarts: number,
  steps: number,
  { sectorsPerBlock, isFaulty }: { sectorsPerBlock: SectorsPerBlock; isFaulty: boolean },
): Promise<number> {
  const random = seededRandom(seed);
  let checked = 0;
  let model = new CrashModel();
  let disk = new CrashDisk();
  for (let restart = 0; restart < restarts; restart++) {
    let points: CrashPoint[] = [];
    const current = disk;
    const currentModel = model;
    current.options.observe = () =>
      points.push({ disk: current.reboot({ random }), model: currentModel.copy() });
    const cas = await openCas(current, segmentBytesFor(sectorsPerBlock));
    const workload = await CrashWorkload.begin(cas, random, currentModel, {
      sectorsPerBlock,
      ...(isFaulty ? { faultyDisk: current } : {}),
    });
    let isAvailable = true;
    for (let step = 0; step < steps && isAvailable; step++) {
      isAvailable = await workload.step();
      const observed = points;
      points = [];
      for (const point of observed) await check(point);
      checked += observed.length;
    }
    await workload.check();
    current.crashNow();
    model = currentModel.copy();
    disk = current.reboot({ random });
    if (isFaulty) await adoptFailed(disk, model);
  }
  return checked;
}

/** After failed changes the disk has settled what became of them: the model follows. */
async function adoptFailed(disk: CrashDisk, model: CrashModel): Promise<void> {
  if (model.failed.length === 0) return;
  // Opened on a copy: the workload opens it again.
  const copy = disk.reboot({ random: () => 0 });
  await check({ disk: copy, model });
  const cas = await openCas(disk.reboot({ random: () => 0 }));
  for (const { name } of cas.volumes()) {
    model.volumes.set(name, await contentOf(openVolume(cas, name)));
  }
  model.failed = [];
}

export interface CrashRun {
  /** Seeds from here on are used; a failure names its seed. */
  readonly firstSeed: number;
  readonly isFaulty: boolean;
}

/** Runs workloads until so many crashes were checked. `AOED_CRASH_POINTS` overrides how many. */
export async function crashTimes(
  wanted: number,
  { firstSeed, isFaulty }: CrashRun,
): Promise<number> {
  const times = Number(process.env["AOED_CRASH_POINTS"] ?? wanted);
  let checked = 0;
  for (let seed = firstSeed; checked < times; seed++) {
    const sectorsPerBlock = seed % 2 === 0 ? 8 : 2;
    try {
      checked += await runAndCrash(seed, 3, 12, { sectorsPerBlock, isFaulty });
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  return checked;
}
