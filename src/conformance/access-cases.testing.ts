import assert from "node:assert/strict";
import {
  AoeError,
  BROADCAST,
  config,
  ConfigCommand,
  Directive,
  diskSectors,
  filled,
  Flag,
  flush,
  identify,
  mask,
  MaskCommand,
  maskEdit,
  read,
  reserve,
  ReserveCommand,
  write,
} from "./frames.testing.ts";
import type { Body, Mac } from "./frames.testing.ts";
import type { Reply } from "./replies.testing.ts";
import { DEFAULT_TARGET } from "./rig.testing.ts";
import type { ConformanceCase, Rig } from "./rig.testing.ts";
import { EVERYONE } from "./segment.testing.ts";
import type { Station } from "./segment.testing.ts";

/** Cases 57 to 71: MAC mask list and reservation. */

const ONE: Mac = "02:00:00:00:01:01";
const TWO: Mac = "02:00:00:00:02:02";

const LIST_FULL = 3;
const BAD_DIRECTIVE = 2;

function expectMacs(reply: Reply, macs: readonly Mac[], what: string): void {
  assert.equal(reply.flags, Flag.response, `${what}: ${reply.hex}`);
  assert.equal(reply.mask.error, 0, `${what}: MError`);
  assert.deepEqual(reply.mask.macs.toSorted(), macs.toSorted(), what);
  const needed = 28 + 8 * macs.length;
  assert.ok(reply.lengthBytes >= needed, `${what}: ${macs.length} entries take ${needed} octets`);
}

function expectError(reply: Reply, error: number): void {
  assert.equal(reply.flags, Flag.response | Flag.error, `an AoE error: ${reply.hex}`);
  assert.equal(reply.error, error);
}

async function expectList(station: Station, macs: readonly Mac[]): Promise<void> {
  expectMacs(await station.request(mask()), macs, "the list as it is read");
}

async function addAndDelete(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const { add, delete: remove } = Directive;
  await expectList(alice, []);
  expectMacs(await alice.request(maskEdit([add, alice.mac])), [alice.mac], "add");
  expectMacs(await alice.request(maskEdit([add, alice.mac])), [alice.mac], "add what is there");
  const both = [alice.mac, ONE];
  expectMacs(await alice.request(maskEdit([add, ONE], [add, ONE])), both, "add twice in one");
  await expectList(alice, both);
  expectMacs(await alice.request(maskEdit([remove, ONE])), [alice.mac], "delete");
  expectMacs(await alice.request(maskEdit([remove, TWO])), [alice.mac], "delete what is absent");
  const addThenDelete = maskEdit([add, ONE], [remove, alice.mac], [remove, ONE]);
  expectMacs(await alice.request(addThenDelete), [], "delete the first entry");
  await expectList(alice, []);
}

async function directiveOrder(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const { none, add, delete: remove } = Directive;
  const there = maskEdit([add, alice.mac], [add, ONE], [remove, ONE], [none, TWO], [add, ONE]);
  expectMacs(await alice.request(there), [alice.mac, ONE], "add, delete, add");
  const gone = maskEdit([none, TWO], [remove, ONE], [add, ONE], [remove, ONE]);
  expectMacs(await alice.request(gone), [alice.mac], "delete, add, delete");
  expectMacs(await alice.request(maskEdit([none, TWO])), [alice.mac], "none changes nothing");
}

async function badDirective(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const { add, none, delete: remove } = Directive;
  await alice.request(maskEdit([add, alice.mac]));
  for (const code of [3, 4, 0x7f, 0xff]) {
    for (const [edit, index] of [
      [maskEdit([code, ONE], [add, TWO]), 0],
      [maskEdit([add, ONE], [code, TWO]), 1],
      [maskEdit([none, ONE], [add, ONE], [remove, alice.mac], [code, TWO], [add, TWO]), 3],
    ] as const) {
      const reply = await alice.request(edit);
      assert.equal(reply.flags, Flag.response, "MError comes without the E flag");
      assert.equal(reply.mask.error, BAD_DIRECTIVE);
      assert.equal(reply.mask.count, index, "the index of the offending directive");
      await expectList(alice, [alice.mac]);
    }
  }
}

