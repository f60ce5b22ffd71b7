import { writeSync } from "node:fs";
import { endlessMemory, writeEndlessly } from "../cas/endless-writes.testing.ts";
import { Snapshots } from "../cas/snapshots.ts";
import type { Durability } from "../storage/block-storage.ts";
import { openDirectoryStore } from "./directory-store.testing.ts";

/**
 * A process to be killed: writes blocks of a volume in an object store for ever, and says what was
 * refused as well ("refused STATUS REASON"). Arguments: the local folder, that of the object store,
 * the durability, and the number that all of its values begin at.
 */
const [folder = "", bucket = "", durability = "durable", firstValue = "1"] = process.argv.slice(2);
const BLOCKS = 2000;

const cas = await openDirectoryStore(folder, bucket);
if (cas.catalog.volumeNamed("disk") === undefined) await cas.createVolume("disk", BLOCKS * 4096);
const volume = cas.openVolume("disk", {
  memory: endlessMemory,
  cacheBytes: 1024 * 1024,
  durability: durability as Durability,
});
writeEndlessly(volume, {
  blocks: BLOCKS,
  firstValue: Number(firstValue),
  refused: (status) => writeSync(1, `refused ${status} ${cas.store.remote?.fenced}\n`),
});
const snapshots = new Snapshots(cas);
while (cas.store.fault === undefined) {
  await snapshots.create("disk").catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 50));
}
