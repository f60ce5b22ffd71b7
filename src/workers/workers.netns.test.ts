import { readFileSync } from "node:fs";
import type { Worker as Thread } from "node:worker_threads";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { parseConfiguration } from "../config/load.ts";
import {
  BROADCAST,
  type Body,
  config,
  EVERY_SHELF,
  EVERY_SLOT,
  type Header,
  frameOf,
  read,
} from "../conformance/frames.testing.ts";
import { ProcessWire } from "../conformance/process-wire.testing.ts";
import { Reply } from "../conformance/replies.testing.ts";
import { makeStateDirectory, removeStateDirectory } from "../conformance/test-server.testing.ts";
import { ip, makeLink, placePump, removeLinks } from "../conformance/veth.testing.ts";
import type { Progress } from "../control/store-api.ts";
import { UsageError } from "../errors.ts";
import { createLog } from "../log/log.ts";
import type { RunningServer } from "../server/running-server.ts";
import { startWorkers, type Workers } from "./workers.ts";

/** A server of two workers in this process, on a real interface of this network namespace. */
const SERVER_MACS = ["02:ae:00:00:00:01", "02:ae:00:00:00:02"];
const STATION = "02:00:00:00:00:fe";

/** A machine that stands still for half a second makes a server drop what waited meanwhile. */
const MOST_TRIES = 5;

const closers: (() => Promise<void>)[] = [];
/** What the present test has started. */
let present: RunningServer<Workers> | undefined;

async function closeAll(): Promise<void> {
  present = undefined;
  for (const close of closers.splice(0).toReversed()) await close();
}
afterEach(closeAll);

/** A test that counts frames: where the server has lost some, what was seen says nothing. */
function testOfFrames(name: string, body: () => Promise<void>): void {
  test(name, async () => {
    for (let tries = 1; ; tries++) {
      try {
        await body();
        return;
      } catch (error) {
        if (tries === MOST_TRIES || !(await hasLostFrames())) throw error;
      }
      await closeAll();
    }
  });
}

async function hasLostFrames(): Promise<boolean> {
  const status = await present?.api.status().catch(() => undefined);
  return (status?.ports ?? []).some(
    ({ statistics, drops }) =>
      statistics.staleFrames > 0 || statistics.receiveOverruns > 0 || drops.stale > 0,
  );
}

interface Rig {
  readonly server: RunningServer<Workers>;
  readonly folder: string;
  /** The threads, in the order in which they were made. */
  readonly threads: Thread[];
  readonly socketsBefore: number;
  /** Sends requests, and waits until they are answered. @returns every reply to them */
  readonly ask: (
    ...requests: readonly [destination: string, shelf: number, slot: number, body: Body][]
  ) => Promise<Reply[]>;
  readonly send: (header: Partial<Header>, body: Body) => void;
}

const log = createLog({ level: "fatal" });

/** Shelf 1: slots 0 and 2 are served by the first worker, 1 and 3 by the second. */
const MEMORY = [0, 1, 2, 3].map((slot) => memoryTarget(1, slot)).join("");

function memoryTarget(shelf: number, slot: number): string {
  return `[[target]]\nshelf = ${shelf}\nslot = ${slot}\nbackend = "memory"\nsize = "1MiB"\n`;
}

function casTarget(slot: number, store: string): string {
  const target = `[[target]]\nshelf = 1\nslot = ${slot}\nbackend = "cas"\nsize = "16MiB"\n`;
  return `${target}[target.cas]\npath = "${store}"\n`;
}

async function start(targets: string, interfaces = 1): Promise<Rig> {
  const folder = await makeStateDirectory();
  closers.push(async () => removeStateDirectory(folder));
  closers.push(async () => Promise.resolve(removeLinks()));
  const names = Array.from({ length: interfaces }, (_, index) => `server${index}`);
  for (const index of names.keys()) makeLink(index, SERVER_MACS[index], 1500);
  const station = interfaces > 1 ? joinSegments(interfaces) : "own0";
  const list = names.map((name) => `"${name}"`).join(", ");
  const text = `[server]\ninterfaces = [${list}]\nstate_dir = "state"\nworkers = 2\n${targets}`;
  const threads: Thread[] = [];
  const note = (thread: Thread): number => threads.push(thread);
  process.on("worker", note);
  closers.push(async () => Promise.resolve(void process.off("worker", note)));
  const wire = await ProcessWire.open(placePump(folder), station, SERVER_MACS[0], 1500);
  closers.push(async () => wire.close());
  const socketsBefore = packetSockets();
  const server = await startWorkers(parseConfiguration(text, `${folder}/aoed.toml`), log, {
    level: "fatal",
  });
  closers.push(async () => server.stop());
  present = server;
  return { server, folder, threads, socketsBefore, ...asking(wire, server, interfaces) };
}

