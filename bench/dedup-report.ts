import { createReadStream, readdirSync, readFileSync, statSync } from "node:fs";
import { hash } from "node:crypto";
import { dirname, join } from "node:path";
import { writeForCaller } from "./output.ts";
import { insertFigures } from "./report.ts";

/**
 * The end of bench/dedup.sh: what the images have in common, counted from their bytes alone, beside
 * what the store says that it took for them. `dedup-report.ts FOLDER NAME…`, in the order of import.
 */
const BLOCK_BYTES = 4096;
const MEBIBYTE = 2 ** 20;

interface Version {
  readonly name: string;
  readonly filledBlocks: number;
  /** Blocks that are neither zero nor in this image or one before it already. */
  readonly newBlocks: number;
  readonly storedBytes: number;
}

async function countBlocks(path: string, known: Set<string>): Promise<[number, number]> {
  const zero = Buffer.alloc(BLOCK_BYTES);
  let filled = 0;
  let before = known.size;
  for await (const chunk of createReadStream(path, { highWaterMark: MEBIBYTE })) {
    const bytes = chunk as Buffer;
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      const block = bytes.subarray(at, at + BLOCK_BYTES);
      if (block.equals(zero)) continue;
      filled++;
      known.add(hash("sha256", block, "base64"));
    }
  }
  return [filled, known.size - before];
}

function mebibytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(1);
}

const [folder, ...names] = process.argv.slice(2);
const known = new Set<string>();
const versions: Version[] = [];
for (const name of names) {
  const [filledBlocks, newBlocks] = await countBlocks(join(folder, `${name}.img`), known);
  const report = JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as {
    storedBytes: number;
  };
  versions.push({ name, filledBlocks, newBlocks, storedBytes: report.storedBytes });
}
const filled = versions.reduce((sum, { filledBlocks }) => sum + filledBlocks, 0) * BLOCK_BYTES;
const stored = versions.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
const store = join(folder, "store");
const diskBytes = readdirSync(store).reduce(
  (sum, name) => sum + statSync(join(store, name)).size,
  0,
);
const images = names.reduce((sum, name) => sum + statSync(join(folder, `${name}.img`)).size, 0);

const rows = versions.map(
  ({ name, filledBlocks, newBlocks, storedBytes }) =>
    `| ${name} | ${mebibytes(filledBlocks * BLOCK_BYTES)} | ${filledBlocks} | ${newBlocks} | ` +
    `${mebibytes(storedBytes)} | ${((filledBlocks * BLOCK_BYTES) / storedBytes).toFixed(2)} |`,
);
const figures = [
  "| version | MiB that are not zero | blocks | of them new | MiB stored for it | ratio |",
  "|---|---:|---:|---:|---:|---:|",
  ...rows,
  `| both | ${mebibytes(filled)} | ${filled / BLOCK_BYTES} | ${known.size} | ${mebibytes(stored)} | ` +
    `${(filled / stored).toFixed(2)} |`,
  "",
  `The images have ${mebibytes(images)} MiB; the files of the store ${mebibytes(diskBytes)} MiB, with`,
  "the log's own records and one segment kept in reserve.",
].join("\n");
process.stdout.write(`${figures}\n`);
const document = join(dirname(import.meta.dirname), "docs/benchmarks.md");
writeForCaller(document, insertFigures(readFileSync(document, "utf8"), figures, "dedup"));
