import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { FrameArena } from "../src/arena/frame-arena.ts";
import type { CasStore } from "../src/cas/cas-store.ts";
import type { Volume } from "../src/cas/volume.ts";
import type { ObjectStoreSettings } from "../src/object/object-store-settings.ts";
import { openStoreAt } from "../src/server/store-place.ts";
import { BlockRequest, BlockStatus } from "../src/storage/block-storage.ts";
import { describeMachine } from "./machine.ts";
import { writeForCaller } from "./output.ts";
import { insertFigures } from "./report.ts";

/**
 * Volumes in an object store beside the same in a local one, without the network of AoE: durable
 * writes, what an upload costs, how soon another machine answers, and how fast it reads what only the
 * object store has. scripts/bench-objects.sh starts a Ceph gateway and runs this.
 */
const USAGE = `usage: scripts/bench-objects.sh [--only PATTERN] [--no-table]
  Volumes in an object store beside local ones: burst, sustained, apart, move.
  --only      only those whose name matches
  --no-table  leave docs/benchmarks.md alone`;
const GIB = 2 ** 30;
const VOLUME_BYTES = 100 * GIB;
const WRITTEN_BYTES = Number(process.env["AOED_BENCH_BYTES"] ?? GIB);
const ROUNDS = 3;
/** Shorter than what uploads may wait (`upload_interval`), and far longer. */
const BURST_MS = 3000;
const SUSTAINED_MS = 15_000;
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

