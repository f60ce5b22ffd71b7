/** Sector → the number that fills it; a sector that is not in the map is zero. */
export type Content = ReadonlyMap<number, number>;

/** A write (value > 0) or a trim (value 0) of sectors. */
export interface Change {
  readonly volume: string;
  readonly first: number;
  readonly count: number;
  readonly value: number;
  /** Whether it was acknowledged, and how. */
  outcome?: "stored" | "failed";
}

/** An operation that changes more than sectors, and has not been acknowledged yet. */
export type Pending =
  | { readonly kind: "snapshot"; readonly volume: string }
  | { readonly kind: "rollback"; readonly volume: string; readonly to: Content }
  | { readonly kind: "delete"; readonly snapshot: string }
  | { readonly kind: "clone"; readonly name: string; readonly content: Content }
  | { readonly kind: "delete-volume"; readonly name: string };

/** Everything that has been acknowledged, and what is on its way. Copied by value. */
export class CrashModel {
  volumes = new Map<string, Content>();
  snapshots = new Map<string, Content>();
  /** Changes that are on their way, in the order in which they were handed over. */
  changes: Change[] = [];
  /**
   * Changes that failed, and after which nothing was stored: a frame whose sync failed may be on
   * the disk all the same, until another one takes its place.
   */
  failed: Change[] = [];
  pending: Pending | undefined;

  copy(): CrashModel {
    const copy = new CrashModel();
    copy.volumes = new Map(this.volumes);
    copy.snapshots = new Map(this.snapshots);
    copy.changes = this.changes.map((change) => ({ ...change }));
    copy.failed = [...this.failed];
    copy.pending = this.pending;
    return copy;
  }

  /** What a volume may hold: all that was acknowledged, and some first part of what was not. */
  durableCandidates(volume: string): Content[] {
    const ofVolume = this.changes.filter((change) => change.volume === volume);
    return this.candidates(
      volume,
      ofVolume.findLastIndex(({ outcome }) => outcome === "stored") + 1,
    );
  }

  /**
   * What it may have held at some moment since the changes on their way were handed over, as a
   * snapshot shows it: the changes up to some point, in their order; without those that failed, or
   * with some of them.
   *
   * @param fewest changes that it must hold
   */
  candidates(volume: string, fewest = 0): Content[] {
    const stored = this.volumes.get(volume) ?? new Map<number, number>();
    const ofVolume = this.changes.filter((change) => change.volume === volume);
    const failed = this.failed.filter((change) => change.volume === volume);
    const candidates = fewest === 0 ? runsOf(failed).map((run) => run.reduce(applied, stored)) : [];
    let contents: Content[] = [stored];
    for (let count = 0; count <= ofVolume.length; count++) {
      if (count >= fewest) candidates.push(...contents);
      const change = ofVolume[count];
      if (change === undefined) break;
      const after = contents.map((content) => applied(content, change));
      contents = change.outcome === "failed" ? [...contents, ...after] : after;
    }
    if (this.pending?.kind === "rollback" && this.pending.volume === volume) {
      candidates.push(this.pending.to);
    }
    return candidates;
  }

  /** Nothing is on its way any more; what failed has had no effect on the running store. */
  settle(): void {
    const isStored = this.changes.some(({ outcome }) => outcome !== "failed");
    if (isStored) this.failed = [];
    for (const change of this.changes) {
      const content = this.volumes.get(change.volume);
      if (content === undefined) continue;
      if (change.outcome === "failed") this.failed.push(change);
      else this.volumes.set(change.volume, applied(content, change));
    }
    this.changes = [];
    this.pending = undefined;
  }
}

/** All runs of neighbours. */
function runsOf(changes: readonly Change[]): Change[][] {
  return changes.flatMap((_, start) =>
    changes.slice(start).map((__, length) => changes.slice(start, start + length + 1)),
  );
}

function applied(content: Content, { first, count, value }: Change): Content {
  const next = new Map(content);
  if (value > 0) {
    for (let sector = first; sector < first + count; sector++) next.set(sector, value);
  } else {
    for (const sector of next.keys()) {
      if (sector >= first && sector < first + count) next.delete(sector);
    }
  }
  return next;
}

export function isSame(left: Content, right: Content): boolean {
  if (left.size !== right.size) return false;
  for (const [sector, value] of left) if (right.get(sector) !== value) return false;
  return true;
}
