import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import type { SnapshotStatus } from "../control/store-api.ts";
import { Workplace } from "./run-aoed.testing.ts";

const workplace = new Workplace();

afterAll(() => workplace.remove());

async function aoed(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await workplace.aoed(...words);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return stdout;
}

async function snapshotsIn(store: string): Promise<SnapshotStatus[]> {
  return JSON.parse(await aoed("snapshot", "list", "--store", store, "--json")) as SnapshotStatus[];
}

function storeFile(name: string, ...lines: string[]): void {
  const table = ["[directory]", 'path = "bucket"'];
  writeFileSync(
    workplace.path(name),
    ['blob_store = "directory"', ...lines, ...table, ""].join("\n"),
  );
}

test("a file that says where a store is stands for it in every command", async () => {
  storeFile("archive.toml", 'path = "front"');
  storeFile("reader.toml", 'path = "reader"', "read_only = true");
  const image = Buffer.concat([randomBytes(300_032), Buffer.alloc(600_064), randomBytes(512)]);
  writeFileSync(workplace.path("disk.img"), image);
  await aoed("import", "disk.img", "--into", "local", "--volume", "disk");
  const [{ id, root_hash: rootHash }] = await snapshotsIn("local");

  await aoed("send", id, "--from", "local", "--to", "archive.toml");
  expect((await snapshotsIn("archive.toml"))[0].root_hash).toBe(rootHash);
  const again = await aoed("send", id, "--from", "local", "--to", "archive.toml", "--json");
  expect(JSON.parse(again)).toMatchObject({ moved: 0 });

  // Whoever comes next has the object store alone.
  rmSync(workplace.path("front"), { recursive: true });
  await aoed("verify", (await snapshotsIn("archive.toml"))[0].id, "--store", "archive.toml");
  await aoed("gc", "--store", "archive.toml");
  const [sent] = await snapshotsIn("reader.toml");
  await aoed("receive", sent.id, "--from", "reader.toml", "--to", "another");
  const [received] = await snapshotsIn("another");
  expect(received.root_hash).toBe(rootHash);
  await aoed("export", received.id, "copy.img", "--from", "another");
  expect(image.equals(readFileSync(workplace.path("copy.img")))).toBe(true);
}, 120_000);

test("a mistake in it is one line with its place, and nothing is made", async () => {
  writeFileSync(
    workplace.path("bad.toml"),
    'blob_store = "s3"\npath = "bad"\n[s3]\nbuckt = "disks"\n',
  );
  const { code, stderr } = await workplace.aoed("gc", "--store", "bad.toml");
  expect(code).toBe(2);
  expect(stderr).toMatch(/bad.toml:3:2: s3.bucket: is missing.*\(and 1 more/);
  expect(stderr.trimEnd()).not.toContain("\n");
  expect(existsSync(workplace.path("bad"))).toBe(false);
});

test("a store that is damaged is one line, and leaves no image", async () => {
  const block = randomBytes(4096);
  writeFileSync(workplace.path("block.img"), block);
  await aoed("import", "block.img", "--into", "damaged", "--volume", "disk");
  const segments = workplace.contents().filter((name) => name.startsWith("damaged/segment-"));
  for (const path of segments.map((name) => workplace.path(name))) {
    const bytes = readFileSync(path);
    const at = bytes.indexOf(block);
    if (at < 0) continue;
    bytes[at] ^= 1;
    writeFileSync(path, bytes);
  }
  const outcome = await workplace.aoed("export", "disk", "out.img", "--from", "damaged");
  expect(outcome).toMatchObject({ code: 1, stdout: "" });
  expect(outcome.stderr).toMatch(/^aoed: blocks 0 to 0 cannot be read: blob [0-9a-f]+\n$/);
  expect(workplace.contents().filter((name) => name.startsWith("out.img"))).toEqual([]);
});
