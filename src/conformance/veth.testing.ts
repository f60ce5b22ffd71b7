import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Mac } from "./frames.testing.ts";

/**
 * Interfaces for tests in a network namespace made for them (scripts/test.sh and
 * scripts/conformance.sh make one): nothing here asks whose they are.
 */
const PUMP_SOURCE = fileURLToPath(new URL("../../netns-tests/conformance-pump.c", import.meta.url));

/** The largest that veth takes, so that a test can send more than the server's MTU. */
const OWN_MTU_BYTES = 65_535;

let pumpPath: string | undefined;

/** Compiles the pump once for this process. */
export function compiledPump(): string {
  if (pumpPath !== undefined) return pumpPath;
  const folder = mkdtempSync(join(tmpdir(), "aoed-conformance-pump-"));
  const path = join(folder, "conformance-pump");
  execFileSync("cc", ["-std=c17", "-O1", "-o", path, PUMP_SOURCE]);
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  pumpPath = path;
  return path;
}

export function ip(...words: string[]): string {
  return execFileSync("ip", words, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
}

/** A veth pair: "server0" for the server and "own0" for the test. */
export function makeLink(index: number, mac: Mac, mtuBytes: number): void {
  const [server, own] = [`server${index}`, `own${index}`];
  const peer = ["peer", "name", own, "mtu", String(OWN_MTU_BYTES)];
  ip("link", "add", server, "address", mac, "mtu", String(mtuBytes), "type", "veth", ...peer);
  ip("link", "set", own, "up");
  ip("link", "set", server, "up");
}

export function removeLinks(): void {
  const links = ip("-o", "link", "show").match(/\bserver\d(?=@)/g) ?? [];
  for (const name of links) ip("link", "delete", name);
}