function numberedMac(index: number): Mac {
  const octets = [0x02, 0x77, 0, 0, index >> 8, index & 0xff];
  return octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
}

/** Adds numbered MACs in edits of 50 until the list is full, and tells how many it holds. */
async function fillList(station: Station): Promise<{ entries: Mac[]; full: Reply }> {
  const entries: Mac[] = [station.mac];
  await station.request(maskEdit([Directive.add, station.mac]));
  for (;;) {
    assert.ok(entries.length < 300, "the list never gets full");
    const batch = Array.from({ length: 50 }, (_, index) => numberedMac(entries.length + index));
    const edit = maskEdit(...batch.map((mac) => [Directive.add, mac] as [number, Mac]));
    const reply = await station.request(edit);
    const limit = station.segment.wire.mtuBytes + 14;
    assert.ok(reply.lengthBytes <= limit, `${reply.lengthBytes} octets exceed the MTU`);
    if (reply.mask.error !== 0) return await fillOneByOne(station, entries);
    entries.push(...batch);
  }
}

async function fillOneByOne(
  station: Station,
  entries: Mac[],
): Promise<{ entries: Mac[]; full: Reply }> {
  const present = new Set((await station.request(mask())).mask.macs);
  for (;;) {
    const next = numberedMac(entries.length);
    const reply = await station.request(maskEdit([Directive.add, next]));
    if (reply.mask.error !== 0 && !present.has(next)) return { entries, full: reply };
    entries.push(next);
  }
}

async function fullList(rig: Rig): Promise<void> {
  for (const mtuBytes of [9000, 1500]) {
    const { alice } = await rig.start({ mtuBytes });
    const { entries, full } = await fillList(alice);
    assert.equal(full.flags, Flag.response);
    assert.equal(full.mask.error, LIST_FULL);
    assert.equal(full.mask.count, 0, "the index of the offending directive");
    if (rig.houseRules && mtuBytes === 9000) assert.equal(entries.length, 255);
    await expectList(alice, entries);
    await rig.stop();
  }
}

async function missingDirectives(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const { add } = Directive;
  const edit = MaskCommand.edit;
  const directives = [{ directive: add, mac: ONE }];
  for (const body of [
    mask({ subcommand: edit, claimedCount: 1 }),
    mask({ subcommand: edit, directives, claimedCount: 2 }),
    mask({ subcommand: edit, directives, claimedCount: 255 }),
  ]) {
    expectError(await alice.request(body), AoeError.badArgument);
    await expectList(alice, []);
  }
}

async function listLimits(rig: Rig): Promise<void> {
  await missingDirectives(rig);
  await rig.stop();
  await fullList(rig);
}

async function unknownMaskCommands(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  for (const subcommand of [2, 3, 0x80, 0xff]) {
    const directives = [{ directive: Directive.add, mac: ONE }];
    expectError(await alice.request(mask({ subcommand, directives })), AoeError.badArgument);
  }
  await expectList(alice, []);
}

/** One request of every command, and what would change something. */
function everyCommand(station: Station): Body[] {
  return [
    read(0, 1),
    write(1, filled(512, 0xee)),
    identify(),
    flush(),
    config(),
    config({ subcommand: ConfigCommand.force, text: "mine" }),
    mask(),
    maskEdit([Directive.add, station.mac]),
    reserve(ReserveCommand.force, [station.mac]),
    { command: 9, argument: new Uint8Array(0) },
  ];
}

async function unlistedIsIgnored(rig: Rig): Promise<void> {
  const { alice, bob } = await rig.start();
  await alice.request(maskEdit([Directive.add, alice.mac]));
  for (const body of everyCommand(bob)) {
    for (const header of [{}, { ...EVERYONE, destination: BROADCAST }, { version: 2 }]) {
      await bob.expectSilence("an initiator that is not listed", body, header, alice);
    }
  }
  await expectList(alice, [alice.mac]);
  const unchanged = await alice.request(read(1, 1));
  assert.deepEqual(unchanged.ata.data, diskSectors(1, 1), "its write was not executed");
  await rig.part("the administrator can clear the list", async () => {
    const clearState = rig.control("clearState");
    const network = await rig.start();
    await network.alice.request(maskEdit([Directive.add, ONE]));
    await clearState(DEFAULT_TARGET);
    await expectList(network.alice, []);
  });
}

