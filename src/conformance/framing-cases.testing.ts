import assert from "node:assert/strict";
import {
  AoeError,
  BROADCAST,
  Command,
  config,
  diskSectors,
  EVERY_SHELF,
  EVERY_SLOT,
  filled,
  Flag,
  flush,
  frameOf,
  identify,
  joined,
  mask,
  read,
  reserve,
  ReserveCommand,
  truncatedTo,
  withTrailing,
  write,
} from "./frames.testing.ts";
import type { Body } from "./frames.testing.ts";
import type { Reply } from "./replies.testing.ts";
import type { ConformanceCase, Rig } from "./rig.testing.ts";
import { EVERYONE } from "./segment.testing.ts";

/** Cases 1 to 16: framing and addressing. */

const FOUR_TARGETS = [
  { shelf: 1, slot: 2 },
  { shelf: 1, slot: 3 },
  { shelf: 7, slot: 2 },
  { shelf: 7, slot: 9 },
] as const;
const ADDRESSES = FOUR_TARGETS.map(({ shelf, slot }) => `e${shelf}.${slot}`);

/** One request of every command that changes nothing. */
const HARMLESS: readonly Body[] = [
  read(0, 1),
  identify(),
  flush(),
  config(),
  mask(),
  reserve(ReserveCommand.read),
];

function addresses(replies: readonly Reply[]): string[] {
  return replies.map((reply) => reply.address);
}

async function otherEtherTypes(rig: Rig): Promise<void> {
  const { alice, segment } = await rig.start();
  await alice.expectSilence("EtherType 0x0800", config(), { etherType: 0x0800 });
  const inner = frameOf(alice.header(), config());
  const tagged = joined(inner.subarray(0, 12), Uint8Array.of(0x81, 0, 0, 5), inner.subarray(12));
  alice.sendRaw(tagged);
  await segment.expectNothing("a frame of VLAN 5", alice);
}

async function shortFrames(rig: Rig): Promise<void> {
  const { alice, segment } = await rig.start();
  const cuts: [body: Body, minimumLength: number][] = [
    [read(0, 1), 36],
    [identify(), 36],
    [config(), 32],
    [mask(), 28],
    [reserve(ReserveCommand.read), 26],
  ];
  for (const [body, minimumLength] of cuts) {
    for (let length = 14; length < minimumLength; length++) {
      alice.sendRaw(truncatedTo(frameOf(alice.header(), body), length));
    }
    await segment.expectNothing(`command ${body.command} cut short`, alice);
    await alice.request(body);
  }
}

async function responsesAreIgnored(rig: Rig): Promise<void> {
  const { alice, segment } = await rig.start();
  for (const body of HARMLESS) {
    await alice.expectSilence("a frame with R set", body, { flags: Flag.response });
    await alice.expectSilence("R and E", body, { flags: Flag.response | Flag.error, error: 1 });
  }
  const looped = { source: segment.wire.serverMac(), destination: BROADCAST };
  const flags = Flag.response;
  alice.send(config({ versionNibble: 1, sectorCount: 2 }), { ...looped, flags, tag: 0 });
  await segment.expectNothing("our own beacon that came back", alice);
}

async function requestFlagsAreNotEchoed(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  for (const body of HARMLESS) {
    for (const flags of [Flag.error, 0x1, 0x2, 0x3, Flag.error | 0x3]) {
      const reply = await alice.request(body, { flags, error: 3 });
      assert.equal(reply.flags, Flag.response, `flags of the reply to flags ${flags}`);
      assert.equal(reply.error, 0, "the error octet is zero without E");
    }
  }
}

function expectVersionError(reply: Reply, body: Body): void {
  assert.equal(reply.version, 1, "our own version");
  assert.equal(reply.flags, Flag.response | Flag.error);
  assert.equal(reply.error, AoeError.unsupportedVersion);
  assert.equal(reply.command, body.command);
  assert.ok(reply.lengthBytes >= 60, "padded to 60");
}

