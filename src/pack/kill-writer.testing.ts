import { writeSync } from "node:fs";
import { BlockRequest, BlockStatus, type Durability } from "../storage/block-storage.ts";
import { Snapshots } from "../cas/snapshots.ts";
import { openDirectoryStore } from "./directory-store.testing.ts";

/**
 * A process to be killed: writes blocks of a volume in an object store for ever, and says on
 * standard output, a line each, what was acknowledged. Arguments: the local folder, that of the
 * object store, the durability, and a number that all of its values begin at.
 */
const [folder = "", bucket = "", durability = "durable", start = "1"] = process.argv.slice(2);
const BLOCKS = 2000;
const AT_ONCE = 16;

const memory = new Uint8Array(AT_ONCE * 4096);
const cas = await openDirectoryStore(folder, bucket);
if (cas.catalog.volumeNamed("disk") === undefined) await cas.createVolume("disk", BLOCKS * 4096);
const volume = cas.openVolume("disk", {
  memory,
  cacheBytes: 1024 * 1024,
  durability: durability as Durability,
});

let value = Number(start);
let block = value * 7919;

class Write extends BlockRequest {
  value = 0;

  begin(): void {
    this.value = value++;
    block = (block * 1103515245 + 12345) % 2147483648;
    this.lba = (block % BLOCKS) * 8;
    this.lengthSectors = 8;
    new Uint32Array(memory.buffer, this.memoryOffset, 1024).fill(this.value);
    writeSync(1, `begin ${this.lba / 8} ${this.value}\n`);
    volume.write(this);
  }

  completed(): void {
    if (this.status !== BlockStatus.ok) {
      writeSync(1, `refused ${this.status} ${cas.store.remote?.fenced}\n`);
      return;
    }
    writeSync(1, `done ${this.lba / 8} ${this.value}\n`);
    setImmediate(() => {
      this.begin();
      volume.submit();
    });
  }
}

for (let index = 0; index < AT_ONCE; index++) {
  const write = new Write();
  write.memoryOffset = index * 4096;
  write.begin();
}
volume.submit();
const snapshots = new Snapshots(cas);
while (cas.store.fault === undefined) {
  await snapshots.create("disk").catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 50));
}
