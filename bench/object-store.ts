import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { FrameArena } from "../src/arena/frame-arena.ts";
import type { CasStore } from "../src/cas/cas-store.ts";
import type { Volume } from "../src/cas/volume.ts";
import type { ObjectStoreSettings } from "../src/object/object-store-settings.ts";
import { openStoreAt } from "../src/server/store-place.ts";
import { BlockRequest, BlockStatus } from "../src/storage/block-storage.ts";

/**
 * Volumes in an object store beside the same in a local one, without the network of AoE: durable
 * writes, what an upload costs, how soon another machine answers, and how fast it reads what only the
 * object store has. scripts/bench-objects.sh starts a Ceph gateway and runs this.
 */
const GIB = 2 ** 30;
const VOLUME_BYTES = 100 * GIB;
const WRITTEN_BYTES = Number(process.env["AOED_BENCH_BYTES"] ?? GIB);
const ROUNDS = 3;
const ROUND_MS = 3000;
const WINDOW = 64;
const READ_SECTORS = 128;
const READ_WINDOW = 16;

const arena = new FrameArena(1024);

class Request extends BlockRequest {
  onDone: () => void = () => {};

  completed(): void {
    if (this.status !== BlockStatus.ok) throw new Error(`a request failed: ${this.status}`);
    this.onDone();
  }
}

/** Keeps a window of requests going until `next` has no more. @returns how many there were */
function drive(
  volume: Volume,
  kind: "read" | "write",
  window: number,
  lengthSectors: number,
  next: (request: BlockRequest) => boolean,
): Promise<number> {
  let running = 0;
  let count = 0;
  return new Promise((resolve) => {
    for (let place = 0; place < window; place++) {
      const request = new Request();
      request.memoryOffset = place * lengthSectors * 512;
      request.lengthSectors = lengthSectors;
      request.onDone = () => {
        running--;
        queueMicrotask(() => begin(request));
      };
      begin(request);
    }
    volume.submit();

    function begin(request: Request): void {
      if (next(request)) {
        count++;
        running++;
        volume[kind](request);
        volume.submit();
      } else if (running === 0) {
        resolve(count);
      }
    }
  });
}

let salt = 0;

/** Content that no block had before. */
function fillUnique(offset: number, lengthBytes: number): void {
  for (let at = offset; at < offset + lengthBytes; at += 4096) {
    new Uint32Array(arena.memory, at, 2).set([++salt, 0x5eed]);
  }
}

async function writeFor(volume: Volume, durationMs: number): Promise<number> {
  const end = performance.now() + durationMs;
  const begun = performance.now();
  const count = await drive(volume, "write", WINDOW, 8, (request) => {
    fillUnique(request.memoryOffset, 4096);
    request.lba = Math.floor(Math.random() * (WRITTEN_BYTES / 4096)) * 8;
    return performance.now() < end;
  });
  return count / ((performance.now() - begun) / 1000);
}

async function writeAll(volume: Volume): Promise<void> {
  let lba = 0;
  await drive(volume, "write", READ_WINDOW, READ_SECTORS, (request) => {
    fillUnique(request.memoryOffset, READ_SECTORS * 512);
    request.lba = lba;
    lba += READ_SECTORS;
    return request.lba < WRITTEN_BYTES / 512;
  });
}

async function readAll(volume: Volume): Promise<void> {
  let lba = 0;
  await drive(volume, "read", READ_WINDOW, READ_SECTORS, (request) => {
    request.lba = lba;
    lba += READ_SECTORS;
    return request.lba < WRITTEN_BYTES / 512;
  });
}

async function newBucket(folder: string, name = "first"): Promise<ObjectStoreSettings> {
  const { AOED_TEST_S3_ENDPOINT: endpoint, AOED_TEST_S3_ACCESS_KEY: accessKeyId = "" } =
    process.env;
  const secretAccessKey = process.env["AOED_TEST_S3_SECRET_KEY"] ?? "";
  if (endpoint === undefined) {
    // Without a service a folder shows what the project's own part costs.
    return { kind: "directory", path: join(folder, `bucket-${name}`) };
  }
  const bucket = `bench-${randomBytes(6).toString("hex")}`;
  const credentials = { accessKeyId, secretAccessKey };
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
  const credentialsFile = join(folder, "credentials");
  const lines = [
    `aws_access_key_id = ${accessKeyId}`,
    `aws_secret_access_key = ${secretAccessKey}`,
  ];
  writeFileSync(credentialsFile, `[default]\n${lines.join("\n")}\n`, { mode: 0o600 });
  const common = { prefix: "", region: undefined, profile: undefined, unsafeSingleWriter: false };
  return { kind: "s3", bucket, endpoint, pathStyle: true, credentialsFile, ...common };
}

