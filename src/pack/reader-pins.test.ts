import { expect, test } from "vitest";
import { FaultObjectStore } from "../object/fault-object-store.ts";
import { MemoryBucket, MemoryObjectStore } from "../object/memory-object-store.ts";
import { TestClock } from "./clock.testing.ts";
import { OwnPin, type OwnPinOptions, ReaderPins } from "./reader-pins.ts";

const PIN_MS = 600_000;

function options(objects: OwnPinOptions["objects"], clock: TestClock): OwnPinOptions {
  const { signal } = new AbortController();
  const onLost = (): never => {
    throw new Error("the pin was lost");
  };
  return { objects, clock, id: "reader", host: "test", durationMs: PIN_MS, signal, onLost };
}

test("a pin is renewed from the beginning, however long the opening takes", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const pin = await OwnPin.set(options(new MemoryObjectStore(bucket), clock));
  const pins = new ReaderPins(new MemoryObjectStore(bucket), clock);
  for (let minute = 0; minute < 60; minute++) {
    expect(await pins.oldestHead()).toBe(0);
    await clock.advance(60_000, 10_000);
  }
  await pin.reads(5);
  for (let minute = 0; minute < 60; minute++) {
    expect(await pins.oldestHead()).toBe(5);
    await clock.advance(60_000, 10_000);
  }
});

test("a head is pinned although a renewal is on its way, or its answer was lost", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const objects = new FaultObjectStore(new MemoryObjectStore(bucket));
  const pin = await OwnPin.set(options(objects, clock));
  const answer = Promise.withResolvers<"lost">();
  let puts = 0;
  objects.decide = ({ operation }) =>
    operation === "putIfMatch" && puts++ === 0 ? answer.promise : undefined;
  await clock.advance(PIN_MS / 6, 1000);
  expect(puts).toBe(1);
  const reading = pin.reads(3);
  answer.resolve("lost");
  await reading;
  await clock.advance(PIN_MS, 10_000);
  expect(await new ReaderPins(objects, clock).oldestHead()).toBe(3);
});
