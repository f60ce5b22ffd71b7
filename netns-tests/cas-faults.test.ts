import { createHash, randomFillSync } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type {
  CollectionReport,
  ScrubReport,
  SectorRange,
  SnapshotStatus,
  StoreStatus,
  VerifyReport,
} from "../src/control/store-api.ts";
import type { WorkloadOptions, WorkloadReport } from "./checker/workload.ts";
import { askAoed, executeAoed } from "./harness/aoed-command.ts";
import { Checker } from "./harness/checker.ts";
import type { Client } from "./harness/client.ts";
import { Control } from "./harness/control.ts";
import { recordHostResource } from "./harness/host-resources.ts";
import type { Lab } from "./harness/lab.ts";
import { scenario } from "./harness/scenario.ts";
import { chooseSeed } from "./harness/seed.ts";
import type { Server } from "./harness/server.ts";

const BLOCK_BYTES = 4096;
const BLOCK_SECTORS = BLOCK_BYTES / 512;
const BLOCKS = 2048;
/** Children of a node of the tree. */
const ARITY = 128;
const NODE = "aoed merkle node";
const beyond = { vblade: "it has files and devices only" };

scenario("a flipped bit in a block", { beyond, diskErrors: true }, async (lab) => {
  const { client, content, path, server, snapshot } = await serveContent(lab);
  const damaged = [700, 701, 1500];
  for (const block of damaged) flipBitOf(path, blockOf(content, block));
  await server.start();
  lab.note(`a bit flipped in each of the blocks ${damaged.join(", ")}`);

  expect(await unreadableBlocks(client, content)).toEqual(damaged);
  for (const block of damaged) {
    expectLogged(server, block, 1, nameOf(blockOf(content, block)));
  }
  expect(await client.run("state_of e1.0 state")).toBe("up");
  lab.note("reads of them fail and are logged; everything else is read");
  const names = damaged.map((block) => nameOf(blockOf(content, block)));
  await expectVerifyFinds(server, snapshot, names, [sectorsOf(700, 2), sectorsOf(1500, 1)]);
  lab.note("verify finds them");
  await expectHealed(lab, server, client, content);
});

scenario("a flipped bit in the tree", { beyond, diskErrors: true }, async (lab) => {
  const { client, content, path, server, snapshot } = await serveContent(lab);
  const first = 5 * ARITY;
  const node = leafThatNames(path, nameOf(blockOf(content, first)));
  flipBitOf(path, node);
  await server.start();
  lab.note(`a bit flipped in the node that names the blocks from ${first} on`);

  const damaged = Array.from({ length: ARITY }, (_, child) => first + child);
  expect(await unreadableBlocks(client, content)).toEqual(damaged);
  expectLogged(server, first, 1, nameOf(node));
  lab.note("reads below it fail and are logged; everything else is read");
  await expectVerifyFinds(server, snapshot, [nameOf(node)], [sectorsOf(first, ARITY)]);
  lab.note("verify finds it");
  await expectHealed(lab, server, client, content);
});

/** A disk with blocks of random content, a snapshot of it, and then its server ended in order. */
async function serveContent(lab: Lab) {
  const content = randomFillSync(Buffer.alloc(BLOCKS * BLOCK_BYTES));
  const segment = lab.segment({ mtuBytes: 9000, port: "packet" });
  const path = join(lab.folder, "store");
  const sizeBytes = 2 * content.length;
  const target = { shelf: 1, slot: 0, backend: "cas", path, sizeBytes } as const;
  const server = await lab.server([segment], [target]);
  const client = await lab.client([segment]);
  writeFileSync(join(client.exchange, "content"), content);
  await client.run(`wait_for_disk e1.0; ${WRITE_CONTENT}`);
  const { id } = await askAoed<SnapshotStatus>(server, "snapshot", "create", "e1.0");
  await server.terminate();
  return { client, content, path, server, snapshot: id };
}

const WRITE_CONTENT =
  'dd if="$EXCHANGE/content" of=/dev/etherd/e1.0 bs=64k oflag=direct conv=notrunc status=none';

/** Written anew all is right: what is damaged is not taken for what the store has already. */
async function expectHealed(
  lab: Lab,
  server: Server,
  client: Client,
  content: Buffer,
): Promise<void> {
  await client.run(WRITE_CONTENT);
  expect(await unreadableBlocks(client, content)).toEqual([]);
  const { id } = await askAoed<SnapshotStatus>(server, "snapshot", "create", "e1.0");
  expect(await askAoed(server, "verify", id)).toMatchObject({ damaged: [] });
  await server.kill();
  await server.start();
  expect(await unreadableBlocks(client, content)).toEqual([]);
  lab.note("the same content, written again, is there again, also after kill -9");
}

