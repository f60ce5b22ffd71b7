/** Sector → the number that fills it; a sector that is not in the map is zero. */
export type Content = ReadonlyMap<number, number>;

/** A write (value > 0) or a trim (value 0) of sectors. */
export interface Change {
  readonly volume: string;
  readonly first: number;
  readonly count: number;
  readonly value: number;
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
  pending: Pending | undefined;

  copy(): CrashModel {
    const copy = new CrashModel();
    copy.volumes = new Map(this.volumes);
    copy.snapshots = new Map(this.snapshots);
    copy.changes = [...this.changes];
    copy.pending = this.pending;
    return copy;
  }

  /** What a volume may hold: some first part of the changes on their way, in their order. */
  candidates(volume: string): Content[] {
    let content = this.volumes.get(volume) ?? new Map<number, number>();
    const candidates = [content];
    for (const change of this.changes) {
      if (change.volume !== volume) continue;
      content = applied(content, change);
      candidates.push(content);
    }
    if (this.pending?.kind === "rollback" && this.pending.volume === volume) {
      candidates.push(this.pending.to);
    }
    return candidates;
  }

  /** The changes on their way have been acknowledged. */
  settle(): void {
    for (const change of this.changes) {
      const content = this.volumes.get(change.volume);
      if (content !== undefined) this.volumes.set(change.volume, applied(content, change));
    }
    this.changes = [];
    this.pending = undefined;
  }
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
