import assert from "node:assert/strict";
import {
  BROADCAST,
  config,
  diskSectors,
  filled,
  Flag,
  identify,
  read,
  withTrailing,
  write,
} from "./frames.testing.ts";
import { identifyNumber } from "./replies.testing.ts";
import type { Reply } from "./replies.testing.ts";
import { DEFAULT_TARGET } from "./rig.testing.ts";
import type { ConformanceCase, Rig } from "./rig.testing.ts";

/** Cases 72 to 77: beacons, end and start, changes of interface and targets. */

/** Status bits that make the Linux driver fail the request: BSY, DF, DRQ, ERR. */
const FAILURE_MASK = 0xa9;

function expectBeacon(beacon: Reply, source: string): void {
  assert.equal(beacon.version, 1, "a beacon has version 1");
  assert.equal(beacon.flags, Flag.response);
  assert.equal(beacon.tag, 0);
  assert.equal(beacon.destination, BROADCAST);
  assert.equal(beacon.source, source);
  assert.ok(beacon.lengthBytes >= 60, "padded to 60");
  assert.ok(beacon.config.bufferCount >= 2);
  assert.notEqual(beacon.config.sectorCount, 0);
}

async function beaconsAtStart(rig: Rig): Promise<void> {
  await rig.part("per target", async () => {
    const targets = [
      { shelf: 1, slot: 2 },
      { shelf: 1, slot: 3 },
      { shelf: 5, slot: 0 },
    ];
    const { segment } = await rig.start({ targets });
    for (const { shelf, slot } of targets) {
      const beacon = await segment.beacon((each) => each.address === `e${shelf}.${slot}`);
      expectBeacon(beacon, segment.wire.serverMac());
    }
  });
  await rig.part("per interface", async () => {
    const { segments } = await rig.start({ interfaces: 2 });
    for (const segment of segments) {
      expectBeacon(await segment.beacon(), segment.wire.serverMac());
    }
  });
}

async function beaconAfterLinkUp(rig: Rig): Promise<void> {
  const setLink = rig.control("setLink");
  const { segment, alice } = await rig.start();
  await segment.drain();
  await setLink(false);
  await setLink(true);
  expectBeacon(await segment.beacon(), segment.wire.serverMac());
  await alice.answerToOneOf(20, config());
}

async function beaconAfterTargetAdded(rig: Rig): Promise<void> {
  const addTarget = rig.control("addTarget");
  const { segment, alice } = await rig.start();
  await segment.drain();
  await addTarget({ shelf: 9, slot: 4, sectors: 64 });
  const beacon = await segment.beacon((each) => each.address === "e9.4");
  expectBeacon(beacon, segment.wire.serverMac());
  const reply = await alice.request(read(0, 1), { shelf: 9, slot: 4 });
  assert.deepEqual(reply.ata.data, diskSectors(0, 1));
}

async function beacons(rig: Rig): Promise<void> {
  await beaconsAtStart(rig);
  await rig.part("link up", () => beaconAfterLinkUp(rig));
  await rig.part("target added", () => beaconAfterTargetAdded(rig));
}

async function orderlyEnd(rig: Rig): Promise<void> {
  const terminate = rig.control("terminate");
  const startAgain = rig.control("startAgain");
  const { alice, segment } = await rig.start();
  const sent = Array.from({ length: 12 }, (_, index) =>
    alice.send(write(2 * index, diskSectors(2 * index, 2, 1))),
  );
  await alice.replyTo(sent[0]);
  const exitCode = await terminate();
  if (rig.houseRules) assert.equal(exitCode, 0, "exit code");
  const answered = (await segment.drain()).filter((reply) => reply.command === 0);
  for (const reply of answered) assert.equal(reply.ata.status, 0x40);
  const before = performance.now();
  await startAgain();
  await alice.request(config());
  const elapsedMs = performance.now() - before;
  assert.ok(elapsedMs < SOON_MS, `serving again after ${elapsedMs.toFixed(0)} ms`);
  const tags = new Set([sent[0].tag, ...answered.map((reply) => reply.tag)]);
  for (const [index, header] of sent.entries()) {
    if (!tags.has(header.tag)) continue;
    const { data } = (await alice.request(read(2 * index, 2))).ata;
    assert.deepEqual(data, diskSectors(2 * index, 2, 1), "answered writes are kept");
  }
}

async function linkChanges(rig: Rig): Promise<void> {
  const setLink = rig.control("setLink");
  const { alice, segment } = await rig.start();
  for (let round = 0; round < 3; round++) {
    await setLink(false);
    alice.send(read(0, 1));
    // So that the next beacon is that of this link, and not of the start or the round before.
    await segment.drain();
    await setLink(true);
    await segment.beacon();
    // The beacon may be one from before: a reply while the server takes its link for down is lost.
    const reply = await alice.answerToOneOf(20, read(1, 1));
    assert.deepEqual(reply.ata.data, diskSectors(1, 1), "it serves again");
  }
}