async function removingOneself(rig: Rig): Promise<void> {
  const { alice, bob } = await rig.start();
  await alice.request(maskEdit([Directive.add, alice.mac], [Directive.add, bob.mac]));
  const reply = await alice.request(maskEdit([Directive.delete, alice.mac]));
  expectMacs(reply, [bob.mac], "the edit that removes its sender is answered");
  await alice.expectSilence("the removed initiator", config(), {}, bob);
}

async function maskPersistence(rig: Rig): Promise<void> {
  const killAndRestart = rig.control("killAndRestart");
  const { alice, bob, segment } = await rig.start();
  await alice.request(maskEdit([Directive.add, alice.mac], [Directive.add, bob.mac]));
  await segment.drain();
  await killAndRestart();
  await expectList(alice, [alice.mac, bob.mac]);
  const beacons = (await segment.drain()).filter((reply) => reply.isBeacon);
  const destinations = [...new Set(beacons.map((beacon) => beacon.destination))];
  assert.deepEqual(destinations.toSorted(), [alice.mac, bob.mac], "beacons go to the listed only");
}

async function administratorsList(rig: Rig): Promise<void> {
  const allow = [ONE, "02:a0:e0:00:00:0a"];
  const { alice, bob } = await rig.start({ targets: [{ shelf: 1, slot: 2, allow }] });
  await alice.request(config());
  for (const body of everyCommand(bob)) {
    await bob.expectSilence("an initiator that the administrator excludes", body, {}, alice);
  }
  const { add } = Directive;
  const edit = maskEdit([add, bob.mac], [add, alice.mac]);
  const edited = await alice.request(edit);
  if (rig.houseRules) expectMacs(edited, [alice.mac, bob.mac], "the protocol's own list");
  await bob.expectSilence("one that the mask list alone admits", config(), {}, alice);
}

function expectHolders(reply: Reply, macs: readonly Mac[], what: string): void {
  assert.equal(reply.flags, Flag.response, `${what}: ${reply.hex}`);
  assert.deepEqual(reply.reserve.macs.toSorted(), macs.toSorted(), what);
}

async function reservations(rig: Rig): Promise<void> {
  const { alice, bob, carol } = await rig.start();
  const { read: query, set, force } = ReserveCommand;
  expectHolders(await alice.request(reserve(query)), [], "nobody at first");
  expectHolders(await alice.request(reserve(set, [alice.mac])), [alice.mac], "set on none");
  const both = [alice.mac, bob.mac];
  expectHolders(await alice.request(reserve(set, both)), both, "a holder changes it");
  expectHolders(await carol.request(reserve(query)), both, "anybody reads it");
  const refused = await carol.request(reserve(set, [carol.mac]));
  expectError(refused, AoeError.targetReserved);
  assert.deepEqual(refused.reserve.macs.toSorted(), both, "the refusal tells who holds it");
  expectHolders(await bob.request(reserve(query)), both, "a refused set changes nothing");
  expectHolders(await carol.request(reserve(force, [carol.mac])), [carol.mac], "force");
  expectHolders(await alice.request(reserve(query)), [carol.mac], "after force");
}

async function release(rig: Rig): Promise<void> {
  const { alice, bob } = await rig.start();
  const { read: query, set } = ReserveCommand;
  await alice.request(reserve(set, [alice.mac]));
  expectError(await bob.request(reserve(set, [])), AoeError.targetReserved);
  expectHolders(await bob.request(reserve(query)), [alice.mac], "not released by another");
  expectHolders(await alice.request(reserve(set, [])), [], "released by its holder");
  expectHolders(await bob.request(reserve(set, [bob.mac])), [bob.mac], "free for the next");
}

async function badReserveArguments(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const { read: query, set, force } = ReserveCommand;
  await alice.request(reserve(set, [alice.mac]));
  for (const body of [
    reserve(set, [ONE], 2),
    reserve(set, [], 1),
    reserve(force, [ONE, TWO], 255),
    reserve(3, [ONE]),
    reserve(0x80),
    reserve(0xff, [ONE]),
  ]) {
    expectError(await alice.request(body), AoeError.badArgument);
    expectHolders(await alice.request(reserve(query)), [alice.mac], "unchanged");
  }
}

