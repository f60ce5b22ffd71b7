import assert from "node:assert/strict";
import {
  AoeError,
  config,
  ConfigCommand,
  filled,
  Flag,
  read,
  reserve,
  ReserveCommand,
  textOctets,
  withTrailing,
} from "./frames.testing.ts";
import type { Body, ConfigFields } from "./frames.testing.ts";
import type { Reply } from "./replies.testing.ts";
import type { ConformanceCase, Rig } from "./rig.testing.ts";
import type { Station } from "./segment.testing.ts";
import { EVERYONE } from "./segment.testing.ts";

/** Cases 17 to 29: Config/Query. */

function text(reply: Reply): string {
  assert.equal(reply.flags, Flag.response, `${reply.hex} is no success`);
  assert.equal(reply.config.text.length, reply.config.length, "the whole string is in the frame");
  return Buffer.from(reply.config.text).toString("latin1");
}

async function currentText(station: Station): Promise<string> {
  return text(await station.request(config()));
}

async function force(station: Station, value: ConfigFields["text"]): Promise<Reply> {
  return await station.request(config({ subcommand: ConfigCommand.force, text: value ?? "" }));
}

function test(value: string): Body {
  return config({ subcommand: ConfigCommand.test, text: value });
}

function prefix(value: string): Body {
  return config({ subcommand: ConfigCommand.prefix, text: value });
}

function set(value: string): Body {
  return config({ subcommand: ConfigCommand.set, text: value });
}

async function readIgnoresItsString(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  await force(alice, "claimed");
  const fill = filled(1024, 0xed);
  for (const fields of [
    { text: fill },
    { text: fill.subarray(0, 10), claimedLength: 1024 },
    { claimedLength: 0xffff },
  ]) {
    assert.equal(text(await alice.request(config(fields))), "claimed");
  }
}

async function versionNibble(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  for (const nibble of [0, 1, 7, 15]) {
    const reply = await alice.request(config({ versionNibble: nibble }));
    assert.equal(reply.flags, Flag.response);
    assert.equal(reply.config.versionNibble, 1);
    assert.equal(reply.config.subcommand, ConfigCommand.read);
  }
}

/** By the formula of the Linux driver, and in whole 4 KiB blocks from 8 sectors on. */
const ADVERTISED = [
  { mtuBytes: 1500, sectors: 2 },
  { mtuBytes: 4131, sectors: 7 },
  { mtuBytes: 4132, sectors: 8 },
  { mtuBytes: 8227, sectors: 8 },
  { mtuBytes: 8228, sectors: 16 },
  { mtuBytes: 9000, sectors: 16 },
] as const;

async function advertisement(rig: Rig): Promise<void> {
  for (const { mtuBytes, sectors } of ADVERTISED) {
    const { alice } = await rig.start({ mtuBytes });
    const { bufferCount, sectorCount } = (await alice.request(config())).config;
    assert.ok(bufferCount >= 2, `buffer count ${bufferCount} stops the Linux driver`);
    if (rig.houseRules) assert.equal(sectorCount, sectors, `at MTU ${mtuBytes}`);
    assert.ok(sectorCount > 0 && sectorCount <= Math.floor((mtuBytes - 36) / 512));
    assert.ok(sectorCount < 8 || sectorCount % 8 === 0, `${sectorCount} sectors at ${mtuBytes}`);
    await rig.stop();
  }
}

async function exactTest(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  assert.equal(text(await alice.request(test(""))), "");
  await alice.expectSilence("test of a string on none", test("x"));
  await force(alice, "shelf one");
  const reply = await alice.request(test("shelf one"));
  assert.equal(text(reply), "shelf one");
  assert.equal(reply.config.subcommand, ConfigCommand.test);
  for (const value of ["", "shelf on", "shelf onf", "shelf one ", "Shelf one"]) {
    await alice.expectSilence(`test of '${value}'`, test(value));
  }
}

async function prefixTest(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  assert.equal(text(await alice.request(prefix(""))), "");
  await force(alice, "shelf one");
  for (const value of ["", "s", "shelf", "shelf one"]) {
    const reply = await alice.request(prefix(value));
    assert.equal(text(reply), "shelf one");
    assert.equal(reply.config.subcommand, ConfigCommand.prefix);
  }
  for (const value of ["shelf one!", "x", "helf"]) {
    await alice.expectSilence(`prefix '${value}'`, prefix(value));
  }
}

async function setOnce(rig: Rig): Promise<void> {
  const { alice, bob } = await rig.start();
  const stored = await alice.request(set("first owner"));
  assert.equal(text(stored), "first owner");
  assert.equal(stored.config.subcommand, ConfigCommand.set);
  assert.equal(text(await bob.request(set("first owner"))), "first owner");
  const refused = await bob.request(set("second, with a longer text"));
  assert.equal(refused.flags, Flag.response | Flag.error);
  assert.equal(refused.error, AoeError.configStringPresent);
  assert.equal(refused.config.length, "first owner".length);
  assert.deepEqual(refused.config.text, textOctets("first owner"));
  assert.equal(await currentText(alice), "first owner");
}