async function newBucket(folder: string, name: string): Promise<ObjectStoreSettings> {
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

interface Row {
  readonly what: string;
  readonly asked: string;
  readonly measured: string;
  readonly beside: string;
}

const log = (_level: string, message: string): void => void process.stderr.write(`${message}\n`);

const perSecond = (rate: number): string => `${Math.round(rate / 100) / 10} k/s`;

/** Durable writes of both kinds of store, in turns. */
async function compareWrites(folder: string, what: string, rounds: number, durationMs: number) {
  const settings = await newBucket(folder, what);
  const front = { uploadIntervalMs: 5000 };
  const local = await openStoreAt({ path: join(folder, `local-${what}`) }, log);
  const path = join(folder, `front-${what}`);
  const remote = await openStoreAt({ path, remote: { settings, front, readOnly: false } }, log);
  const volumes = { local: await openVolume(local), remote: await openVolume(remote) };
  const rates: Record<"local" | "remote", number[]> = { local: [], remote: [] };
  let lagMs = 0;
  for (let round = 0; round < rounds; round++) {
    for (const name of ["local", "remote"] as const) {
      rates[name].push(await writeFor(volumes[name], durationMs));
      lagMs = Math.max(lagMs, remote.store.remote?.lagMs ?? 0);
      await sent(remote);
    }
  }
  await local.close();
  await remote.close();
  const ratio = median(rates.remote) / median(rates.local);
  return {
    measured: ratio.toFixed(2),
    beside: `${perSecond(median(rates.remote))} beside ${perSecond(median(rates.local))}; up to ${(lagMs / 1000).toFixed(1)} s behind`,
  };
}

async function measureBurst(folder: string): Promise<Row[]> {
  const figures = await compareWrites(folder, "burst", ROUNDS, BURST_MS);
  const what = `durable writes of 4 KiB for ${BURST_MS / 1000} s, ÷ a local store`;
  return [{ what, asked: "≥ 0.8", ...figures }];
}

async function measureSustained(folder: string): Promise<Row[]> {
  const figures = await compareWrites(folder, "sustained", 1, SUSTAINED_MS);
  const seconds = SUSTAINED_MS / 1000;
  const what = `the same for ${seconds} s: uploads, gateway and writer share the processors`;
  return [{ what, asked: "", ...figures }];
}

/** On a processor of their own: the server here, the gateway there. */
async function measureApart(folder: string): Promise<Row[]> {
  const gateway = (process.env["AOED_BENCH_GATEWAY_PIDS"] ?? "").split(" ").filter(Boolean);
  if (gateway.length === 0 || cpus().length < 2) return [];
  const pin = (pid: string | number, processors: string): void =>
    void execFileSync("taskset", ["-a", "-c", "-p", processors, String(pid)], { stdio: "ignore" });
  const everything = `0-${cpus().length - 1}`;
  pin(process.pid, "0");
  for (const pid of gateway) pin(pid, "1");
  try {
    const figures = await compareWrites(folder, "apart", 1, SUSTAINED_MS);
    const what = "the same, both stores on one processor and the gateway on another";
    return [{ what, asked: "", ...figures }];
  } finally {
    for (const pid of [process.pid, ...gateway]) pin(pid, everything);
  }
}

/** A volume is written, and another machine, that is a new folder, attaches it. */
async function measureMove(folder: string): Promise<Row[]> {
  const settings = await newBucket(folder, "move");
  const remote = { settings, front: { uploadIntervalMs: 5000 }, readOnly: false };
  const here = await openStoreAt({ path: join(folder, "here"), remote }, log);
  const volume = await openVolume(here);
  const putsBefore = here.store.remote?.puts ?? 0;
  const writeBegan = performance.now();
  await writeAll(volume);
  await sent(here);
  const sentSeconds = (performance.now() - writeBegan) / 1000;
  const puts = (here.store.remote?.puts ?? 0) - putsBefore;
  await here.close();
  rmSync(join(folder, "here"), { recursive: true });

  const attachBegan = performance.now();
  const elsewhere = await openStoreAt({ path: join(folder, "elsewhere"), remote }, log);
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
  const megabytes = WRITTEN_BYTES / 1e6;
  const processorSeconds = (processor.user + processor.system) / 1e6 / gib;
  return [
    {
      what: "puts for each GiB written in order, heads and lease included",
      asked: "≤ 100",
      measured: String(Math.round(puts / gib)),
      beside: `all is in the store after ${Math.round(megabytes / sentSeconds)} MB/s`,
    },
    {
      what: `a volume of 100 GiB with ${Math.round(gib * 1024)} MiB written, attached with an empty folder until the first read is answered`,
      asked: "< 2 s",
      measured: `${attachSeconds.toFixed(2)} s`,
      beside: "",
    },
    {
      what: "sequential cold read",
      asked: "≥ 100 MB/s",
      measured: `${Math.round(megabytes / readSeconds)} MB/s`,
      beside: `${processorSeconds.toFixed(1)} s of processor time a GiB`,
    },
  ];
}

const MEASURES: readonly [name: string, measure: (folder: string) => Promise<Row[]>][] = [
  ["burst", measureBurst],
  ["sustained", measureSustained],
  ["apart", measureApart],
  ["move", measureMove],
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      "no-table": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return void process.stdout.write(`${USAGE}\n`);
  const pattern = new RegExp(values.only ?? "");
  const parent = process.env["TMPDIR"] ?? join(import.meta.dirname, "build");
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, "objects-"));
  const rows: Row[] = [];
  try {
    for (const [name, measure] of MEASURES) {
      if (pattern.test(name)) rows.push(...(await measure(folder)));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const { processor, processors, kernel, loadAverage } = await describeMachine(parent);
  const service =
    process.env["AOED_TEST_S3_ENDPOINT"] === undefined ? "a folder" : "a Ceph gateway";
  const figures = [
    `Measured ${new Date().toISOString().slice(0, 10)} with ${service} on the same machine: ` +
      `${processors} processors (${processor}), Linux ${kernel}, load average at the end ` +
      `${loadAverage.toFixed(2)}.`,
    "",
    "| what | asked | measured | beside it |",
    "|---|---|---:|---|",
    ...rows.map(
      ({ what, asked, measured, beside }) => `| ${what} | ${asked} | ${measured} | ${beside} |`,
    ),
    "",
  ].join("\n");
  process.stdout.write(`${figures}\n`);
  if (values.only !== undefined || values["no-table"]) return;
  const document = join(import.meta.dirname, "../docs/benchmarks.md");
  writeForCaller(document, insertFigures(readFileSync(document, "utf8"), figures, "objects"));
}

await main();