/** A line of the log names the volume, the sectors and the blob. */
function expectLogged(server: Server, block: number, count: number, blob: string): void {
  const { lba, lengthSectors } = sectorsOf(block, count);
  const range = `LBA ${lba} to ${lba + lengthSectors - 1} `;
  const line = server.log.split("\n").find((text) => text.includes(range));
  expect(line, `a line that has ${range}`).toContain(blob);
  expect(line).toContain("volume e1.0 ");
}

function sectorsOf(block: number, count: number) {
  return { lba: block * BLOCK_SECTORS, lengthSectors: count * BLOCK_SECTORS };
}

function blockOf(content: Buffer, block: number): Buffer {
  return content.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
}

function nameOf(block: Buffer): string {
  return createHash("sha256").update(block).digest("hex");
}

function segmentFiles(store: string): string[] {
  const names = readdirSync(store).filter((name) => name.startsWith("segment-"));
  return names.map((name) => join(store, name));
}

function flipBitOf(store: string, blob: Buffer): void {
  for (const file of segmentFiles(store)) {
    const octets = readFileSync(file);
    const at = octets.indexOf(blob);
    if (at === -1) continue;
    const place = at + 1234;
    octets.writeUInt8(octets.readUInt8(place) ^ 0x20, place);
    writeFileSync(file, octets, { flag: "r+" });
    return;
  }
  throw new Error("no segment has this blob");
}

/** A full node of level 1 whose first child has this name: docs/formats/merkle-tree.md. */
function leafThatNames(store: string, firstChild: string): Buffer {
  for (const file of segmentFiles(store)) {
    const octets = readFileSync(file);
    for (let at = octets.indexOf(NODE); at !== -1; at = octets.indexOf(NODE, at + 1)) {
      const isLeaf = octets.readUInt8(at + 17) === 1 && octets.readUInt8(at + 18) === ARITY;
      const child = octets.toString("hex", at + 40, at + 72);
      if (isLeaf && child === firstChild) return octets.subarray(at, at + 40 + 32 * ARITY);
    }
  }
  throw new Error("no segment has this node");
}

/** Reads block by block in the client. @returns those that fail; the others must be right */
async function unreadableBlocks(client: Client, content: Buffer): Promise<number[]> {
  const blocks = content.length / BLOCK_BYTES;
  // What cannot be read becomes zeros. With status=none it would not say what it could not read.
  await client.run(`
    dd if=/dev/etherd/e1.0 of="$EXCHANGE/read" bs=${BLOCK_BYTES} count=${blocks} \
      iflag=direct conv=noerror,sync 2>errors || true
    cp errors "$EXCHANGE/errors"`);
  const read = readFileSync(join(client.exchange, "read"));
  expect(read.length).toBe(content.length);
  const zeros = Buffer.alloc(BLOCK_BYTES);
  const unreadable: number[] = [];
  for (let block = 0; block < blocks; block += 1) {
    if (blockOf(read, block).equals(blockOf(content, block))) continue;
    expect(blockOf(read, block).equals(zeros), `block ${block} is not wrong data`).toBe(true);
    unreadable.push(block);
  }
  const errors = readFileSync(join(client.exchange, "errors"), "utf8");
  expect(errors.match(/Input\/output error/g) ?? []).toHaveLength(unreadable.length);
  return unreadable;
}

/** The verification of the snapshot, and that of the whole store. */
async function expectVerifyFinds(
  server: Server,
  snapshot: string,
  blobs: readonly string[],
  ranges: readonly SectorRange[],
): Promise<void> {
  const where = ["--socket", server.controlSocket];
  const one = await executeAoed("verify", snapshot, ...where);
  expect(one.status).toBe(1);
  const ofSnapshot = one.answer as VerifyReport;
  expect(ofSnapshot.blobs.toSorted()).toEqual(blobs.toSorted());
  expect(ofSnapshot.damaged).toEqual(ranges);
  const all = await executeAoed("verify", ...where);
  expect(all.status).toBe(1);
  const ofStore = all.answer as ScrubReport;
  expect(ofStore.damaged.map(({ hash }) => hash).toSorted()).toEqual(blobs.toSorted());
  expect(ofStore.affected).toEqual([
    { snapshot, volume: "e1.0", ranges },
    { snapshot: null, volume: "e1.0", ranges },
  ]);
}