async function mtuLowered(rig: Rig): Promise<void> {
  const setMtu = rig.control("setMtu");
  const { alice, segment } = await rig.start({ mtuBytes: 9000 });
  const large = await alice.request(read(0, 16));
  assert.deepEqual(large.ata.data, diskSectors(0, 16));
  await segment.drain();
  await setMtu(1500);
  const beacon = await segment.beacon((each) => each.config.sectorCount === 2);
  assert.equal(beacon.version, 1);
  const refused = await alice.request(read(0, 16));
  assert.equal(refused.flags, Flag.response);
  assert.equal(refused.ata.status, 0x41);
  assert.equal(refused.ata.error, 0x04);
  assert.deepEqual((await alice.request(read(0, 2))).ata.data, diskSectors(0, 2));
  await setMtu(9000);
  await segment.beacon((each) => each.config.sectorCount === 16);
  assert.deepEqual((await alice.request(read(0, 16))).ata.data, diskSectors(0, 16));
}

async function resized(rig: Rig): Promise<void> {
  const resize = rig.control("resize");
  const { alice, segment } = await rig.start();
  await segment.drain();
  const before = await alice.request(read(4000, 1));
  assert.equal(before.ata.error, 0x10, "beyond the end of before");
  await resize(DEFAULT_TARGET, 4096);
  let sectors = 0;
  while (sectors !== 4096) {
    // A beacon from before the change may still be under way.
    await segment.beacon(() => true, RESIZE_TIMEOUT_MS);
    sectors = identifyNumber((await alice.request(identify())).ata.data, 100, 4);
  }
  assert.equal((await alice.request(read(4000, 1))).ata.status, 0x40);
  assert.equal((await alice.request(read(4095, 2))).ata.error, 0x10);
  assert.deepEqual((await alice.request(read(7, 1))).ata.data, diskSectors(7, 1));
}

async function removed(rig: Rig): Promise<void> {
  const removeTarget = rig.control("removeTarget");
  const kept = { shelf: 1, slot: 2 };
  const gone = { shelf: 1, slot: 3 };
  const { alice } = await rig.start({ targets: [kept, gone] });
  assert.equal((await alice.request(read(0, 1), gone)).ata.status, 0x40);
  await removeTarget(gone);
  await alice.expectSilence("a query of a removed target", config(), gone);
  for (const body of [read(0, 1), write(0, diskSectors(0, 1, 1))]) {
    const reply = await alice.request(body, gone);
    assert.equal(reply.flags, Flag.response, "an ATA error: clients ignore AoE errors");
    assert.notEqual(reply.ata.status & FAILURE_MASK, 0, "so that I/O fails at once");
  }
  assert.deepEqual((await alice.request(read(0, 1), kept)).ata.data, diskSectors(0, 1));
}

/** How soon a server must notice that a file has grown. */
const RESIZE_TIMEOUT_MS = 60_000;
/** Less than any lock or lease lasts, and more than a busy machine takes. */
const SOON_MS = 30_000;

/** With its payload more than the receive buffer of any server here takes. */
const FLOOD_FRAMES = 60_000;
const FLOOD_PAYLOAD_BYTES = 1400;

async function overload(rig: Rig): Promise<void> {
  const pause = rig.control("pause");
  const resume = rig.control("resume");
  const { alice, segment } = await rig.start();
  const payload = filled(FLOOD_PAYLOAD_BYTES, 0);
  await pause();
  for (let sent = 0; sent < FLOOD_FRAMES; sent++) {
    alice.send(withTrailing(read(sent % 1000, 1), payload));
    if (sent % 1000 === 0) await segment.wire.settle();
  }
  await segment.wire.settle();
  await resume();
  const { data } = (await alice.answerToOneOf(20, read(5, 1))).ata;
  assert.deepEqual(data, diskSectors(5, 1), "it serves after the flood, and in step");
  await rig.part("what was lost is counted", async () => {
    const lostFrames = rig.control("lostFrames");
    assert.ok((await lostFrames()) > 0);
  });
}

export const lifecycleCases: readonly ConformanceCase[] = [
  {
    number: 72,
    title: "beacons at start, link up and for new targets, with version 1",
    run: beacons,
  },
  {
    number: 73,
    title: "SIGTERM answers what is in flight and exits 0; restart is quick",
    run: orderlyEnd,
  },
  { number: 74, title: "an interface that goes down and up", run: linkChanges },
  { number: 75, title: "MTU lowered while serving", run: mtuLowered },
  { number: 76, title: "resize while serving", run: resized },
  { number: 79, title: "a receive buffer that overflows does no lasting harm", run: overload },
  { number: 77, title: "a removed target fails I/O at once", run: removed },
];
