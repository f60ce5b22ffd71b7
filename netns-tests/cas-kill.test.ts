import { cpSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { SnapshotStatus } from "../src/control/store-api.ts";
import type { WorkloadOptions } from "./checker/workload.ts";
import { Checker } from "./harness/checker.ts";
import { delay, until } from "./harness/command.ts";
import { Control } from "./harness/control.ts";
import type { Lab } from "./harness/lab.ts";
import { scenario } from "./harness/scenario.ts";
import { chooseSeed } from "./harness/seed.ts";
import type { Server } from "./harness/server.ts";

const KILLS = 50;
const DISK_BYTES = 32 * 2 ** 20;
/** Snapshots that live at a time: the oldest ones are deleted. */
const KEPT_SNAPSHOTS = 5;
const LOAD: WorkloadOptions = {
  writers: 48,
  maxRefused: 0,
  maxChanges: 0,
  readShare: 0.15,
  trimShare: 0.05,
  sectors: DISK_BYTES / 512,
  inOrder: false,
};
const beyond = { vblade: "it has no snapshots" };

scenario(
  `kill -9 of a server with a volume, ${KILLS} times under load`,
  { beyond, withoutDriver: true },
  async (lab) => {
    const seed = chooseSeed();
    lab.note(`seed ${seed}`);
    const rig = await KillRig.start(lab, seed);
    for (let kill = 1; kill <= KILLS; kill += 1) {
      await rig.loadAndKill(kill);
      await rig.restartAndCheck();
      if (kill % 10 !== 0) continue;
      await rig.checkSnapshots();
      lab.note(`${kill} kills: ${rig.summary()}`);
    }
    // An ordinary end and start change nothing either.
    await rig.server.terminate();
    await rig.restartAndCheck();
    await rig.checkSnapshots();
  },
);

scenario(
  "the checker of kills sees a write that is lost",
  { beyond, withoutDriver: true },
  async (lab) => {
    const rig = await KillRig.start(lab, 1);
    await rig.loadAndKill(1);
    const store = join(lab.folder, "store");
    cpSync(store, `${store}.before`, { recursive: true });
    await rig.restartAndCheck();
    await rig.loadAndKill(1);
    // The disk is what it was a while ago, as if all since had only been in memory.
    rmSync(store, { recursive: true });
    renameSync(`${store}.before`, store);
    const findings = await rig.restart();
    expect(findings.length).toBeGreaterThan(0);
    expect(findings[0]).toMatch(/^sector \d+ holds .* instead of /);
  },
);

interface TakenSnapshot {
  record: SnapshotStatus;
  /** Of the checker: what it may hold. */
  cut: number;
}

/** A server with a volume, a checking initiator, and the account of snapshots. */
class KillRig {
  readonly server: Server;
  readonly #lab: Lab;
  readonly #checker: Checker;
  readonly #control: Control;
  readonly #snapshots: TakenSnapshot[] = [];
  /** What was asked for when the server was killed. */
  #unansweredCut: number | undefined;
  #unansweredDeletion: TakenSnapshot | undefined;
  #acknowledged = 0;
  #unanswered = 0;
  #checkedSnapshots = 0;

  private constructor(lab: Lab, server: Server, checker: Checker) {
    this.#lab = lab;
    this.server = server;
    this.#checker = checker;
    this.#control = new Control(server.controlSocket);
  }

  static async start(lab: Lab, seed: number): Promise<KillRig> {
    const segment = lab.segment({ mtuBytes: 9000, port: "packet" });
    const path = join(lab.folder, "store");
    const target = { shelf: 1, slot: 0, backend: "cas", path, sizeBytes: DISK_BYTES } as const;
    const server = await lab.server([segment], [target]);
    const checker = new Checker(lab, segment, seed);
    await checker.call("open");
    return new KillRig(lab, server, checker);
  }

  /** Writes go on, with snapshots, deletions and collections among them, when the kill comes. */
  async loadAndKill(kill: number): Promise<void> {
    await this.#checker.call("load", LOAD);
    await until("writes to be acknowledged", async () => {
      const { acknowledged } = await this.#checker.call("progress");
      return acknowledged > 100;
    });
    const upkeep: Promise<unknown>[] = [];
    if (kill % 2 === 0) upkeep.push(this.#takeSnapshot((await this.#checker.call("beginCut")).cut));
    if (kill % 3 === 0) upkeep.push(this.#control.run("gc", {}));
    if (this.#snapshots.length > KEPT_SNAPSHOTS) upkeep.push(this.#deleteOldest());
    const ended = Promise.allSettled(upkeep);
    // Some kills come into the middle of all that, and some after it.
    await delay((kill * 37) % 250);
    await this.server.kill();
    const { acknowledged, unanswered, findings } = await this.#checker.call("abandon");
    expect(findings).toEqual([]);
    this.#acknowledged += acknowledged;
    this.#unanswered += unanswered;
    await ended;
  }

  async #takeSnapshot(cut: number): Promise<void> {
    this.#unansweredCut = cut;
    const record = await this.#control.ask<SnapshotStatus>("POST", "/v1/snapshots", {
      volume: "e1.0",
    });
    this.#unansweredCut = undefined;
    this.#snapshots.push({ record, cut });
  }

  async #deleteOldest(): Promise<void> {
    this.#unansweredDeletion = this.#snapshots.shift();
    const id = this.#unansweredDeletion?.record.id;
    await this.#control.ask("DELETE", `/v1/snapshots/${id}`);
    this.#unansweredDeletion = undefined;
  }

  /** @returns what of the disk is not as it was acknowledged */
  async restart(): Promise<readonly string[]> {
    await this.server.start();
    await this.#checker.call("open");
    const { findings, sectors } = await this.#checker.call("check");
    expect(sectors).toBe(DISK_BYTES / 512);
    return findings;
  }

  /** Every acknowledged write and snapshot is there. */
  async restartAndCheck(): Promise<void> {
    expect(await this.restart()).toEqual([]);
    const listed = await this.#control.ask<SnapshotStatus[]>("GET", "/v1/snapshots");
    this.#settleUnanswered(listed);
    expect(listed).toEqual(this.#snapshots.map(({ record }) => record));
  }

  /** What was not answered has taken effect or has not; from now on it is known. */
  #settleUnanswered(listed: readonly SnapshotStatus[]): void {
    const deletion = this.#unansweredDeletion;
    if (deletion !== undefined && listed.some(({ id }) => id === deletion.record.id)) {
      this.#snapshots.unshift(deletion);
    }
    const last = listed.at(-1);
    const isKnown = this.#snapshots.some(({ record }) => record.id === last?.id);
    if (last !== undefined && !isKnown && this.#unansweredCut !== undefined) {
      this.#snapshots.push({ record: last, cut: this.#unansweredCut });
    }
    this.#unansweredDeletion = undefined;
    this.#unansweredCut = undefined;
  }

  /** Every snapshot is whole, is what its root hash says, and holds one moment of the disk. */
  async checkSnapshots(): Promise<void> {
    for (const { record, cut } of this.#snapshots) {
      const report = await this.#control.run("verify", { snapshot: record.id });
      expect(report).toMatchObject({ rootHash: record.root_hash, damaged: [] });
      const image = join(this.#lab.folder, "snapshot.img");
      await this.#control.run("export", { snapshot: record.id, path: image });
      const { findings } = await this.#checker.call("checkCut", { cut, image });
      expect(findings, `snapshot ${record.id}`).toEqual([]);
      rmSync(image);
      this.#checkedSnapshots += 1;
    }
  }

  summary(): string {
    return (
      `${this.#acknowledged} writes acknowledged and all there, ${this.#unanswered} not answered, ` +
      `${this.#checkedSnapshots} times a snapshot compared`
    );
  }
}
