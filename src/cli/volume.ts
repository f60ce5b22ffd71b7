import { formatSize, parseSize } from "../config/units.ts";
import type { VolumeStatus } from "../control/store-api.ts";
import { UsageError } from "../errors.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { approximateSize } from "./approximate-size.ts";
import { confirm } from "./confirm.ts";
import { checkNewName, readBlockSize } from "./option-values.ts";
import { printAnswer } from "./print.ts";
import { type StoreOptions, withStore } from "./store-access.ts";
import { formatTable } from "./table.ts";

export interface CreateVolumeOptions extends StoreOptions {
  readonly size: string;
  readonly blockSize?: string;
}

export interface DeleteVolumeOptions extends StoreOptions {
  readonly yes?: true;
}

export async function listVolumes(options: StoreOptions): Promise<void> {
  const volumes = await withStore(options, async (store) => store.volumes());
  printAnswer(options, volumes, () =>
    volumes.length === 0
      ? "there are no volumes\n"
      : formatTable(
          ["VOLUME", "SIZE", "BLOCKS OF", "TARGET", "SNAPSHOTS", "CLONE OF", "MADE"],
          volumes.map(volumeRow),
        ),
  );
}

function volumeRow(volume: VolumeStatus): string[] {
  return [
    volume.name,
    formatSize(volume.sizeBytes),
    formatSize(volume.blockBytes),
    volume.target ?? "-",
    String(volume.snapshots),
    volume.origin ?? "-",
    volume.created,
  ];
}

export async function createVolume(name: string, options: CreateVolumeOptions): Promise<void> {
  const sizeBytes = readSize(options.size, "--size");
  const blockBytes = readBlockSize(options.blockSize);
  checkNewName(name, "NAME");
  const create = true;
  const volume = await withStore(
    options,
    async (store) => store.createVolume({ name, sizeBytes, blockBytes }),
    create,
  );
  printAnswer(options, volume, () => `volume ${volume.name} of ${formatSize(volume.sizeBytes)}\n`);
}

export async function resizeVolume(
  name: string,
  size: string,
  options: StoreOptions,
): Promise<void> {
  const sizeBytes = readSize(size, "SIZE");
  const volume = await withStore(options, async (store) => store.resizeVolume(name, sizeBytes));
  printAnswer(options, volume, () => `volume ${volume.name} of ${formatSize(volume.sizeBytes)}\n`);
}

export async function deleteVolume(name: string, options: DeleteVolumeOptions): Promise<void> {
  await withStore(options, async (store) => {
    const volume = (await store.volumes()).find((candidate) => candidate.name === name);
    if (volume !== undefined) {
      const size = approximateSize(volume.sizeBytes);
      const warning = `volume ${name} of ${size} and what it holds now will be gone`;
      await confirm(warning, options.yes === true);
    }
    await store.deleteVolume(name);
  });
  printAnswer(
    options,
    { deleted: name },
    () => `deleted volume ${name}; its snapshots stay
its space is given back by the next collection: aoed gc
`,
  );
}

function readSize(text: string, option: string): number {
  const bytes = parseSize(text) ?? 0;
  if (bytes > 0 && bytes % SECTOR_BYTES === 0) return bytes;
  const right = 'use a multiple of 512 octets such as "10GiB"';
  throw new UsageError(`${option}: ${JSON.stringify(text)} is not a size in sectors; ${right}`);
}
