import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, test, vi } from "vitest";
import { describeBlobStore, RecordedNotes } from "../src/blob/blob-store.compliance.ts";
import type { NoteReader } from "../src/blob/blob-store.ts";
import { hashOf } from "../src/blob/hash.ts";
import { NodeDisk } from "../src/blob/node-disk.ts";
import { openFileStore } from "../src/blob/open-file-store.ts";
import { CasStore } from "../src/cas/cas-store.ts";
import { exportImage } from "../src/cas/export.ts";
import { GarbageCollector } from "../src/cas/garbage-collector.ts";
import { importImage } from "../src/cas/import.ts";
import { Snapshots } from "../src/cas/snapshots.ts";
import { sendSnapshot } from "../src/cas/transfer.ts";
import { verifySnapshot } from "../src/cas/verify.ts";
import type { ObjectStoreSettings } from "../src/object/object-store-settings.ts";
import { openAdapter, openObjectStore } from "../src/object/open-object-store.ts";
import { openPackedStore } from "../src/pack/open-packed-store.ts";
import type { PackedStoreOptions } from "../src/pack/packed-store-options.ts";
import type { PackedStore } from "../src/pack/packed-store.ts";
import { newBucket, newContainer, startedAzure, startedS3 } from "./services.testing.ts";

/** Stores in packs, on services that are real. */

const MIB = 1024 * 1024;
const folders: string[] = [];
const endings: (() => Promise<void>)[] = [];

afterAll(async () => {
  for (const end of endings) await end();
  for (const folder of folders) await rm(folder, { recursive: true });
});

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "aoed-packed-"));
  folders.push(folder);
  return folder;
}

interface Service {
  readonly name: string;
  /** The process that answers; a folder has none. */
  readonly process?: string | undefined;
  /** Undefined where it is not started. */
  readonly settings: (() => Promise<ObjectStoreSettings>) | undefined;
}

const s3 = startedS3();
const azure = startedAzure();
const services: Service[] = [
  {
    name: "S3",
    process: process.env["AOED_TEST_S3_PID"],
    settings: s3 && (async () => kept(await newBucket(s3))),
  },
  {
    name: "Azure",
    process: process.env["AOED_TEST_AZURE_PID"],
    settings: azure === undefined ? undefined : async () => kept(await newContainer(azure)),
  },
  {
    name: "a directory",
    settings: async () => ({ kind: "directory", path: join(await newFolder(), "objects") }),
  },
];

function kept<Settings>(store: { settings: Settings; remove: () => Promise<void> }): Settings {
  endings.push(store.remove);
  return store.settings;
}

async function openPacked(
  settings: ObjectStoreSettings,
  folder: string,
  reader: NoteReader,
  options: Partial<PackedStoreOptions> = {},
): Promise<PackedStore> {
  const warn = (message: string): void => expect.fail(message);
  return openPackedStore({
    // As the server has it: the store itself tries on, and says so in its status.
    objects: await openObjectStore(settings, { warn, retry: { deadlineMs: 10_000 } }),
    disk: await NodeDisk.open(folder),
    reader,
    host: "test",
    segmentBytes: MIB,
    ...options,
  });
}

/** Flips a bit in the pack that has these bytes. */
async function damageIn(settings: ObjectStoreSettings, data: Uint8Array): Promise<void> {
  const objects = await openAdapter(settings);
  for await (const { key } of objects.list("packs/")) {
    const pack = await objects.get(key);
    const at = Buffer.from(pack.data).indexOf(data);
    if (at < 0) continue;
    pack.data[at + 100] ^= 1;
    await objects.putIfMatch(key, pack.data, pack.etag);
    await objects.close();
    return;
  }
  throw new Error("the blob is in no pack");
}

for (const { name, settings } of services) {
  if (settings === undefined) {
    describe.skip(`a store in packs on ${name}: not started`, () => {
      test("is not tested", () => undefined);
    });
    continue;
  }
  /** Every reopen forgets the local folder. */
  describeBlobStore(`A store in packs on ${name}, from there alone`, async () => {
    const place = await settings();
    return {
      open: async (reader) => openPacked(place, await newFolder(), reader),
      damage: async (data) => damageIn(place, data),
    };
  });
}

const log = (_level: string, message: string): void => expect.fail(message);