const LARGE_VOLUME_BYTES = 256 * 2 ** 20;
const LOAD: WorkloadOptions = {
  writers: 32,
  maxRefused: 0,
  maxChanges: 0,
  readShare: 0,
  trimShare: 0,
  sectors: LARGE_VOLUME_BYTES / 512,
  inOrder: false,
};

// One has little more than a segment; the other one is opened again while it is full.
fillAndFree({ diskMiB: 100, keptMiB: 40, isKilled: false });
fillAndFree({ diskMiB: 200, keptMiB: 72, isKilled: true });

interface FullDisk {
  diskMiB: number;
  /** What the snapshot alone keeps: most of a segment, so that its end frees a segment. */
  keptMiB: number;
  isKilled: boolean;
}

function fillAndFree({ diskMiB, keptMiB, isKilled }: FullDisk): void {
  const name = `a store on a full disk of ${diskMiB} MiB${isKilled ? ", with kill -9" : ""}`;
  scenario(name, { beyond, withoutDriver: true }, async (lab) => {
    const path = mountSmallDisk(lab, diskMiB);
    const segment = lab.segment({ mtuBytes: 9000, port: "packet" });
    const sizeBytes = LARGE_VOLUME_BYTES;
    const target = { shelf: 1, slot: 0, backend: "cas", path, sizeBytes } as const;
    const server = await lab.server([segment], [target]);
    const seed = chooseSeed();
    const checker = new Checker(lab, segment, seed);
    await checker.call("open");
    lab.note(`seed ${seed}`);

    const kept = { ...LOAD, sectors: (keptMiB * 2 ** 20) / 512, inOrder: true };
    await writeAll(checker, kept);
    const snapshot = await askAoed<SnapshotStatus>(server, "snapshot", "create", "e1.0");
    await writeAll(checker, { ...kept, trimShare: 1 });
    lab.note(`snapshot ${snapshot.id} alone has ${keptMiB} MiB`);
    const { acknowledged, refused } = await fill(checker, LOAD);
    lab.note(`full: ${acknowledged} more writes were acknowledged, then ${refused} refused`);
    await expectWhole(checker);
    if (isKilled) await server.kill();
    if (isKilled) await server.start();
    await checker.call("open");
    await expectWhole(checker);
    const verified = await askAoed<VerifyReport>(server, "verify", snapshot.id);
    expect(verified).toMatchObject({ rootHash: snapshot.root_hash, damaged: [] });
    lab.note("nothing is harmed");

    const blobBytes = await blobBytesOf(server);
    await askAoed(server, "snapshot", "delete", snapshot.id);
    await askAoed<CollectionReport>(server, "gc");
    // Not what the report says: the server may have begun to collect by itself before.
    const freedBytes = blobBytes - (await blobBytesOf(server));
    lab.note(`collections have freed ${Math.floor(freedBytes / 2 ** 20)} MiB`);
    expect(freedBytes).toBeGreaterThan((keptMiB / 2) * 2 ** 20);
    // A whole segment of what is free may be kept back again.
    await writeAll(checker, { ...kept, sectors: kept.sectors / 4 });
    await expectWhole(checker);
    await server.terminate();
    await server.start();
    await checker.call("open");
    await expectWhole(checker);
    lab.note(`${keptMiB / 4} MiB more were written`);
  });
}

/** A file system in memory, in a folder of its own. */
function mountSmallDisk(lab: Lab, sizeMiB: number): string {
  const path = join(lab.folder, "store");
  mkdirSync(path);
  recordHostResource(lab.folder, { kind: "mount", path });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeMiB}M`, "tmpfs", path]);
  return path;
}

/** What the store holds, named or not; its segments keep their place on the disk. */
async function blobBytesOf(server: Server): Promise<number> {
  const control = new Control(server.controlSocket);
  return (await control.ask<StoreStatus>("GET", "/v1/store")).blobBytes;
}

/** None of it is refused. */
async function writeAll(checker: Checker, options: WorkloadOptions): Promise<void> {
  await checker.call("load", options);
  const report = await checker.call("finish");
  expect(report).toMatchObject({ findings: [], unanswered: 0, refused: 0 });
}

/** Writes until many writes were refused; every one is answered. */
async function fill(checker: Checker, options: WorkloadOptions): Promise<WorkloadReport> {
  await checker.call("load", { ...options, maxRefused: 100 });
  const report = await checker.call("finish");
  expect(report).toMatchObject({ findings: [], unanswered: 0 });
  return report;
}

async function expectWhole(checker: Checker): Promise<void> {
  const { findings } = await checker.call("check");
  expect(findings).toEqual([]);
}
