import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { AoedProcess } from "./external-server.testing.ts";
import { diskSectors } from "./frames.testing.ts";
import type { Controls, StartOptions, Wire } from "./rig.testing.ts";

/** aoed with the disks as volumes of one store. */
export class AoedVolumeProcess extends AoedProcess {
  override readonly name = "aoed, volumes";
  #isFilled = false;

  override get controls(): Partial<Controls> {
    const { resize: _ofFiles, ...others } = super.controls;
    return {
      ...others,
      resize: async ({ shelf, slot }, sectors) => {
        this.aoed("volume", "resize", `e${shelf}.${slot}`, String(sectors * 512));
        return Promise.resolve();
      },
      corruptSector: async (lba) => {
        corruptStored(this.storePath, diskSectors(lba, 1));
        return Promise.resolve();
      },
    };
  }

  override async start(options: StartOptions): Promise<Wire[]> {
    this.#isFilled = false;
    return super.start(options);
  }

  protected override async launch(): Promise<void> {
    if (!this.#isFilled) for (const target of this.targets) this.importDisk(target);
    this.#isFilled = true;
    return super.launch();
  }

  protected override backendLines(): string[] {
    return ['backend = "cas"', "[target.cas]", `path = "${this.storePath}"`];
  }
}

/** Flips one bit of these octets wherever a segment of the store holds them. */
function corruptStored(storePath: string, octets: Uint8Array): void {
  let found = 0;
  for (const name of readdirSync(storePath).filter((file) => file.startsWith("segment-"))) {
    const path = join(storePath, name);
    const content = readFileSync(path);
    const file = openSync(path, "r+");
    for (let at = content.indexOf(octets); at >= 0; at = content.indexOf(octets, at + 1)) {
      writeSync(file, Uint8Array.of(octets[100] ^ 1), 0, 1, at + 100);
      found++;
    }
    closeSync(file);
  }
  if (found === 0) throw new Error("the store does not hold this sector");
}