async function openCas(settings: ObjectStoreSettings, folder: string): Promise<CasStore> {
  return CasStore.open({ open: async (reader) => openPacked(settings, folder, reader), log });
}

const startedServices = services.filter(({ settings }) => settings !== undefined);

test("a snapshot goes from a local store to all others and back, and nothing goes twice", async () => {
  const folder = await newFolder();
  const image = Buffer.concat([randomBytes(3 * MIB), Buffer.alloc(5 * MIB), randomBytes(MIB)]);
  await writeFile(join(folder, "image"), image);
  await mkdir(join(folder, "local"));
  const local = await CasStore.open({
    open: async (reader) => openFileStore(join(folder, "local"), reader),
    log,
  });
  const { snapshot } = await importImage(local, join(folder, "image"), { volume: "disk" });

  let from = local;
  for (const { name, settings } of startedServices) {
    if (settings === undefined) continue;
    const place = await settings();
    const first = await openCas(place, await newFolder());
    const report = await sendSnapshot(from, new Snapshots(from).list("disk")[0].id, first);
    expect(report.snapshot.root_hash, name).toBe(snapshot.root_hash);
    expect(report.movedBytes, name).toBeGreaterThan(4 * MIB);
    const again = await sendSnapshot(from, new Snapshots(from).list("disk")[0].id, first);
    expect({ moved: again.moved, movedBytes: again.movedBytes }, name).toEqual({
      moved: 0,
      movedBytes: 0,
    });
    await first.close();
    await from.close();
    // The next one gets it from a machine that has nothing but the object store.
    from = await openCas(place, await newFolder());
  }

  const [{ id }] = new Snapshots(from).list("disk");
  const { damaged } = await verifySnapshot(from, id);
  expect(damaged).toEqual([]);
  await exportImage(from, join(folder, "copy"), { snapshot: id });
  expect(image.equals(await readFile(join(folder, "copy")))).toBe(true);

  for (const each of new Snapshots(from).list()) await new Snapshots(from).delete(each.id);
  await new GarbageCollector(from).collect();
  expect(from.store.statistics.blobBytes).toBeLessThan(MIB);
  await from.close();
}, 600_000);

/** Long enough for connections to hang, tries to end, and writes to reach their limit. */
const OUTAGE_MS = 60_000;
const MAX_DIRTY_BYTES = 4 * MIB;

for (const { name, process: service, settings } of startedServices) {
  if (service === undefined || settings === undefined) continue;

  test(`${name} hangs for ${OUTAGE_MS / 1000} s under load: nothing fails, writes wait, all arrives`, async () => {
    const place = await settings();
    const options = { maxDirtyBytes: MAX_DIRTY_BYTES, uploadIntervalMs: 200 };
    const store = await openPacked(place, await newFolder(), new RecordedNotes(), options);
    const written: Buffer[] = [];
    const ending = new AbortController();
    const writing = (async () => {
      while (!ending.signal.aborted) {
        const data = randomBytes(64 * 1024);
        await store.put(hashOf(data), data);
        written.push(data);
        await delay(5);
      }
    })();
    await vi.waitUntil(() => written.length > 20, 120_000);

    process.kill(Number(service), "SIGSTOP");
    const since = performance.now();
    try {
      await vi.waitUntil(() => (store.remote?.dirtyBytes ?? NaN) > MAX_DIRTY_BYTES / 2, 60_000);
      while (performance.now() - since < OUTAGE_MS) {
        // What was written is read, whether writes wait or not.
        const data = written[written.length >> 1];
        expect(data.equals(await store.get(hashOf(data)))).toBe(true);
        await delay(200);
      }
      expect(store.remote?.dirtyBytes ?? NaN).toBeLessThan(2 * MAX_DIRTY_BYTES);
      await vi.waitUntil(() => store.remote?.trouble != null, 60_000);
    } finally {
      process.kill(Number(service), "SIGCONT");
    }

    const before = written.length;
    await vi.waitUntil(() => written.length > before + 20, 120_000);
    ending.abort();
    await writing;
    await vi.waitUntil(() => (store.remote?.dirtyBytes ?? NaN) === 0, 120_000);
    await store.close();
    const elsewhere = await openPacked(place, await newFolder(), new RecordedNotes());
    for (const data of written) expect(data.equals(await elsewhere.get(hashOf(data)))).toBe(true);
    await elsewhere.close();
  }, 900_000);
}