async function reservedForOthers(rig: Rig): Promise<void> {
  const { alice, bob } = await rig.start();
  await alice.request(reserve(ReserveCommand.set, [alice.mac]));
  const blocked: Body[] = [
    read(0, 1),
    write(1, filled(512, 0xee)),
    flush(),
    { command: 0, argument: Uint8Array.of(0, 0, 0, 0xe5, 0, 0, 0, 0, 0, 0, 0, 0) },
  ];
  for (const body of blocked) {
    expectError(await bob.request(body), AoeError.targetReserved);
    const holder = await alice.request(body);
    assert.equal(holder.flags, Flag.response, "the holder is not affected");
  }
  const identified = await bob.request(identify());
  assert.equal(identified.flags, Flag.response);
  assert.equal(identified.lengthBytes, 36 + 512);
  assert.equal((await bob.request(config())).flags, Flag.response);
}

async function reservationPersists(rig: Rig): Promise<void> {
  const killAndRestart = rig.control("killAndRestart");
  const { alice, bob } = await rig.start();
  await alice.request(reserve(ReserveCommand.set, [alice.mac]));
  await killAndRestart();
  expectError(await bob.request(read(0, 1)), AoeError.targetReserved);
  expectHolders(await bob.request(reserve(ReserveCommand.read)), [alice.mac], "after the restart");
  expectHolders(await bob.request(reserve(ReserveCommand.force, [])), [], "force releases");
  assert.equal((await bob.request(read(0, 1))).flags, Flag.response);
  await rig.part("the administrator can clear it", async () => {
    const clearState = rig.control("clearState");
    const network = await rig.start();
    await network.alice.request(reserve(ReserveCommand.set, [network.alice.mac]));
    await clearState(DEFAULT_TARGET);
    expectHolders(await network.bob.request(reserve(ReserveCommand.read)), [], "cleared");
  });
}

async function fencing(rig: Rig): Promise<void> {
  const holdStorage = rig.control("holdStorage");
  const releaseStorage = rig.control("releaseStorage");
  const { alice, bob, segment } = await rig.start();
  await alice.request(reserve(ReserveCommand.set, [alice.mac]));
  holdStorage();
  const written = alice.send(write(50, diskSectors(50, 1, 1)));
  const taken = bob.send(reserve(ReserveCommand.force, [bob.mac]));
  await segment.expectNothing("a reservation while the former holder writes", alice);
  releaseStorage();
  await alice.replyTo(written);
  await bob.replyTo(taken);
  const { data } = (await bob.request(read(50, 1))).ata;
  assert.deepEqual(data, diskSectors(50, 1, 1), "the new holder sees the last write of the former");
  expectError(await alice.request(write(50, filled(512, 9))), AoeError.targetReserved);
}

export const accessCases: readonly ConformanceCase[] = [
  {
    number: 57,
    title: "mask list: add, add again, delete, delete what is absent",
    run: addAndDelete,
  },
  { number: 58, title: "mask directives take effect in order", run: directiveOrder },
  { number: 59, title: "a bad directive: MError, its index, nothing changed", run: badDirective },
  { number: 60, title: "a full list, and directives that are not there", run: listLimits },
  { number: 61, title: "unknown mask commands get error 2", run: unknownMaskCommands },
  { number: 62, title: "who is not listed gets no answer at all", run: unlistedIsIgnored },
  { number: 63, title: "an edit that removes its sender is answered", run: removingOneself },
  {
    number: 64,
    title: "the mask list survives kill -9; beacons go to the listed",
    run: maskPersistence,
  },
  {
    number: 65,
    title: "the protocol cannot widen the administrator's list",
    run: administratorsList,
  },
  { number: 66, title: "reserve: read, set, refuse, force", run: reservations },
  { number: 67, title: "release by the holder only", run: release },
  {
    number: 68,
    title: "bad reserve arguments get error 2 and change nothing",
    run: badReserveArguments,
  },
  {
    number: 69,
    title: "while reserved, others get error 6 but for IDENTIFY and Config",
    run: reservedForOthers,
  },
  { number: 70, title: "the reservation survives kill -9", run: reservationPersists },
  { number: 71, title: "a reservation waits for the writes of the former holder", run: fencing },
];