/** One segment with all interfaces of the server on it. @returns the test's own interface there */
function joinSegments(interfaces: number): string {
  ip("link", "add", "segment", "type", "bridge");
  closers.push(async () => Promise.resolve(void ip("link", "delete", "segment")));
  ip("link", "add", "station", "type", "veth", "peer", "name", "socket");
  closers.push(async () => Promise.resolve(void ip("link", "delete", "station")));
  const sockets = Array.from({ length: interfaces }, (_, index) => `own${index}`);
  for (const name of ["socket", ...sockets]) ip("link", "set", name, "master", "segment");
  for (const name of ["segment", "station", "socket"]) ip("link", "set", name, "up");
  return "station";
}

/** Raw sockets in this network namespace. */
function packetSockets(): number {
  return readFileSync("/proc/thread-self/net/packet", "utf8").trimEnd().split("\n").length - 1;
}

function asking(
  wire: ProcessWire,
  server: Rig["server"],
  interfaces: number,
): Pick<Rig, "ask" | "send"> {
  let tag = 1;
  const send: Rig["send"] = (header, body) => {
    const whole = { destination: SERVER_MACS[0], source: STATION, shelf: 1, slot: 0, tag: ++tag };
    wire.send(frameOf({ ...whole, ...header }, body));
  };
  /** @returns what came before the answers of both workers on every interface */
  const untilFences = async (): Promise<Reply[]> => {
    const missing = new Map<number, number>();
    for (const slot of [0, 1]) {
      send({ destination: BROADCAST, slot }, config());
      missing.set(tag, interfaces);
    }
    const others: Reply[] = [];
    while ([...missing.values()].some((count) => count > 0)) {
      const octets = await wire.receive(20_000);
      if (octets === null) throw new Error("a worker does not answer");
      const reply = new Reply(octets);
      const count = missing.get(reply.tag);
      if (count === undefined) others.push(reply);
      else missing.set(reply.tag, count - 1);
    }
    return others;
  };
  const isIdle = async (): Promise<boolean> => {
    const { started, answered, dropped } = (await server.api.status()).exchanges;
    return started === answered + dropped;
  };
  const ask: Rig["ask"] = async (...requests) => {
    const first = tag + 1;
    for (const [destination, shelf, slot, body] of requests) {
      send({ destination, shelf, slot }, body);
    }
    const last = tag;
    // Taken by the workers; then answered; then on the wire.
    const replies = await untilFences();
    while (!(await isIdle())) await delay(1);
    replies.push(...(await untilFences()));
    return replies.filter((reply) => reply.tag >= first && reply.tag <= last);
  };
  return { ask, send };
}

const addresses = (replies: readonly Reply[]): string[] =>
  replies.map(({ address }) => address).toSorted();

testOfFrames(
  "every target answers once, from its worker, and nobody for an address that nobody has",
  async () => {
    const { server, ask } = await start(MEMORY);
    const [mac] = SERVER_MACS;
    expect(addresses(await ask([BROADCAST, EVERY_SHELF, EVERY_SLOT, config()]))).toEqual([
      "e1.0",
      "e1.1",
      "e1.2",
      "e1.3",
    ]);
    expect(addresses(await ask([mac, 1, EVERY_SLOT, read(0, 1)]))).toHaveLength(4);
    for (const slot of [0, 1, 2, 3]) {
      expect(addresses(await ask([mac, 1, slot, read(0, 1)]))).toEqual([`e1.${slot}`]);
      expect(addresses(await ask([BROADCAST, EVERY_SHELF, slot, config()]))).toEqual([
        `e1.${slot}`,
      ]);
    }
    expect(await ask([mac, 1, 4, read(0, 1)], [BROADCAST, 2, EVERY_SLOT, config()])).toEqual([]);

    const { ports, targets, exchanges, foreignAnnouncements } = await server.api.status();
    expect(targets.map(({ slot }) => slot)).toEqual([0, 1, 2, 3]);
    expect(ports).toHaveLength(1);
    // Of what reached a worker that has no target for it, one counts what nobody has.
    expect(ports[0].drops).toMatchObject({ no_target: 1, other_worker: 5 });
    const drops = Object.values(ports[0].drops).reduce((sum, count) => sum + count, 0);
    // Two requests were copied in each worker.
    expect(ports[0].statistics.receivedFrames).toBe(drops + exchanges.answered - 4);
    expect(exchanges.started).toBe(exchanges.answered);
    expect(foreignAnnouncements).toBe(0);
  },
);

