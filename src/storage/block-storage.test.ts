import { describe, test } from "vitest";
import {
  blockStorageCompliance,
  COMPLIANCE_SECTORS,
  type ComplianceSubject,
} from "./block-storage.compliance.ts";
import {
  folderOnDisk,
  mayAttachDevices,
  testArena,
  TestDisk,
  TestMedia,
} from "./block-storage.testing.ts";
import { SECTOR_BYTES } from "./block-storage.ts";
import { DelayStorage } from "./delay-storage.ts";
import { openDeviceStorage } from "./device-storage.ts";
import type { DiskOptions } from "./disk-options.ts";
import { FaultStorage } from "./fault-storage.ts";
import { openFileStorage } from "./file-storage.ts";
import { openMemoryStorage } from "./memory-storage.ts";

const sizeBytes = COMPLIANCE_SECTORS * SECTOR_BYTES;
const arena = testArena();

function openMemory(): ComplianceSubject {
  const storage = openMemoryStorage({ sizeBytes }, arena);
  return { disk: new TestDisk(storage, arena), dispose: () => {} };
}

function openFile(parent: string | undefined, options: Partial<DiskOptions>, extraSectors = 0) {
  return async (): Promise<ComplianceSubject> => {
    const media = new TestMedia();
    const path = `${media.folder(parent)}/disk.img`;
    const size = sizeBytes + extraSectors * SECTOR_BYTES;
    const storage = await openFileStorage({ ...options, path, sizeBytes: size }, arena);
    return { disk: new TestDisk(storage, arena), dispose: () => media.dispose() };
  };
}

function openLoopDevice(options: Partial<DiskOptions>, blockBytes: number) {
  return async (): Promise<ComplianceSubject> => {
    const media = new TestMedia();
    try {
      const image = media.image(sizeBytes);
      const path = media.loopDevice(image, "--sector-size", String(blockBytes));
      const storage = await openDeviceStorage({ ...options, path }, arena);
      return { disk: new TestDisk(storage, arena), dispose: () => media.dispose() };
    } catch (error) {
      media.dispose();
      throw error;
    }
  };
}

blockStorageCompliance("memory", openMemory);

blockStorageCompliance("memory behind faults that do not occur", () => {
  const { disk, dispose } = openMemory();
  return { disk: new TestDisk(new FaultStorage(disk.storage), arena), dispose };
});

blockStorageCompliance("memory behind delays", () => {
  const { disk, dispose } = openMemory();
  let turn = 0;
  const delayed = new DelayStorage(disk.storage, () => (turn++ % 5 === 0 ? 1 : 0));
  return { disk: new TestDisk(delayed, arena), dispose };
});

const disk = folderOnDisk();
for (const durability of ["durable", "writeback"] as const) {
  blockStorageCompliance(`file, ${durability}`, openFile(disk, { durability }));
  blockStorageCompliance(
    `file, ${durability}, without io_uring`,
    openFile(disk, { durability, useRing: false }),
  );
  blockStorageCompliance(`file in memory, ${durability}`, openFile("/dev/shm", { durability }));
  blockStorageCompliance(
    `a part of a file, ${durability}`,
    openFile(disk, { durability, offsetSectors: 37, lengthSectors: COMPLIANCE_SECTORS }, 100),
  );
  if (disk === undefined) {
    test.skip("direct, skipped: no folder for tests is on a disk", () => {});
  } else {
    const options = { durability, direct: true };
    blockStorageCompliance(`file, direct, ${durability}`, openFile(disk, options));
    blockStorageCompliance(
      `file, direct, ${durability}, without io_uring`,
      openFile(disk, { ...options, useRing: false }),
    );
  }
}

if (mayAttachDevices) {
  for (const durability of ["durable", "writeback"] as const) {
    blockStorageCompliance(`device, ${durability}`, openLoopDevice({ durability }, 512));
    blockStorageCompliance(
      `device with blocks of 4096, direct, ${durability}`,
      openLoopDevice({ durability, direct: true }, 4096),
    );
  }
  blockStorageCompliance("device with blocks of 4096", openLoopDevice({}, 4096));
} else {
  describe.skip("block devices, skipped: loop devices need root and a kernel that has them", () => {});
}