async function otherVersions(rig: Rig): Promise<void> {
  const { alice } = await rig.start({ targets: FOUR_TARGETS });
  const overwrite = write(0, filled(512, 0xee));
  for (const version of [0, 2, 3, 8, 15]) {
    for (const body of [...HARMLESS, overwrite]) {
      const reply = await alice.request(body, { version });
      expectVersionError(reply, body);
      assert.equal(reply.address, ADDRESSES[0]);
    }
  }
  for (const body of [config(), identify()]) {
    const replies = await alice.requestAll(4, body, { ...EVERYONE, version: 2 });
    for (const reply of replies) expectVersionError(reply, body);
    assert.deepEqual(addresses(replies), ADDRESSES);
  }
  const { data } = (await alice.request(read(0, 1))).ata;
  assert.deepEqual(data, diskSectors(0, 1), "a write of another version changes nothing");
}

async function wildcards(rig: Rig): Promise<void> {
  const { alice } = await rig.start({ targets: FOUR_TARGETS });
  for (const body of [config(), identify(), read(3, 1)]) {
    for (const { shelf, slot } of FOUR_TARGETS) {
      const [exact] = await alice.requestAll(1, body, { shelf, slot });
      assert.equal(exact.address, `e${shelf}.${slot}`);
      assert.equal(exact.flags, Flag.response);
    }
    const sameSlot = await alice.requestAll(2, body, { shelf: EVERY_SHELF, slot: 2 });
    assert.deepEqual(addresses(sameSlot), ["e1.2", "e7.2"]);
    const sameShelf = await alice.requestAll(2, body, { shelf: 7, slot: EVERY_SLOT });
    assert.deepEqual(addresses(sameShelf), ["e7.2", "e7.9"]);
    const everyone = await alice.requestAll(4, body, { ...EVERYONE, destination: BROADCAST });
    assert.deepEqual(addresses(everyone), ADDRESSES);
  }
}

async function wrongAddresses(rig: Rig): Promise<void> {
  const { alice } = await rig.start({ targets: FOUR_TARGETS });
  const wrong = [
    [1, 9],
    [7, 3],
    [2, 2],
    [0x0102, 2],
    [0x0fff, 2],
    [0, 0],
    [EVERY_SHELF, 4],
    [9, EVERY_SLOT],
  ] as const;
  for (const [shelf, slot] of wrong) {
    for (const body of HARMLESS) {
      await alice.expectSilence(`shelf ${shelf} slot ${slot}`, body, { shelf, slot });
    }
  }
}

async function destinations(rig: Rig): Promise<void> {
  const { alice, bob, segment } = await rig.start();
  await alice.requestAll(1, config(), { destination: segment.wire.serverMac() });
  await alice.requestAll(1, config(), { destination: BROADCAST });
  const others = [bob.mac, "02:00:00:00:00:00", "01:00:5e:00:00:01", "33:33:00:00:00:01"];
  for (const destination of [...others, "03:ff:ff:ff:ff:ff"]) {
    for (const body of [config(), read(0, 1)]) {
      await alice.expectSilence(`destination ${destination}`, body, { destination });
    }
  }
}