async function openVolume(cas: CasStore): Promise<Volume> {
  if (cas.catalog.volumeNamed("disk") === undefined) await cas.createVolume("disk", VOLUME_BYTES);
  return cas.openVolume("disk", { memory: arena.bytes, cacheBytes: 32 * 2 ** 20 });
}

function median(values: number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)];
}

async function sent(cas: CasStore): Promise<void> {
  while ((cas.store.remote?.dirtyBytes ?? 0) > 0) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const parent = process.env["TMPDIR"] ?? join(import.meta.dirname, "build");
mkdirSync(parent, { recursive: true });
const folder = mkdtempSync(join(parent, "objects-"));
const log = (_level: string, message: string): void => void process.stderr.write(`${message}\n`);
try {
  const settings = await newBucket(folder);
  const place = (name: string) => ({
    path: join(folder, name),
    remote: { settings, front: { uploadIntervalMs: 5000 }, readOnly: false },
  });
  const local = await openStoreAt({ path: join(folder, "local") }, log);
  const remote = await openStoreAt(place("front"), log);
  const volumes = { local: await openVolume(local), remote: await openVolume(remote) };
  const rates: Record<"local" | "remote", number[]> = { local: [], remote: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of ["local", "remote"] as const) {
      rates[name].push(await writeFor(volumes[name], ROUND_MS));
      await sent(remote);
    }
  }
  await local.close();
  await remote.close();

  const second = { ...place("").remote, settings: await newBucket(folder, "second") };
  const again = await openStoreAt({ path: join(folder, "front-2"), remote: second }, log);
  const volume = await openVolume(again);
  const putsBefore = again.store.remote?.puts ?? 0;
  const writeBegan = performance.now();
  await writeAll(volume);
  const writeSeconds = (performance.now() - writeBegan) / 1000;
  await sent(again);
  const sentSeconds = (performance.now() - writeBegan) / 1000;
  const puts = (again.store.remote?.puts ?? 0) - putsBefore;
  await again.close();
  rmSync(join(folder, "front-2"), { recursive: true });

  const attachBegan = performance.now();
  const elsewhere = await openStoreAt({ path: join(folder, "elsewhere"), remote: second }, log);
  const moved = await openVolume(elsewhere);
  let asked = false;
  await drive(moved, "read", 1, 8, (request) => {
    request.lba = (WRITTEN_BYTES / 512 / 2) & ~7;
    const isFirst = !asked;
    asked = true;
    return isFirst;
  });
  const attachSeconds = (performance.now() - attachBegan) / 1000;
  const readBegan = performance.now();
  const processorBefore = process.cpuUsage();
  await readAll(moved);
  const processor = process.cpuUsage(processorBefore);
  const readSeconds = (performance.now() - readBegan) / 1000;
  await elsewhere.close();

  const gib = WRITTEN_BYTES / GIB;
  const figures = {
    service: settings.kind,
    durableWritesLocal: Math.round(median(rates.local)),
    durableWritesRemote: Math.round(median(rates.remote)),
    ratio: Number((median(rates.remote) / median(rates.local)).toFixed(2)),
    writtenMegabytesPerSecond: Math.round(WRITTEN_BYTES / 1e6 / writeSeconds),
    sentMegabytesPerSecond: Math.round(WRITTEN_BYTES / 1e6 / sentSeconds),
    putsPerGib: Math.round(puts / gib),
    attachSeconds: Number(attachSeconds.toFixed(2)),
    coldReadMegabytesPerSecond: Math.round(WRITTEN_BYTES / 1e6 / readSeconds),
    // What a busy machine does not change much.
    coldReadProcessorSecondsPerGib: Number(
      ((processor.user + processor.system) / 1e6 / gib).toFixed(2),
    ),
  };
  process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
