import { writeSync } from "node:fs";
import { endlessMemory, writeEndlessly } from "./endless-writes.testing.ts";
import { openCasStore } from "./open-cas-store.ts";
import { Snapshots } from "./snapshots.ts";

/**
 * A process to be killed: writes blocks of a volume for ever, and takes snapshots, which it says as
 * well ("snapshot ID ROOT"). Arguments: the folder, and the number that all of its values begin at.
 */
const [folder = "", firstValue = "1"] = process.argv.slice(2);
const BLOCKS = 4000;

const cas = await openCasStore(folder, { tailLimitBytes: 4_000_000, dirtyLimitBlocks: 1000 });
if (cas.volumes().length === 0) await cas.createVolume("disk", BLOCKS * 4096);
const volume = cas.openVolume("disk", { memory: endlessMemory, cacheBytes: 1024 * 1024 });
writeEndlessly(volume, {
  blocks: BLOCKS,
  firstValue: Number(firstValue),
  refused: (status) => {
    throw new Error(`a write failed: ${status}`);
  },
});
const snapshots = new Snapshots(cas);
for (;;) {
  const { id, root_hash } = await snapshots.create("disk");
  writeSync(1, `snapshot ${id} ${root_hash}\n`);
  if (Number(id) > 3) await snapshots.delete(String(Number(id) - 3));
}
