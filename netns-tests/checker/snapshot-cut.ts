import { describe } from "./sector-content.ts";
import type { Write, WriteLog } from "./write-log.ts";

/**
 * What a snapshot may hold that was taken while writes went on. Each sector: the last write that was
 * acknowledged before, or any that was on its way then or sent since. All sectors together: one
 * moment, so it has no write without every other that was acknowledged before that one was sent.
 */
export class SnapshotCut {
  readonly #log: WriteLog;
  readonly #acknowledged: Uint32Array;
  readonly #unknown: Uint32Array;
  /** The writes sent meanwhile, by sector, in their order. */
  readonly #since = new Map<number, number[]>();
  #isEnded = false;

  /** @param acknowledged - and `unknown`: of each sector, the versions when it begins */
  constructor(log: WriteLog, acknowledged: Uint32Array, unknown: Uint32Array) {
    this.#log = log;
    this.#acknowledged = acknowledged;
    this.#unknown = unknown;
  }

  sent({ lba, sectors, version }: Write): void {
    if (this.#isEnded) return;
    for (let sector = lba; sector < lba + sectors; sector++) {
      const versions = this.#since.get(sector);
      if (versions === undefined) this.#since.set(sector, [version]);
      else versions.push(version);
    }
  }

  /** The snapshot was taken, or will not be. */
  end(): void {
    this.#isEnded = true;
  }

  /** @param found the content of each sector, as versionOf tells it. @returns what is wrong */
  check(found: ArrayLike<number>): string[] {
    const wrong: string[] = [];
    let newest: Write | undefined;
    let missing: Write | undefined;
    for (let sector = 0; sector < found.length; sector++) {
      const candidates = this.#candidates(sector);
      const matching = candidates.filter((v) => this.#log.contentOf(v) === found[sector]);
      if (matching.length === 0) {
        wrong.push(
          `sector ${sector} holds ${describe(found[sector])}, none of ${candidates.join(", ")}`,
        );
      }
      // Zeros of several trims look alike: such a sector says nothing of the moment.
      if (matching.length !== 1) continue;
      const held = this.#log.get(matching[0]);
      if (held !== undefined && held.sentAt > (newest?.sentAt ?? 0)) newest = held;
      const left = this.#log.get(candidates[candidates.indexOf(matching[0]) + 1] ?? 0);
      if (left !== undefined && left.acknowledgedAt < (missing?.acknowledgedAt ?? Infinity)) {
        missing = left;
      }
    }
    if (newest !== undefined && missing !== undefined && missing.acknowledgedAt < newest.sentAt) {
      wrong.push(
        `it has write ${newest.version} but not ${missing.version}, acknowledged before that was sent`,
      );
    }
    return wrong;
  }

  #candidates(sector: number): number[] {
    const unknown = this.#unknown[sector];
    const first = this.#acknowledged[sector];
    return [first, ...(unknown === 0 ? [] : [unknown]), ...(this.#since.get(sector) ?? [])];
  }
}