async function forceSet(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  assert.equal(text(await force(alice, "one")), "one");
  const longest = filled(1024, 0x61);
  assert.equal(text(await force(alice, longest)).length, 1024);
  assert.equal((await currentText(alice)).length, 1024);
  assert.equal(text(await force(alice, "two")), "two");
  const tooLong = config({ subcommand: ConfigCommand.force, text: filled(1025, 0x62) });
  const missing = config({ subcommand: ConfigCommand.force, text: "abc", claimedLength: 200 });
  const nearly = config({
    subcommand: ConfigCommand.set,
    text: filled(100, 0x63),
    claimedLength: 101,
  });
  for (const body of [tooLong, missing, nearly]) {
    const reply = await alice.request(body);
    assert.equal(reply.flags, Flag.response | Flag.error);
    assert.equal(reply.error, AoeError.badArgument);
    assert.equal(await currentText(alice), "two", "nothing was stored");
  }
  assert.equal(text(await force(alice, "")), "");
  assert.equal(await currentText(alice), "");
}

async function binaryString(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  const every = Uint8Array.from({ length: 256 }, (_, index) => (index + 0xff) % 256);
  for (const value of [every, Uint8Array.of(0), Uint8Array.of(0, 0xff, 0)]) {
    assert.equal(text(await force(alice, value)), Buffer.from(value).toString("latin1"));
    assert.equal(await currentText(alice), Buffer.from(value).toString("latin1"));
  }
}

async function persistence(rig: Rig): Promise<void> {
  const killAndRestart = rig.control("killAndRestart");
  const targets = [
    { shelf: 1, slot: 2 },
    { shelf: 1, slot: 3 },
  ];
  const { alice } = await rig.start({ targets });
  await alice.request(set("kept by set"), { slot: 2 });
  await alice.request(config({ subcommand: ConfigCommand.force, text: "kept by force" }), {
    slot: 3,
  });
  await killAndRestart();
  for (const [slot, value] of [
    [2, "kept by set"],
    [3, "kept by force"],
  ] as const) {
    assert.equal(text(await alice.request(config(), { slot })), value);
  }
  await force(alice, "");
  await killAndRestart();
  assert.equal(text(await alice.request(config(), { slot: 2 })), "", "an erased string stays away");
}

async function unknownSubcommands(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  for (let subcommand = 5; subcommand <= 15; subcommand++) {
    const reply = await alice.request(config({ subcommand, text: "x" }));
    assert.equal(reply.flags, Flag.response | Flag.error);
    assert.equal(reply.error, AoeError.badArgument, `subcommand ${subcommand}`);
  }
  assert.equal(await currentText(alice), "");
}

async function setEveryone(rig: Rig): Promise<void> {
  const targets = [
    { shelf: 1, slot: 2 },
    { shelf: 1, slot: 3 },
    { shelf: 5, slot: 2 },
  ];
  const { alice } = await rig.start({ targets });
  const body = config({ subcommand: ConfigCommand.set, text: "all of us" });
  const replies = await alice.requestAll(3, body, EVERYONE);
  assert.deepEqual(replies.map(text), ["all of us", "all of us", "all of us"]);
  for (const target of targets) {
    assert.equal(text(await alice.request(config(), target)), "all of us");
  }
}

async function readOnlyTargetAnswers(rig: Rig): Promise<void> {
  const { alice } = await rig.start({ targets: [{ shelf: 1, slot: 2, readOnly: true }] });
  const reply = await force(alice, "note");
  const refused = reply.isError && [2, 3].includes(reply.error);
  assert.ok(refused || text(reply) === "note", "stored, or refused with error 2 or 3");
  assert.equal(await currentText(alice), refused ? "" : "note");
}

async function alwaysAnswered(rig: Rig): Promise<void> {
  await rig.part("reserved by another", async () => {
    const { alice, bob } = await rig.start();
    await bob.request(reserve(ReserveCommand.set, [bob.mac]));
    assert.equal(await currentText(alice), "");
  });
  await rig.part("during overload", async () => {
    const { alice } = await rig.start();
    for (let count = 0; count < 100; count++) alice.send(read(count, 2));
    await alice.answerToOneOf(20, config());
  });
  await rig.part("while the storage answers nothing", async () => {
    const holdStorage = rig.control("holdStorage");
    const { alice } = await rig.start();
    holdStorage();
    for (let count = 0; count < 20; count++) alice.send(read(count, 2));
    assert.equal(await currentText(alice), "");
    assert.equal(text(await alice.request(withTrailing(config(), filled(99, 1)))), "");
  });
}

export const configCases: readonly ConformanceCase[] = [
  { number: 17, title: "Config read ignores the string of the request", run: readIgnoresItsString },
  {
    number: 18,
    title: "the version nibble of Config is ignored, and 1 in the reply",
    run: versionNibble,
  },
  {
    number: 19,
    title: "buffer count and sector count fit the driver and the MTU",
    run: advertisement,
  },
  { number: 20, title: "Config test answers an equal string only", run: exactTest },
  { number: 21, title: "Config prefix test answers true prefixes only", run: prefixTest },
  { number: 22, title: "Config set works once, and tells the present string", run: setOnce },
  { number: 23, title: "Config force set replaces, erases and checks lengths", run: forceSet },
  { number: 24, title: "the config string is binary", run: binaryString },
  { number: 25, title: "the config string survives kill -9", run: persistence },
  { number: 26, title: "unknown Config subcommands get error 2", run: unknownSubcommands },
  { number: 27, title: "a wildcard set reaches every target", run: setEveryone },
  { number: 28, title: "a read-only target answers Config writes", run: readOnlyTargetAnswers },
  { number: 29, title: "Config is answered whatever the state of the disk", run: alwaysAnswered },
];
