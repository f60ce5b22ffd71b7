import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const UNIT = fileURLToPath(new URL("../../packaging/systemd/aoed.service", import.meta.url));
/** Of 10; the test of `systemd-analyze` rates what a service may do that it does not need. */
const MOST_EXPOSURE = 2.5;

const hasAnalyzer = spawnSync("systemd-analyze", ["--version"]).status === 0;
const reason = hasAnalyzer ? "" : " (left out: systemd-analyze is missing, in Debian's systemd)";

test.skipIf(!hasAnalyzer)(`the unit exposes at most ${MOST_EXPOSURE} of 10${reason}`, () => {
  const { stdout, stderr } = spawnSync(
    "systemd-analyze",
    ["security", "--offline=true", "--no-pager", UNIT],
    { encoding: "utf8" },
  );
  const exposure = /Overall exposure level for aoed\.service: ([\d.]+)/.exec(stdout)?.[1];
  expect(exposure, stdout + stderr).toBeDefined();
  expect(Number(exposure), stdout).toBeLessThanOrEqual(MOST_EXPOSURE);
});

test.skipIf(!hasAnalyzer)(`systemd reads every line of the unit${reason}`, () => {
  const { stderr } = spawnSync("systemd-analyze", ["verify", UNIT], { encoding: "utf8" });
  // What it names and is not installed here is no mistake of the unit's.
  const complaints = stderr
    .split("\n")
    .filter((line) => line.includes("aoed.service"))
    .filter((line) => !/is not executable|Command 'man /.test(line));
  expect(complaints).toEqual([]);
});

test("what only a service manager knows is in the unit", () => {
  const unit = readFileSync(UNIT, "utf8");
  for (const line of ["Type=notify", "ExecReload=/usr/bin/aoed reload", "WatchdogSec=30s"]) {
    expect(unit.split("\n")).toContain(line);
  }
});
