import { describe, expect, test } from "vitest";
import type { DiscoveredTarget } from "./discovery.ts";
import type { PathReport } from "./path-report.ts";
import { findings } from "./san-findings.ts";

function report(
  target: Partial<DiscoveredTarget> = {},
  others: Partial<Omit<PathReport, "target">> = {},
): PathReport {
  return {
    target: {
      shelf: 1,
      slot: 0,
      mac: "02:00:00:00:00:01",
      interface: "eth0",
      bufferCount: 16,
      maxSectors: 16,
      firmwareVersion: 1,
      configString: new Uint8Array(0),
      sectors: 1000,
      model: "aoed",
      serial: "one",
      ...target,
    },
    mtuBytes: 9000,
    sizes: { outwardBytes: 9000, inwardSectors: 16 },
    ping: {
      mac: "02:00:00:00:00:01",
      sent: 50,
      received: 50,
      lossRate: 0,
      minimumMs: 1,
      averageMs: 1,
      maximumMs: 1,
    },
    ...others,
  };
}

function said(...reports: PathReport[]): string[] {
  return findings(reports).map(({ severity, message }) => `${severity}: ${message}`);
}

test("nothing is found where nothing is wrong", () => {
  expect(findings([report(), report({ slot: 1, serial: "other" })])).toEqual([]);
});

describe("one address, several answers", () => {
  test("another serial number is another disk", () => {
    const found = findings([report(), report({ mac: "02:00:00:00:00:02", serial: "two" })]);
    expect(found).toMatchObject([{ severity: "problem", target: "e1.0" }]);
    expect(found[0].message).toMatch(/different disks answer .*00:01 on eth0, .*00:02 on eth0/);
  });

  test("the same serial number and another size as well", () => {
    expect(said(report(), report({ sectors: 2000 }))).toEqual([
      expect.stringMatching(/^problem: different disks/),
    ]);
  });

  test("disks that do not say who they are, are taken for different ones", () => {
    const silent = { serial: "", model: "x" };
    const found = said(report(silent), report({ ...silent, mac: "02:00:00:00:00:02" }));
    expect(found).toEqual([expect.stringMatching(/^problem: different disks/)]);
  });

  test("two interfaces to one disk are no problem", () => {
    const second = report({ mac: "02:00:00:00:00:02", interface: "eth1" });
    expect(said(report(), second)).toEqual([expect.stringMatching(/^note: one disk is reached/)]);
  });
});

describe("one path", () => {
  test.each<[string, PathReport, RegExp]>([
    [
      "frames that do not arrive",
      report({}, { sizes: { outwardBytes: 1500, inwardSectors: 16 } }),
      /^problem: .*packets of more than 1500 octets do not arrive, though the MTU here is 9000/,
    ],
    [
      "answers that do not come back",
      report({}, { sizes: { outwardBytes: 9000, inwardSectors: 2 } }),
      /^problem: .*answers of more than 1024 octets of data do not come back/,
    ],
    [
      "a server with a smaller MTU",
      report({ maxSectors: 2 }, { sizes: { outwardBytes: 9000, inwardSectors: 2 } }),
      /^warning: .*the server takes 2 sectors at once, .* has room for 16/,
    ],
    [
      "loss",
      report({}, { ping: { ...report().ping, received: 45, lossRate: 0.1 } }),
      /^warning: .*5 of 50 requests were not answered/,
    ],
    ["a disk that fails", report({ fault: "IDENTIFY failed" }), /^problem: .*IDENTIFY failed/],
    ["no buffers", report({ bufferCount: 0 }), /^problem: .*takes no requests/],
    ["shelf 4095", report({ shelf: 4095 }), /^problem: Linux ignores this address/],
    ["slot 255", report({ slot: 255 }), /^problem: Linux ignores this address/],
  ])("%s", (_, one, pattern) => {
    expect(said(one)).toEqual([expect.stringMatching(pattern)]);
  });
});
