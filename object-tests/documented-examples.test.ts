import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { FrameArena } from "../src/arena/frame-arena.ts";
import { loadConfiguration } from "../src/config/load.ts";
import { createLog } from "../src/log/log.ts";
import { ServerStores } from "../src/server/server-stores.ts";
import { BlockRequest, BlockStatus } from "../src/storage/block-storage.ts";
import { newBucket, newContainer, startedAzure, startedS3 } from "./services.testing.ts";

/** The examples of docs/object-stores.md, as they stand there but for places, served as a server does. */

const page = await readFile(new URL("../docs/object-stores.md", import.meta.url), "utf8");
const folders: string[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

/** The first block of TOML below a heading. */
function exampleOf(heading: string): string {
  const section = page.slice(page.indexOf(`\n## ${heading}\n`));
  const example = /```toml\n(.*?)```/s.exec(section)?.[1];
  if (example === undefined) throw new Error(`the section ${heading} has no example`);
  return example;
}

/** Each text must be there: an example that has changed is not tested by halves. */
function replaceAll(example: string, replacements: Record<string, string>): string {
  let text = example;
  for (const [from, to] of Object.entries(replacements)) {
    expect(text, from).toContain(from);
    text = text.replaceAll(from, to);
  }
  return text;
}

class Request extends BlockRequest {
  readonly #done = Promise.withResolvers<BlockStatus>();
  readonly done = this.#done.promise;

  completed(): void {
    this.#done.resolve(this.status);
  }
}

/** Opens the target of a configuration, writes a block or reads it, and stops in good order. */
async function serveOnce(file: string, kind: "read" | "write", memory: Uint8Array): Promise<void> {
  const configuration = loadConfiguration(file);
  const [target] = configuration.targets;
  const arena = new FrameArena(16);
  const log = createLog({ level: "error" });
  const stores = new ServerStores(arena, log, configuration.server.gc);
  try {
    await stores.targets.prepare(configuration.targets);
    const disk = await stores.targets.open(target);
    const request = new Request();
    request.lba = 4096;
    request.lengthSectors = 8;
    arena.bytes.set(kind === "write" ? memory : new Uint8Array(memory.length));
    disk[kind](request);
    disk.submit();
    expect(await request.done).toBe(BlockStatus.ok);
    memory.set(arena.bytes.subarray(0, memory.length));
    await disk.close();
  } finally {
    await stores.close();
  }
}

async function serveExample(
  heading: string,
  replacements: (folder: string) => Record<string, string>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "aoed-example-"));
  folders.push(folder);
  const file = join(folder, "aoed.toml");
  const written = new Uint8Array(4096).fill(0xa5);
  for (const machine of ["here", "elsewhere"]) {
    const path = { "/var/lib/aoed/e1.0": join(folder, machine) };
    const text = replaceAll(exampleOf(heading), { ...path, ...replacements(folder) });
    await writeFile(file, text);
    const memory = machine === "here" ? written.slice() : new Uint8Array(4096);
    await serveOnce(file, machine === "here" ? "write" : "read", memory);
    expect(Buffer.compare(memory, written)).toBe(0);
  }
}

test("the example of a folder is served, here and then elsewhere", async () => {
  await serveExample("A folder", (folder) => ({ "/mnt/nas/aoed/e1.0": join(folder, "share") }));
});

const s3 = startedS3();
test.skipIf(s3 === undefined)("the example of S3 is served, here and then elsewhere", async () => {
  if (s3 === undefined) return;
  const { settings, remove } = await newBucket(s3);
  await serveExample("S3", () => ({
    '"disks"': `"${settings.bucket}"`,
    "https://s3.example.org": s3.endpoint,
    "/etc/aoed/s3-credentials": settings.credentialsFile ?? "",
  }));
  await remove();
});

const azure = startedAzure();
test.skipIf(azure === undefined)("the example of Azure is served, as well", async () => {
  if (azure === undefined) return;
  const { settings, secrets, remove } = await newContainer(azure);
  const keyFile = settings.connectionStringFile ?? "";
  await writeFile(keyFile, `${secrets[0]}\n`);
  const account = /AccountName=([^;]+)/.exec(azure)?.[1] ?? "";
  const endpoint = /BlobEndpoint=([^;]+)/.exec(azure)?.[1] ?? "";
  await serveExample("Azure", () => ({
    'account = "labdisks"': `account = "${account}"\nendpoint = "${endpoint}"`,
    '"disks"': `"${settings.container}"`,
    "/etc/aoed/azure-key": keyFile,
  }));
  await remove();
});