async function replyAddresses(rig: Rig): Promise<void> {
  await rig.part("one interface", async () => {
    const { alice, bob, segment } = await rig.start();
    const own = segment.wire.serverMac();
    for (const station of [alice, bob]) {
      for (const destination of [own, BROADCAST]) {
        const reply = await station.request(config(), { destination });
        assert.equal(reply.source, own);
        assert.equal(reply.destination, station.mac);
      }
    }
    for (const source of [BROADCAST, "01:00:5e:00:00:01", "00:00:00:00:00:00"]) {
      alice.send(config(), { source });
      alice.send(read(0, 1), { source });
      await segment.expectNothing(`a request from ${source}`, alice);
    }
  });
  await rig.part("two interfaces", async () => {
    const { segments, alice } = await rig.start({ interfaces: 2 });
    const [first, second] = segments;
    assert.notEqual(first.wire.serverMac(), second.wire.serverMac());
    const dora = second.station("02:a0:e0:00:00:0d");
    for (const station of [alice, dora]) {
      const reply = await station.request(config(), { destination: BROADCAST });
      assert.equal(reply.source, station.segment.wire.serverMac());
    }
    await first.expectNothing("a request on the other segment", alice);
  });
  await rig.part("MAC changed while serving", async () => {
    const setMac = rig.control("setMac");
    const { alice, segment } = await rig.start();
    const previous = segment.wire.serverMac();
    const changed = "02:a0:e0:55:66:77";
    await setMac(changed);
    await segment.beacon((beacon) => beacon.source === changed);
    const reply = await alice.request(config(), { destination: BROADCAST });
    assert.equal(reply.source, changed);
    await alice.expectSilence("the MAC of before", config(), { destination: previous });
  });
}

async function tags(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  for (const tag of [0, 1, 0x7fffffff, 0x80000000, 0x18ae0000, 0xffffffff]) {
    for (const body of HARMLESS) {
      const reply = await alice.request(body, { tag });
      assert.equal(reply.tag, tag);
      assert.equal(reply.command, body.command);
    }
  }
}

/** The octets of a reply that mean something; what follows is padding. */
function meaningfulLength(reply: Reply): number {
  if (reply.isError && reply.command > 3) return 24;
  if (reply.command === Command.config) return 32 + reply.config.length;
  if (reply.command === Command.macMask) return 28 + 8 * reply.mask.count;
  if (reply.command === Command.reserve) return 26 + 6 * reply.reserve.count;
  return 36;
}

async function padding(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const poison = filled(1000, 0xa5);
  const requests = [
    ...HARMLESS.slice(1),
    write(9, filled(1024, 0xa5)),
    flush(0xe7),
    read(DISK_END, 1),
    { command: 0x77, argument: new Uint8Array(0) },
  ];
  for (const body of requests) {
    for (const request of [body, withTrailing(body, poison.subarray(0, 400))]) {
      for (let count = 0; count < 8; count++) {
        alice.send(config({ subcommand: 1, text: poison.subarray(0, 1000) }));
      }
      const reply = await alice.request(request);
      assert.ok(reply.lengthBytes >= 60, `${reply.lengthBytes} octets are less than 60`);
      const isIdentify = body.command === Command.ata && body.argument[3] === 0xec;
      if (isIdentify) {
        assert.equal(reply.lengthBytes, 36 + 512);
        continue;
      }
      const rest = reply.octets.subarray(meaningfulLength(reply));
      const stale = rest.findIndex((octet) => octet !== 0);
      assert.equal(stale, -1, `the padding is zero in ${reply.hex}`);
      assert.equal(reply.lengthBytes, Math.max(60, meaningfulLength(reply)));
    }
  }
  const reply = await alice.request(withTrailing(read(20, 1), poison.subarray(0, 900)));
  assert.equal(reply.lengthBytes, 36 + 512, "a read of one sector ends after it");
}

/** Beyond every disk of the suite. */
const DISK_END = 2 ** 40;

async function trailingOctets(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const bodies = [...HARMLESS, config({ subcommand: 2, text: "" }), write(4, diskSectors(4, 1, 1))];
  for (const body of bodies) {
    const plain = await alice.request(body, { tag: 77 });
    const trailed = await alice.request(withTrailing(body, filled(128, 0xa5)), { tag: 77 });
    assert.equal(trailed.lengthBytes, plain.lengthBytes);
    const end = plain.lengthBytes > 60 ? plain.lengthBytes : meaningfulLength(plain);
    const [got, expected] = [trailed, plain].map(({ octets }) => octets.subarray(0, end));
    assert.deepEqual(got, expected, "trailing octets change nothing");
  }
  const stored = await alice.request(read(4, 2));
  assert.deepEqual(stored.ata.data, joined(diskSectors(4, 1, 1), diskSectors(5, 1)));
}

