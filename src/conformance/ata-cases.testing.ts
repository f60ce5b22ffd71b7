import assert from "node:assert/strict";
import {
  AoeError,
  Ata,
  ata,
  AtaFlag,
  diskSectors,
  filled,
  Flag,
  flush,
  identify,
  read,
  read28,
  withTrailing,
  write,
} from "./frames.testing.ts";
import type { Body } from "./frames.testing.ts";
import { identifyNumber, identifyText, identifyWord } from "./replies.testing.ts";
import type { Reply } from "./replies.testing.ts";
import { DISK_SECTORS } from "./rig.testing.ts";
import type { ConformanceCase, Rig } from "./rig.testing.ts";
import type { Station } from "./segment.testing.ts";

/** Cases 30 to 48: the ATA commands. */

const GOOD = 0x40;
const FAILED = 0x41;
const ABORTED = 0x04;
const NOT_FOUND = 0x10;
const UNCORRECTABLE = 0x40;
/** Status bits that make the Linux driver fail the request: BSY, DF, DRQ, ERR. */
const FAILURE_MASK = 0xa9;

function expectGood(reply: Reply): void {
  assert.equal(reply.flags, Flag.response, `no AoE error: ${reply.hex}`);
  assert.equal(reply.ata.status, GOOD, `status of ${reply.hex}`);
  assert.equal(reply.ata.error, 0);
}

function expectFailed(reply: Reply, error: number): void {
  assert.equal(reply.flags, Flag.response, `an ATA error, no AoE error: ${reply.hex}`);
  assert.equal(reply.ata.status, FAILED, `status of ${reply.hex}`);
  assert.equal(reply.ata.error, error, `error register of ${reply.hex}`);
  assert.ok(reply.lengthBytes <= 60, "no data comes with an error");
}

async function expectSectors(station: Station, lba: number, expected: Uint8Array): Promise<void> {
  const reply = await station.request(read(lba, expected.length / 512));
  expectGood(reply);
  assert.equal(reply.lengthBytes, 36 + expected.length);
  assert.deepEqual(reply.ata.data, expected, `sectors from ${lba}`);
}

/** WRITE SECTORS EXT that promises `count` sectors whatever follows. */
function writeOf(lba: number, count: number, data: Uint8Array): Body {
  const flags = AtaFlag.extended | AtaFlag.write;
  return ata({ code: Ata.writeExt, flags, lba, count, data });
}

const LBA28_LIMIT = 0x0fffffff;
const IDENTIFY_SIZES = [1, 2047, 2 ** 28 - 1, 2 ** 28, 2 ** 28 + 8];

async function identifyWords(rig: Rig): Promise<void> {
  for (const sectors of IDENTIFY_SIZES) {
    const { alice } = await rig.start({ targets: [{ shelf: 1, slot: 2, sectors }] });
    const reply = await alice.request(identify());
    expectGood(reply);
    assert.equal(reply.lengthBytes, 36 + 512);
    const { data } = reply.ata;
    assert.equal(identifyNumber(data, 60, 2), Math.min(sectors, LBA28_LIMIT), "words 60-61");
    assert.equal(identifyNumber(data, 100, 4), sectors, "words 100-103");
    assert.notEqual((identifyWord(data, 83) | identifyWord(data, 86)) & 0x0400, 0, "LBA48");
    assert.notEqual(identifyWord(data, 49) & 0x0200, 0, "LBA");
    assert.equal(identifyWord(data, 83) & 0xc000, 0x4000, "word 83 is valid");
    for (const [word, words] of [
      [10, 10],
      [23, 4],
      [27, 20],
    ] as const) {
      assert.match(identifyText(data, word, words), /^[\x20-\x7e]+$/, `text at word ${word}`);
    }
    const again = await alice.request(identify());
    assert.deepEqual(again.ata.data, data, "the same disk says the same");
    await rig.stop();
  }
}

async function identifyCounts(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const { data } = (await alice.request(identify())).ata;
  for (const count of [0, 2, 255]) {
    const reply = await alice.request(identify(count));
    if (reply.isError && !rig.houseRules) {
      assert.equal(reply.error, AoeError.badArgument);
      continue;
    }
    expectGood(reply);
    assert.deepEqual(reply.ata.data, data, `IDENTIFY with count ${count}`);
  }
}

