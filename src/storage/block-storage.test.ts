import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "vitest";
import { blockStorageCompliance, type ComplianceSubject } from "./block-storage.compliance.ts";
import { COMPLIANCE_SECTORS } from "./block-storage.compliance.ts";
import { testArena, TestDisk } from "./block-storage.testing.ts";
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

function openFile(folder: string, options: Partial<DiskOptions>, extraSectors = 0) {
  return async (): Promise<ComplianceSubject> => {
    const directory = mkdtempSync(join(folder, "aoed-storage-"));
    const path = join(directory, "disk.img");
    const size = sizeBytes + extraSectors * SECTOR_BYTES;
    const storage = await openFileStorage({ ...options, path, sizeBytes: size }, arena);
    return {
      disk: new TestDisk(storage, arena),
      dispose: () => rmSync(directory, { recursive: true }),
    };
  };
}

function openLoopDevice(options: Partial<DiskOptions>, blockBytes: number) {
  return async (): Promise<ComplianceSubject> => {
    const directory = mkdtempSync(join(tmpdir(), "aoed-storage-"));
    const image = join(directory, "disk.img");
    execFileSync("truncate", ["-s", String(sizeBytes), image]);
    const path = execFileSync(
      "losetup",
      ["--find", "--show", "--sector-size", String(blockBytes), image],
      { encoding: "utf8" },
    ).trim();
    const dispose = (): void => {
      execFileSync("losetup", ["--detach", path]);
      rmSync(directory, { recursive: true });
    };
    try {
      const storage = await openDeviceStorage({ ...options, path }, arena);
      return { disk: new TestDisk(storage, arena), dispose };
    } catch (error) {
      dispose();
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

for (const durability of ["durable", "writeback"] as const) {
  blockStorageCompliance(`file, ${durability}`, openFile(tmpdir(), { durability }));
  blockStorageCompliance(`file in memory, ${durability}`, openFile("/dev/shm", { durability }));
  blockStorageCompliance(
    `file, direct, ${durability}`,
    openFile(tmpdir(), { durability, direct: true }),
  );
  blockStorageCompliance(
    `a part of a file, ${durability}`,
    openFile(tmpdir(), { durability, offsetSectors: 37, lengthSectors: COMPLIANCE_SECTORS }, 100),
  );
}

const root = process.getuid?.() === 0;
describe("block devices", () => {
  if (!root) {
    test.skip("skipped: loop devices need root", () => {});
    return;
  }
  blockStorageCompliance("device, durable", openLoopDevice({ durability: "durable" }, 512));
  blockStorageCompliance("device, writeback", openLoopDevice({ durability: "writeback" }, 512));
  for (const durability of ["durable", "writeback"] as const) {
    blockStorageCompliance(
      `device with blocks of 4096, direct, ${durability}`,
      openLoopDevice({ durability, direct: true }, 4096),
    );
  }
  blockStorageCompliance("device with blocks of 4096", openLoopDevice({}, 4096));
});
