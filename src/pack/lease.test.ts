import { expect, test } from "vitest";
import { FaultObjectStore } from "../object/fault-object-store.ts";
import { MemoryBucket, MemoryObjectStore } from "../object/memory-object-store.ts";
import { settle, TestClock } from "./clock.testing.ts";
import { Lease, type LeaseOptions } from "./lease.ts";

const LEASE_MS = 90_000;

function options(clock: TestClock, owner: string, more: Partial<LeaseOptions> = {}): LeaseOptions {
  return {
    owner,
    host: owner,
    durationMs: LEASE_MS,
    clock,
    takeOver: false,
    signal: new AbortController().signal,
    ...more,
  };
}

test("a lease that is kept is never free; one that is released is at once", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const first = await Lease.acquire(new MemoryObjectStore(bucket), options(clock, "first"));
  first.keep();
  let second: Lease | undefined;
  void Lease.acquire(new MemoryObjectStore(bucket), options(clock, "second")).then((lease) => {
    second = lease;
  });
  await clock.advance(10 * LEASE_MS, 1000);
  expect(second).toBeUndefined();
  expect(first.isValid).toBe(true);
  await first.release();
  await clock.advance(LEASE_MS, 1000);
  expect(second?.epoch).toBe(2);
});

test("whoever stops renewing has lost it before another can have it", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const paused = await Lease.acquire(new MemoryObjectStore(bucket), options(clock, "paused"));
  let taken: Lease | undefined;
  void Lease.acquire(new MemoryObjectStore(bucket), options(clock, "taker")).then((lease) => {
    taken = lease;
  });
  for (let step = 0; step < 400; step++) {
    await clock.advance(500);
    expect(taken !== undefined && paused.isValid).toBe(false);
  }
  const lost: string[] = [];
  paused.onLost = (reason) => lost.push(reason);
  await expect(paused.whenValid()).rejects.toThrow("taker has taken it over");
  expect(lost).toHaveLength(1);
  expect(taken?.epoch).toBe(2);
});

test("of takers that race exactly one has it", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  await Lease.acquire(new MemoryObjectStore(bucket), options(clock, "gone"));
  const leases: Lease[] = [];
  for (let taker = 0; taker < 16; taker++) {
    const store = new MemoryObjectStore(bucket);
    void Lease.acquire(store, options(clock, `taker ${taker}`)).then((lease) => {
      lease.keep();
      leases.push(lease);
    });
  }
  await clock.advance(4 * LEASE_MS, 1000);
  expect(leases).toHaveLength(1);
});

test("the owner of the folder takes its own lease at once, and so does who is told to", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const store = new MemoryObjectStore(bucket);
  await Lease.acquire(store, options(clock, "folder"));
  const again = await Lease.acquire(store, options(clock, "folder"));
  expect(again.epoch).toBe(2);
  const forced = await Lease.acquire(store, options(clock, "other", { takeOver: true }));
  expect(forced.epoch).toBe(3);
  await again.renew();
  expect(again.isValid).toBe(false);
});

test("an outage shorter than the lease costs nothing, a lost answer neither", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const store = new FaultObjectStore(new MemoryObjectStore(bucket));
  const lease = await Lease.acquire(store, options(clock, "owner"));
  lease.keep();
  store.decide = () => "unavailable";
  await clock.advance(60_000, 500);
  expect(lease.isValid).toBe(true);
  let puts = 0;
  store.decide = ({ operation }) =>
    operation === "putIfMatch" && puts++ % 3 === 0 ? "lost" : undefined;
  await clock.advance(40_000, 500);
  expect(lease.isValid).toBe(true);
  store.decide = () => "unavailable";
  await clock.advance(100_000, 500);
  expect(lease.isValid).toBe(false);
  store.decide = () => undefined;
  await clock.advance(6000, 500);
  await settle();
  expect(lease.isValid).toBe(true);
});

test("a renewal whose answer was lost prolongs nothing when it is found much later", async () => {
  const bucket = new MemoryBucket();
  const clock = new TestClock();
  const store = new FaultObjectStore(new MemoryObjectStore(bucket));
  const paused = await Lease.acquire(store, options(clock, "paused"));
  paused.keep();
  let puts = 0;
  store.decide = ({ operation }) => {
    if (operation === "putIfMatch" && puts++ === 0) return "lost";
    // From then on what it sends does not arrive.
    return puts === 0 ? undefined : "unavailable";
  };
  await clock.advance(16_000, 500);
  expect(puts).toBeGreaterThan(0);
  let taken: Lease | undefined;
  void Lease.acquire(new MemoryObjectStore(bucket), options(clock, "taker")).then((lease) => {
    taken = lease;
  });
  await clock.advance(85_000, 500);
  expect(taken).toBeUndefined();
  // It can read again before the other one takes over, but its next put hangs.
  const never = new Promise<never>(() => {});
  const later = { puts: 0 };
  store.decide = ({ operation }) => {
    if (operation !== "putIfMatch") return undefined;
    return later.puts++ === 0 ? undefined : never;
  };
  while (later.puts < 2) await clock.advance(500);
  expect(taken).toBeUndefined();
  for (let step = 0; step < 100; step++) {
    await clock.advance(500);
    expect(taken !== undefined && paused.isValid).toBe(false);
  }
  expect(taken?.epoch).toBe(2);
});

test("a lease that is gone begins above the epoch of the head", async () => {
  const clock = new TestClock();
  const objects = new MemoryObjectStore();
  const lease = await Lease.acquire(objects, options(clock, "owner", { headEpoch: 7 }));
  expect(lease.epoch).toBe(8);
});
