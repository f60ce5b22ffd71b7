import { expect, test } from "vitest";
import { DiskModel } from "./disk-model.ts";
import { fillSector } from "./sector-content.ts";
import type { Write } from "./write-log.ts";

const SECTORS = 8;

function write(model: DiskModel, lba: number, isTrim = false): Write {
  const sent = model.send(lba, 1, isTrim);
  model.acknowledge(sent);
  return sent;
}

test("a snapshot has what was acknowledged before it", () => {
  const model = new DiskModel(SECTORS);
  write(model, 0);
  const { version } = write(model, 0);
  const cut = model.beginCut();
  expect(cut.check([version])).toEqual([]);
  expect(cut.check([version - 1])).toHaveLength(1);
  expect(cut.check([0])).toHaveLength(1);
});

test("a snapshot has nothing that was sent after its end", () => {
  const model = new DiskModel(SECTORS);
  const cut = model.beginCut();
  const during = write(model, 0);
  cut.end();
  const after = write(model, 0);
  expect(cut.check([0])).toEqual([]);
  expect(cut.check([during.version])).toEqual([]);
  expect(cut.check([after.version])).toHaveLength(1);
});

test("what was on its way may be in a snapshot or not", () => {
  const model = new DiskModel(SECTORS);
  const { version } = model.send(0, 1, false);
  const cut = model.beginCut();
  expect(cut.check([0])).toEqual([]);
  expect(cut.check([version])).toEqual([]);
});

test("a snapshot is one moment of the whole disk", () => {
  const model = new DiskModel(SECTORS);
  const cut = model.beginCut();
  const first = write(model, 0);
  const second = write(model, 1);
  expect(cut.check([first.version, second.version])).toEqual([]);
  expect(cut.check([first.version, 0])).toEqual([]);
  expect(cut.check([0, second.version])).toHaveLength(1);
});

test("writes that were on their way together have no order", () => {
  const model = new DiskModel(SECTORS);
  const cut = model.beginCut();
  const [first, second] = [model.send(0, 1, false), model.send(1, 1, false)];
  model.acknowledge(second);
  model.acknowledge(first);
  expect(cut.check([first.version, 0])).toEqual([]);
  expect(cut.check([0, second.version])).toEqual([]);
});

test("a trim leaves zeros", () => {
  const model = new DiskModel(SECTORS);
  const { version } = write(model, 0);
  write(model, 0, true);
  const cut = model.beginCut();
  expect(cut.check([0])).toEqual([]);
  expect(cut.check([version])).toHaveLength(1);
});

test("after a crash a sector is as it was or as it was to be, and stays so", () => {
  const words = new Uint32Array(128);
  const data = new Uint8Array(words.buffer);
  const model = new DiskModel(SECTORS);
  const before = write(model, 3);
  const lost = model.send(3, 1, false);
  fillSector(words, 0, 3, before.version);
  expect(model.settle(3, data)).toEqual([]);
  fillSector(words, 0, 3, lost.version);
  expect(model.settle(3, data)).toEqual(["sector 3 holds write 2 instead of write 1"]);

  const kept = model.send(3, 1, false);
  fillSector(words, 0, 3, kept.version);
  expect(model.settle(3, data)).toEqual([]);
  words[100] = (words[100] ?? 0) ^ 1;
  expect(model.settle(3, data)).toEqual([
    "sector 3 holds what was never written there instead of write 3",
  ]);
});