async function identifyWithPayload(rig: Rig): Promise<void> {
  for (const mtuBytes of [1500, 9000]) {
    const { alice } = await rig.start({ mtuBytes });
    for (let extra = mtuBytes - 36 + 14; extra > 0; extra -= 331) {
      const reply = await alice.request(withTrailing(identify(), filled(extra, 0x5a)));
      expectGood(reply);
      assert.equal(reply.lengthBytes, 36 + 512);
    }
    await rig.stop();
  }
}

async function reads(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const last = DISK_SECTORS - 1;
  for (const [lba, count] of [
    [0, 1],
    [0, 2],
    [777, 2],
    [last, 1],
    [last - 1, 2],
  ] as const) {
    for (const body of [read(lba, count), read28(lba, count)]) {
      const reply = await alice.request(body);
      expectGood(reply);
      assert.equal(reply.lengthBytes, 36 + 512 * count);
      assert.deepEqual(reply.ata.data, diskSectors(lba, count));
    }
  }
  await rig.stop();
  const jumbo = await rig.start({ mtuBytes: 9000 });
  for (const lba of [0, 5, DISK_SECTORS - 16]) {
    await expectSectors(jumbo.alice, lba, diskSectors(lba, 16));
  }
}

async function readWithPayload(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  for (const lba of [0, 12]) {
    const reply = await alice.request(withTrailing(read(lba, 2), filled(1024, 0)));
    expectGood(reply);
    assert.deepEqual(reply.ata.data, diskSectors(lba, 2));
  }
  await expectSectors(alice, 0, diskSectors(0, 2));
}

async function outOfRange(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const beyond = [
    [DISK_SECTORS - 1, 2],
    [DISK_SECTORS, 1],
    [DISK_SECTORS + 1000, 2],
    [2 ** 32, 1],
    [2 ** 32 + 5, 1],
    [2 ** 48 - 1, 1],
    [2 ** 48 - 1, 2],
  ] as const;
  for (const [lba, count] of beyond) {
    expectFailed(await alice.request(read(lba, count)), NOT_FOUND);
    expectFailed(await alice.request(write(lba, filled(512 * count, 0xbb))), NOT_FOUND);
  }
  await expectSectors(alice, DISK_SECTORS - 2, diskSectors(DISK_SECTORS - 2, 2));
  await expectSectors(alice, 4, diskSectors(4, 2));
}

async function impossibleCounts(rig: Rig): Promise<void> {
  const { alice } = await rig.start({ mtuBytes: 1500 });
  for (const code of [Ata.read, Ata.readExt]) {
    for (const count of [0, 3, 4, 17, 255]) {
      const reply = await alice.request(ata({ code, count, lba: 8 }));
      expectFailed(reply, ABORTED);
    }
  }
  for (const count of [0, 3, 255]) {
    const reply = await alice.request(writeOf(8, count, filled(1024, 0xcc)));
    expectFailed(reply, ABORTED);
  }
  await expectSectors(alice, 8, diskSectors(8, 2));
}

