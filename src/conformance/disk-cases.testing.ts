import assert from "node:assert/strict";
import { fixedSeed } from "./fixed-seed.testing.ts";
import {
  config,
  diskSectors,
  Flag,
  flush,
  frameOf,
  joined,
  read,
  sectorOf,
  write,
} from "./frames.testing.ts";
import type { Header } from "./frames.testing.ts";
import type { Reply } from "./replies.testing.ts";
import { DISK_SECTORS } from "./rig.testing.ts";
import type { ConformanceCase, Rig } from "./rig.testing.ts";
import type { Station } from "./segment.testing.ts";

/** Cases 49 to 56: order, duplicates, bursts, durability. */

function expectGood(reply: Reply): void {
  assert.equal(reply.flags, Flag.response, `no AoE error: ${reply.hex}`);
  assert.equal(reply.ata.status, 0x40, `status of ${reply.hex}`);
}

async function sectorsOf(station: Station, lba: number, count: number): Promise<Uint8Array> {
  const reply = await station.request(read(lba, count));
  expectGood(reply);
  return reply.ata.data;
}

/** A generator of numbers that can be repeated (xorshift32). */
function numbersFrom(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const BUFFERS = 14;

async function overlappingWrites(rig: Rig): Promise<void> {
  const { alice, bob } = await rig.start();
  const seed = fixedSeed() ?? Math.floor(Math.random() * 2 ** 32);
  const number = numbersFrom(seed);
  const model = diskSectors(0, 8);
  let generation = 1;
  for (let round = 0; round < 60; round++) {
    const sent: [Station, Header][] = [];
    for (let index = 0; index < BUFFERS; index++) {
      const station = number(2) === 0 ? alice : bob;
      const count = 1 + number(2);
      const lba = number(8 - count + 1);
      const data = diskSectors(lba, count, generation++);
      model.set(data, 512 * lba);
      sent.push([station, station.send(write(lba, data))]);
    }
    for (const [station, header] of sent) expectGood(await station.replyTo(header));
    for (let lba = 0; lba < 8; lba += 2) {
      const expected = model.subarray(512 * lba, 512 * (lba + 2));
      const message = `sectors ${lba} and ${lba + 1} after round ${round}, seed ${seed}`;
      assert.deepEqual(await sectorsOf(alice, lba, 2), expected, message);
    }
  }
}

async function readAfterAcknowledgedWrite(rig: Rig): Promise<void> {
  await rig.part("one interface", async () => {
    const { alice, bob } = await rig.start();
    for (let generation = 1; generation <= 100; generation++) {
      const lba = generation % 5;
      const data = diskSectors(lba, 1, generation);
      expectGood(await alice.request(write(lba, data)));
      assert.deepEqual(await sectorsOf(bob, lba, 1), data);
    }
  });
  await rig.part("two interfaces", async () => {
    const { alice, segments } = await rig.start({ interfaces: 2 });
    const dora = segments[1].station("02:a0:e0:00:00:0d");
    for (let generation = 1; generation <= 100; generation++) {
      const lba = generation % 5;
      const data = diskSectors(lba, 1, generation);
      const [writer, reader] = generation % 2 === 0 ? [alice, dora] : [dora, alice];
      expectGood(await writer.request(write(lba, data)));
      assert.deepEqual(await sectorsOf(reader, lba, 1), data);
    }
  });
}

async function duplicatesInArrivalOrder(rig: Rig): Promise<void> {
  const { alice } = await rig.start();
  for (let round = 0; round < 30; round++) {
    const one = diskSectors(40, 2, 2 * round + 1);
    const two = diskSectors(40, 2, 2 * round + 2);
    const sent = [one, two, one].map((data) => alice.send(write(40, data)));
    for (const header of sent) expectGood(await alice.replyTo(header));
    assert.deepEqual(await sectorsOf(alice, 40, 2), one, "what arrived last stays");
  }
}

async function acknowledgedIsKept(rig: Rig): Promise<void> {
  const killAndRestart = rig.control("killAndRestart");
  const { alice } = await rig.start();
  for (let round = 1; round <= 3; round++) {
    const sent: Header[] = [];
    for (let index = 0; index < BUFFERS; index++) {
      const lba = 200 + 2 * index;
      sent.push(alice.send(write(lba, diskSectors(lba, 2, round))));
    }
    for (const header of sent) expectGood(await alice.replyTo(header));
    await killAndRestart();
    for (let index = 0; index < BUFFERS; index++) {
      const lba = 200 + 2 * index;
      assert.deepEqual(await sectorsOf(alice, lba, 2), diskSectors(lba, 2, round));
    }
  }
}

async function sameTag(rig: Rig): Promise<void> {
  const { alice, segment } = await rig.start();
  const header = alice.header({ tag: 0x18ae0001 });
  for (const body of [read(60, 2), write(62, diskSectors(62, 2, 1))]) {
    const frame = frameOf(header, body);
    for (let count = 0; count < 3; count++) alice.sendRaw(frame);
    await alice.replyTo(header);
    for (const reply of await segment.drain()) {
      if (alice.isReplyTo(reply, header)) expectGood(reply);
    }
    const reply = await alice.request(config());
    assert.equal(reply.flags, Flag.response);
  }
  assert.deepEqual(await sectorsOf(alice, 60, 2), diskSectors(60, 2));
  assert.deepEqual(await sectorsOf(alice, 62, 2), diskSectors(62, 2, 1));
}

async function burst(rig: Rig): Promise<void> {
  const { alice, segment } = await rig.start();
  const { bufferCount } = (await alice.request(config())).config;
  for (const factor of [1, 2, 4]) {
    const total = Math.min(factor * bufferCount + 1, 4096);
    const lbaOfTag = new Map<number, number>();
    for (let index = 0; index < total; index++) {
      const lba = (2 * index) % DISK_SECTORS;
      lbaOfTag.set(alice.send(read(lba, 2)).tag, lba);
    }
    await segment.expectNothingElse((reply) => {
      const lba = lbaOfTag.get(reply.tag);
      if (lba === undefined) return false;
      expectGood(reply);
      assert.deepEqual(reply.ata.data, diskSectors(lba, 2));
      lbaOfTag.delete(reply.tag);
      return true;
    }, alice);
    const answered = total - lbaOfTag.size;
    assert.ok(answered >= Math.min(bufferCount, total), `${answered} of ${total} were answered`);
  }
  assert.deepEqual(await sectorsOf(alice, 0, 2), diskSectors(0, 2), "it still serves");
}

async function manyInitiators(rig: Rig): Promise<void> {
  const { segment, alice } = await rig.start();
  const stations = Array.from({ length: 16 }, (_, index) =>
    segment.station(`02:a0:e0:00:01:${index.toString(16).padStart(2, "0")}`),
  );
  const waiting = new Map<number, Station>();
  const answered = new Map<Station, number>(stations.map((station) => [station, 0]));
  for (let round = 0; round < 64; round++) {
    for (const station of stations) {
      waiting.set(station.send(read((round * 2) % DISK_SECTORS, 2)).tag, station);
    }
  }
  await segment.expectNothingElse((reply) => {
    const station = waiting.get(reply.tag);
    if (station === undefined || reply.destination !== station.mac) return false;
    answered.set(station, (answered.get(station) ?? 0) + 1);
    return true;
  }, alice);
  const counts = [...answered.values()];
  const least = Math.min(...counts);
  assert.ok(least * 2 >= Math.max(...counts), `answers for each initiator: ${counts.join(" ")}`);
}

async function wholeSectors(rig: Rig): Promise<void> {
  const killAndRestart = rig.control("killAndRestart");
  const { alice, segment } = await rig.start({ mtuBytes: 9000 });
  const { sectorCount } = (await alice.request(config())).config;
  for (let round = 1; round <= 3; round++) {
    for (let index = 0; index < BUFFERS; index++) {
      const lba = 400 + index * sectorCount;
      alice.send(write(lba, diskSectors(lba, sectorCount, round)));
    }
    await killAndRestart();
    await segment.drain();
    for (let lba = 400; lba < 400 + BUFFERS * sectorCount; lba += sectorCount) {
      const data = await sectorsOf(alice, lba, sectorCount);
      for (let index = 0; index < sectorCount; index++) {
        const sector = data.subarray(512 * index, 512 * (index + 1));
        const generation = new DataView(sector.buffer, sector.byteOffset).getUint32(8);
        assert.ok(generation <= round);
        assert.deepEqual(sector, sectorOf(lba + index, generation), "old or new, never torn");
      }
    }
  }
}

async function flushAfterBurst(station: Station): Promise<void> {
  expectGood(await station.request(flush()));
}

async function twoPaths(rig: Rig): Promise<void> {
  const { alice, segments } = await rig.start({ interfaces: 2 });
  const dora = segments[1].station("02:a0:e0:00:00:0d");
  for (let generation = 1; generation <= 40; generation++) {
    const stations = generation % 2 === 0 ? [alice, dora] : [dora, alice];
    const data = stations.map((_, index) => diskSectors(70, 2, 2 * generation + index));
    const first = stations[0].send(write(70, data[0]));
    const second = stations[1].send(write(70, data[1]));
    expectGood(await stations[0].replyTo(first));
    expectGood(await stations[1].replyTo(second));
    // On two wires nobody knows which came first.
    const after = await sectorsOf(alice, 70, 2);
    assert.ok(
      data.some((each) => Buffer.compare(each, after) === 0),
      "one of the two, whole",
    );
    assert.deepEqual(await sectorsOf(dora, 70, 2), after, "on both paths");
    for (const [index, station] of stations.entries()) {
      expectGood(await station.request(write(70, data[index])));
    }
    assert.deepEqual(await sectorsOf(alice, 70, 2), data[1], "what was written last stays");
    assert.deepEqual(await sectorsOf(dora, 70, 2), data[1], "on both paths");
  }
  await flushAfterBurst(dora);
  const halves = joined(await sectorsOf(alice, 70, 1), await sectorsOf(dora, 71, 1));
  assert.deepEqual(halves, await sectorsOf(dora, 70, 2));
}

export const diskCases: readonly ConformanceCase[] = [
  {
    number: 49,
    title: "overlapping writes take effect in the order of arrival",
    run: overlappingWrites,
  },
  {
    number: 50,
    title: "a read sees every write acknowledged before it",
    run: readAfterAcknowledgedWrite,
  },
  {
    number: 51,
    title: "a late duplicate of a write counts where it arrives",
    run: duplicatesInArrivalOrder,
  },
  { number: 52, title: "acknowledged writes survive kill -9", run: acknowledgedIsKept },
  { number: 53, title: "the same request with the same tag is answered", run: sameTag },
  { number: 54, title: "bursts of up to four times the buffer count", run: burst },
  {
    number: 55,
    title: "sixteen initiators with 64 frames each are treated alike",
    run: manyInitiators,
  },
  { number: 56, title: "after kill -9 every sector is whole", run: wholeSectors },
  { number: 78, title: "two interfaces are two paths to one disk", run: twoPaths },
];