testOfFrames(
  "two interfaces on one segment hear each other's beacons, and those of a foreign server",
  async () => {
    const { server, ask, send } = await start(MEMORY, 2);
    const answered = await ask([BROADCAST, EVERY_SHELF, EVERY_SLOT, config()]);
    // Each interface answers, as two paths to each disk.
    expect(addresses(answered)).toHaveLength(8);
    expect((await server.api.status()).foreignAnnouncements).toBe(0);
    send({ destination: BROADCAST, slot: 1, flags: 8 }, config());
    await ask();
    // Both interfaces hear it.
    expect((await server.api.status()).foreignAnnouncements).toBe(2);
  },
);

testOfFrames(
  "stores are asked where they are, and an address may move between workers",
  async () => {
    const { server, ask, folder } = await start(casTarget(1, "one") + casTarget(0, "two"));
    const { api } = server;
    const [mac] = SERVER_MACS;
    const paths = (await api.status()).stores.map(({ path }) => path).toSorted();
    expect(paths).toEqual([`${folder}/one`, `${folder}/two`]);
    await expect(api.store({})).rejects.toThrow(
      /^name one of the stores with --store: .*one, .*two/,
    );
    await expect(api.store({ path: `${folder}/three` })).rejects.toThrow(/no store .*three open/);

    for (const volume of ["e1.0", "e1.1"]) {
      const store = await api.store({ volume });
      await store.createSnapshot(volume, volume);
      expect(await store.snapshots()).toMatchObject([{ id: "1", volume }]);
      await store.clone("1", `copy-${volume}`);
    }
    const one = await api.store({ volume: "e1.1" });
    await expect(one.createSnapshot("absent", "")).rejects.toThrow(UsageError);
    const seen: Progress[] = [];
    const control = {
      onProgress: (progress: Progress) => void seen.push(progress),
      signal: new AbortController().signal,
    };
    expect(await one.run("verify", { snapshot: "1" }, control)).toMatchObject({ damaged: [] });
    const send = { snapshot: "1", to: `${folder}/two` };
    await expect(one.run("send", send, control)).rejects.toThrow(/another worker of this server/);

    await api.addTarget({ shelf: 1, slot: 2, volume: "copy-e1.1" });
    await expect(api.addTarget({ shelf: 1, slot: 2, volume: "copy-e1.0" })).rejects.toThrow(
      /e1\.2 is served already/,
    );
    await api.removeTarget(1, 2);
    const [failed] = await ask([mac, 1, 2, read(0, 1)]);
    expect(failed.ata.status & 0x21).toBe(0x21);
    // A refusal leaves it as it was: the fault of the removed target is still answered.
    await expect(
      api.addTarget({ shelf: 1, slot: 2, volume: "absent", store: `${folder}/two` }),
    ).rejects.toThrow(/no volume absent/);
    expect(await ask([mac, 1, 2, read(0, 1)])).toHaveLength(1);
    await api.addTarget({ shelf: 1, slot: 2, volume: "copy-e1.0" });
    const [good, ...more] = await ask([mac, 1, 2, read(0, 1)]);
    expect(more).toEqual([]);
    expect(good.ata.status & 0x21).toBe(0);
    await expect(api.removeTarget(1, 9)).rejects.toThrow("e1.9: this server has no such target");
  },
);

test.each([
  ["ends with an error", (thread: Thread) => thread.postMessage(null)],
  ["is ended", (thread: Thread) => void thread.terminate()],
])("a worker that %s is noticed, and the others stop in order", async (_how, kill) => {
  const { server, threads, socketsBefore } = await start(MEMORY);
  expect(packetSockets()).toBe(socketsBefore + 2);
  const exits = threads.map(async (thread) => {
    return new Promise((resolve) => thread.once("exit", resolve));
  });
  kill(threads[1]);
  expect((await server.failed).message).toMatch(/^worker 1 has ended: /);
  await expect(server.api.status()).rejects.toThrow(/^worker 1 has ended: /);
  await server.stop();
  await Promise.all(exits);
  expect(packetSockets()).toBe(socketsBefore);
});