async function lbaForms(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const lba = 0x155;
  const low = [0x55, 0x01, 0x00];
  for (const high of [
    [0x00, 0, 0],
    [0xe0, 0, 0],
    [0xa0, 0, 0],
    [0xf0, 0xff, 0xff],
    [0x40, 1, 0],
  ]) {
    for (const flags of [0, AtaFlag.extended, AtaFlag.extended | AtaFlag.device]) {
      const lbaOctets = [...low, ...high];
      const reply = await alice.request(ata({ code: Ata.read, count: 1, lbaOctets, flags }));
      expectGood(reply);
      assert.deepEqual(reply.ata.data, diskSectors(lba, 1), "LBA28 takes 28 bits");
    }
  }
  const withoutExtended = await alice.request(ata({ code: Ata.readExt, count: 1, lba }));
  expectGood(withoutExtended);
  assert.deepEqual(withoutExtended.ata.data, diskSectors(lba, 1));
  for (const high of [
    [0x10, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ]) {
    for (const flags of [0, AtaFlag.extended]) {
      const lbaOctets = [...low, ...high];
      const reply = await alice.request(ata({ code: Ata.readExt, count: 1, lbaOctets, flags }));
      expectFailed(reply, NOT_FOUND);
    }
  }
}

async function otherAtaFlags(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const { extended, device, async, write: toDevice } = AtaFlag;
  for (const flags of [device, async, device | async, extended | device | async]) {
    const lba = 30 + flags;
    const reply = await alice.request(ata({ code: Ata.readExt, count: 1, lba, flags }));
    expectGood(reply);
    const data = diskSectors(lba, 1, flags);
    const written = ata({ code: Ata.writeExt, count: 1, lba, flags: flags | toDevice, data });
    expectGood(await alice.request(written));
    await expectSectors(alice, lba, data);
  }
}

async function wrongPayloads(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  for (const [count, lengthBytes] of [
    [1, 0],
    [1, 24],
    [1, 511],
    [2, 512],
    [2, 1023],
  ] as const) {
    const reply = await alice.request(writeOf(60, count, filled(lengthBytes, 0xdd)));
    if (reply.isError && !rig.houseRules) assert.equal(reply.error, AoeError.badArgument);
    else expectFailed(reply, ABORTED);
    await expectSectors(alice, 60, diskSectors(60, 2));
  }
  const data = diskSectors(60, 1, 7);
  expectGood(await alice.request(withTrailing(write(60, data), filled(512, 0xdd))));
  await expectSectors(alice, 60, data);
  await expectSectors(alice, 61, diskSectors(61, 1));
}

async function contradictingWriteFlag(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  for (const code of [Ata.read, Ata.readExt]) {
    const flags = AtaFlag.extended | AtaFlag.write;
    const reply = await alice.request(ata({ code, count: 2, lba: 70, flags }));
    expectGood(reply);
    assert.equal(reply.lengthBytes, 36 + 1024, "a read returns data whatever W says");
    assert.deepEqual(reply.ata.data, diskSectors(70, 2));
  }
  for (const [code, lba] of [
    [Ata.write, 72],
    [Ata.writeExt, 74],
  ]) {
    const data = diskSectors(lba, 1, 3);
    const reply = await alice.request(ata({ code, count: 1, lba, data }));
    expectGood(reply);
    assert.equal(reply.lengthBytes, 60, "a write returns no data whatever W says");
    await expectSectors(alice, lba, data);
  }
}

async function writeReply(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const flags = AtaFlag.write;
  for (const body of [
    write(80, diskSectors(80, 1, 1)),
    write(81, diskSectors(81, 2, 2)),
    ata({ code: Ata.write, count: 2, lba: 84, flags, data: diskSectors(84, 2, 4) }),
  ]) {
    const reply = await alice.request(body);
    expectGood(reply);
    assert.equal(reply.lengthBytes, 60);
  }
  await expectSectors(alice, 80, diskSectors(80, 1, 1));
  await expectSectors(alice, 81, diskSectors(81, 2, 2));
  await expectSectors(alice, 84, diskSectors(84, 2, 4));
}

async function readOnlyTarget(rig: Rig): Promise<void> {
  const { alice } = await rig.start({ targets: [{ shelf: 1, slot: 2, readOnly: true }] });
  expectFailed(await alice.request(write(1, filled(512, 0xee))), ABORTED);
  const lba28 = ata({ code: Ata.write, count: 1, lba: 1, flags: 1, data: filled(512, 0xee) });
  expectFailed(await alice.request(lba28), ABORTED);
  await expectSectors(alice, 1, diskSectors(1, 1));
  const flushed = await alice.request(flush(Ata.flush));
  assert.equal(flushed.flags, Flag.response);
  assert.equal(flushed.ata.status & FAILURE_MASK, 0, "a flush succeeds");
}

async function flushCommands(rig: Rig): Promise<void> {
  await rig.part("status", async () => {
    const { alice } = await rig.start();
    for (const code of [Ata.flush, Ata.flushExt]) {
      expectGood(await alice.request(write(90, diskSectors(90, 1, code))));
      const reply = await alice.request(flush(code));
      expectGood(reply);
      assert.equal(reply.lengthBytes, 60);
    }
  });
  await rig.part("waits for the writes before it", async () => {
    const holdStorage = rig.control("holdStorage");
    const releaseStorage = rig.control("releaseStorage");
    const { alice, segment } = await rig.start();
    holdStorage();
    const written = alice.send(write(91, diskSectors(91, 1, 1)));
    const flushed = alice.send(flush());
    await segment.wire.settle();
    await segment.expectNothing("a write and a flush that the disk has not done", alice);
    releaseStorage();
    expectGood(await alice.replyTo(written));
    expectGood(await alice.replyTo(flushed));
  });
}

async function otherCommands(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const power = await alice.request(ata({ code: Ata.checkPowerMode }));
  expectGood(power);
  assert.equal(power.ata.count, 0xff, "active");
  const { data } = (await alice.request(identify())).ata;
  const hasSmart = (identifyWord(data, 82) & 1) !== 0;
  const hasTrim = (identifyWord(data, 169) & 1) !== 0;
  for (const code of [0x00, 0x06, 0xb0, 0xe0, 0xef, 0x70, 0x90, 0xa1, 0xf5, 0xff]) {
    if ((code === Ata.smart && hasSmart) || (code === Ata.dataSetManagement && hasTrim)) continue;
    const reply = await alice.request(ata({ code, count: 1, feature: 0xd0, lba: 0xc24f00 }));
    expectFailed(reply, ABORTED);
  }
}

async function storageFaults(rig: Rig): Promise<void> {
  const failSector = rig.control("failSector");
  const { alice } = await rig.start();
  failSector(101, "read");
  const unreadable = await alice.request(read(100, 2));
  expectFailed(unreadable, UNCORRECTABLE);
  assert.equal(unreadable.ata.lba, 101, "the first bad sector");
  await expectSectors(alice, 100, diskSectors(100, 1));
  failSector(110, "write");
  const failed = await alice.request(write(109, filled(1024, 0x11)));
  assert.equal(failed.flags, Flag.response, "an ATA error, no AoE error");
  assert.notEqual(failed.ata.status & FAILURE_MASK, 0, "a status that clients take for a failure");
  assert.notEqual(failed.ata.error, 0);
  assert.equal(failed.lengthBytes, 60);
}

async function slowStorage(rig: Rig): Promise<void> {
  const holdStorage = rig.control("holdStorage");
  const releaseStorage = rig.control("releaseStorage");
  const { alice, bob, segment } = await rig.start();
  holdStorage();
  const asked = [alice.send(read(120, 2)), alice.send(read(120, 2)), alice.send(read(121, 1))];
  const other = bob.send(read(120, 2));
  await segment.expectNothing("reads that the disk has not done", alice);
  releaseStorage();
  for (const request of [...asked, other]) {
    const reply = await (request === other ? bob : alice).replyTo(request);
    expectGood(reply);
    const [lba, count] = request === asked[2] ? [121, 1] : [120, 2];
    assert.deepEqual(reply.ata.data, diskSectors(lba, count));
  }
}

async function failedVerification(rig: Rig): Promise<void> {
  const corruptSector = rig.control("corruptSector");
  const { alice } = await rig.start();
  await corruptSector(130);
  expectFailed(await alice.request(read(130, 1)), UNCORRECTABLE);
  await expectSectors(alice, 200, diskSectors(200, 1));
}

async function residualCount(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  for (const body of [read(0, 2), read28(1, 1), write(140, diskSectors(140, 2, 1))]) {
    const reply = await alice.request(body);
    expectGood(reply);
    assert.equal(reply.ata.count, 0, "no sectors are left to transfer");
  }
}

export const ataCases: readonly ConformanceCase[] = [
  { number: 30, title: "IDENTIFY tells size, LBA48 and texts", run: identifyWords },
  { number: 31, title: "IDENTIFY with another sector count", run: identifyCounts },
  { number: 32, title: "IDENTIFY with a payload of any length", run: identifyWithPayload },
  { number: 33, title: "READ and READ EXT of 1, 2 and the most sectors", run: reads },
  { number: 34, title: "READ with a payload attached", run: readWithPayload },
  { number: 35, title: "beyond the end: IDNF, no data, nothing written", run: outOfRange },
  { number: 36, title: "sector count 0 or over the MTU: ABRT", run: impossibleCounts },
  { number: 37, title: "the opcode chooses LBA28 or LBA48", run: lbaForms },
  { number: 38, title: "the D and A flags are accepted", run: otherAtaFlags },
  {
    number: 39,
    title: "WRITE with a short payload writes nothing, a long one its count",
    run: wrongPayloads,
  },
  {
    number: 40,
    title: "the opcode, not the W flag, gives the direction",
    run: contradictingWriteFlag,
  },
  { number: 41, title: "the reply to WRITE is 60 octets with status 0x40", run: writeReply },
  { number: 42, title: "a read-only target aborts WRITE and flushes", run: readOnlyTarget },
  {
    number: 43,
    title: "FLUSH CACHE and EXT succeed after the writes before them",
    run: flushCommands,
  },
  { number: 44, title: "CHECK POWER MODE is active; other commands abort", run: otherCommands },
  { number: 45, title: "storage faults are ATA errors", run: storageFaults },
  { number: 46, title: "identical reads of a slow disk are all answered", run: slowStorage },
  {
    number: 47,
    title: "data that fails verification is an unreadable sector",
    run: failedVerification,
  },
  { number: 48, title: "the count register is 0 on success", run: residualCount },
];