async function oversizedFrames(rig: Rig): Promise<void> {
  const { alice, segment } = await rig.start();
  for (const lengthBytes of [1600, 4000, 9014, 16000]) {
    alice.send(withTrailing(write(1, diskSectors(1, 1, 6)), filled(lengthBytes - 36 - 512, 0)));
  }
  await alice.request(config());
  const answered = await segment.drain();
  for (const reply of answered) {
    assert.ok(reply.lengthBytes <= segment.wire.mtuBytes + 14, "no reply over the MTU");
  }
  const { data } = (await alice.request(read(1, 1))).ata;
  const whole = [diskSectors(1, 1), diskSectors(1, 1, 6)].map((sector) => Buffer.from(sector));
  assert.ok(
    whole.some((sector) => sector.equals(data)),
    "a sector is whole",
  );
}

async function unknownCommands(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  for (let command = 4; command <= 0xff; command++) {
    const argument = filled(command % 2 === 0 ? 0 : 64, 0x11);
    const reply = await alice.request({ command, argument });
    assert.equal(reply.flags, Flag.response | Flag.error);
    assert.equal(reply.error, AoeError.unrecognizedCommand, `command ${command}`);
    assert.equal(reply.command, command);
    assert.equal(reply.address, "e1.2");
  }
}

async function foreignAnnouncement(rig: Rig): Promise<void> {
  const { alice, segment } = await rig.start();
  const announce = { flags: Flag.response, destination: BROADCAST, source: "02:bb:bb:bb:bb:bb" };
  alice.send(config({ versionNibble: 1, bufferCount: 16 }), { ...announce, tag: 0 });
  await segment.expectNothing("another host's beacon for our address", alice);
  await rig.part("noticed and counted", async () => {
    const foreignBeacons = rig.control("foreignBeacons");
    assert.ok((await foreignBeacons()) > 0, "the foreign beacon is counted");
  });
}

async function refusedAddresses(rig: Rig): Promise<void> {
  const refusesAddress = rig.control("refusesAddress");
  assert.equal(await refusesAddress(4095, 1), true, "shelf 4095");
  assert.equal(await refusesAddress(65535, 1), true, "shelf 65535");
  assert.equal(await refusesAddress(1, 255), true, "slot 255");
  assert.equal(await refusesAddress(1, 254), false, "e1.254 is fine");
}

export const framingCases: readonly ConformanceCase[] = [
  { number: 1, title: "other EtherTypes and VLAN-tagged frames are ignored", run: otherEtherTypes },
  { number: 2, title: "frames shorter than their command are dropped", run: shortFrames },
  { number: 3, title: "responses are never answered", run: responsesAreIgnored },
  {
    number: 4,
    title: "E and reserved flags of a request are not echoed",
    run: requestFlagsAreNotEchoed,
  },
  { number: 5, title: "other versions get error 5 with version 1", run: otherVersions },
  { number: 6, title: "wildcards: one reply for each matching target", run: wildcards },
  { number: 7, title: "other shelves and slots are silent", run: wrongAddresses },
  { number: 8, title: "only unicast to us and broadcast are served", run: destinations },
  {
    number: 9,
    title: "replies go to the source, from the MAC of the interface",
    run: replyAddresses,
  },
  { number: 10, title: "the tag is echoed", run: tags },
  { number: 11, title: "replies are padded with zeros to 60 octets", run: padding },
  { number: 12, title: "trailing octets are ignored", run: trailingOctets },
  { number: 13, title: "frames over the MTU do no harm", run: oversizedFrames },
  { number: 14, title: "unknown commands get error 1", run: unknownCommands },
  {
    number: 15,
    title: "another host's beacon for our address is noticed, not answered",
    run: foreignAnnouncement,
  },
  { number: 16, title: "addresses that mean everyone are refused", run: refusedAddresses },
];
