import { beforeEach, expect, test } from "vitest";
import { CommandKind } from "./command-kind.ts";
import { InitiatorTable, NO_INITIATOR } from "./initiator-table.ts";

let table: InitiatorTable;
beforeEach(() => {
  table = new InitiatorTable();
});

/** The address `high` (two octets) and `low` (four), as the table reads it from memory. */
function arrive(high: number, low: number, nowMs: number): number {
  const octets = Buffer.alloc(6);
  octets.writeUInt16BE(high);
  octets.writeUInt32BE(low >>> 0, 2);
  return table.arrived(octets.readUInt16LE(0), octets.readInt32LE(2), nowMs);
}

function ask(high: number, low: number, nowMs: number, times = 1): void {
  for (let time = 0; time < times; time++) {
    const row = arrive(high, low, nowMs);
    table.answered(row, CommandKind.read, 4096);
  }
}

test("counts by source address, the busiest first", () => {
  ask(0x5254, 0x00123456, 10, 3);
  ask(0x5254, 0xfffffff0, 20);
  const row = arrive(0x5254, 0x00123456, 30);
  table.repeated(row);
  table.sample(2);
  expect(table.figures()).toMatchObject([
    {
      mac: 0x525400123456,
      answered: 3,
      readBytes: 3 * 4096,
      writtenBytes: 0,
      outstanding: 1,
      retransmissions: 1,
      firstSeenMs: 10,
      lastSeenMs: 30,
      rates: { operations: 1.5, readBytes: 6144, writtenBytes: 0 },
    },
    { mac: 0x5254fffffff0, answered: 1, outstanding: 0 },
  ]);
  table.sample(1);
  expect(table.figures()[0].rates.operations).toBe(0);
});

test("a flood of forged addresses neither grows the table nor displaces who is at work", () => {
  for (let host = 1; host <= 64; host++) ask(0x5254, host, 0, 100);
  for (let forged = 0; forged < 200_000; forged++) {
    ask(0x0200 | (forged & 0xff), Math.imul(forged, 0x9e3779b1), forged / 1000);
  }
  const seen = table.figures();
  expect(seen.length).toBeLessThanOrEqual(1024);
  const atWork = seen.filter(({ mac }) => mac >= 0x525400000001 && mac <= 0x525400000040);
  expect(atWork).toHaveLength(64);
  expect(atWork.every(({ answered }) => answered === 100)).toBe(true);
  expect(table.evictions).toBeGreaterThan(190_000);
});

test("a row with a request under way is not given away; its reply is counted for whom it is", () => {
  const rows = Array.from({ length: 5000 }, (_, host) => arrive(1, host, 0));
  expect(rows).toContain(NO_INITIATOR);
  for (const row of rows) table.answered(row, CommandKind.write, 512);
  const figures = table.figures();
  expect(figures.every(({ answered, outstanding }) => answered === 1 && outstanding === 0)).toBe(
    true,
  );
});

test("who has been silent for long gives way before who is new and has done little", () => {
  for (let host = 0; host < 5000; host++) ask(1, host, 0, 100);
  for (let host = 0; host < 200; host++) ask(2, host, 400_000, 2);
  const recent = table.figures().filter(({ mac }) => mac >= 2 * 2 ** 32);
  expect(recent).toHaveLength(200);
});
