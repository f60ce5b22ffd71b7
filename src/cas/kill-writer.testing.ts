import { writeSync } from "node:fs";
import { BlockRequest, BlockStatus } from "../storage/block-storage.ts";
import { openCasStore } from "./open-cas-store.ts";
import { Snapshots } from "./snapshots.ts";

/**
 * A process to be killed: writes blocks of a volume for ever, 16 at a time, and says on standard
 * output, a line each, what was acknowledged. Arguments: the folder, and a number that all of its
 * values begin at.
 */
const [folder = "", start = "1"] = process.argv.slice(2);
const BLOCKS = 4000;
const AT_ONCE = 16;

const memory = new Uint8Array(AT_ONCE * 4096);
const cas = await openCasStore(folder, { tailLimitBytes: 4_000_000, dirtyLimitBlocks: 1000 });
if (cas.volumes().length === 0) await cas.createVolume("disk", BLOCKS * 4096);
const volume = cas.openVolume("disk", { memory, cacheBytes: 1024 * 1024 });
const snapshots = new Snapshots(cas);

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
    if (this.status !== BlockStatus.ok) throw new Error(`a write failed: ${this.status}`);
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
for (;;) {
  const { id, root_hash } = await snapshots.create("disk");
  writeSync(1, `snapshot ${id} ${root_hash}\n`);
  if (Number(id) > 3) await snapshots.delete(String(Number(id) - 3));
}
