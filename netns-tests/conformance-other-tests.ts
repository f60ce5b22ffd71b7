/**
 * Tests elsewhere that go further than one exchange of frames on a case of the list. A file that is
 * named here must exist: src/conformance/other-tests.test.ts checks it.
 */
export const otherTests: Readonly<Record<number, readonly string[]>> = {
  8: ["src/ethernet/ethernet-port.compliance.ts", "src/ethernet/packet-port.netns.test.ts"],
  9: ["src/ethernet/ethernet-port.compliance.ts"],
  11: ["src/ethernet/ethernet-port.compliance.ts", "src/conformance/hostile-input.test.ts"],
  13: ["src/ethernet/ethernet-port.compliance.ts"],
  16: ["src/config/load.test.ts"],
  25: ["src/target/state-file.test.ts", "src/target/target.test.ts"],
  30: ["src/ata/identify.test.ts"],
  43: ["src/storage/block-storage.compliance.ts", "src/storage/disk-storage.test.ts"],
  45: ["src/storage/disk-faults.test.ts"],
  46: ["src/storage/overlap-table.test.ts", "src/storage/disk-storage.test.ts"],
  47: ["src/conformance/aoed-process.netns.test.ts"],
  49: ["src/storage/block-storage.compliance.ts", "src/storage/overlap-table.test.ts"],
  51: ["src/ethernet/frame-service.test.ts"],
  52: ["src/storage/crash.test.ts", "netns-tests/restart.test.ts"],
  54: ["src/ethernet/ethernet-port.compliance.ts"],
  56: ["src/storage/crash.test.ts"],
  64: ["src/target/state-file.test.ts"],
  70: ["src/target/state-file.test.ts"],
  73: ["src/ethernet/frame-service.test.ts", "netns-tests/restart.test.ts"],
  74: ["src/ethernet/ethernet-port.compliance.ts", "src/ethernet/packet-port.netns.test.ts"],
  75: ["src/ethernet/ethernet-port.compliance.ts"],
  76: ["src/storage/disk-storage.test.ts", "src/storage/device-storage.test.ts"],
  78: ["netns-tests/bad-segment.test.ts"],
  79: ["src/ethernet/ethernet-port.compliance.ts", "src/ethernet/packet-port.netns.test.ts"],
  80: [
    "netns-tests/filesystem.test.ts",
    "netns-tests/fio.test.ts",
    "netns-tests/bad-segment.test.ts",
    "netns-tests/restart.test.ts",
    "netns-tests/aoetools.test.ts",
  ],
};
