import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

let pump: Uint8Array | undefined;

/** Puts the pump into `folder`, which whoever made it removes. @returns its path */
export function placePump(folder: string): string {
  pump ??= compiledPump();
  const path = join(folder, "conformance-pump");
  writeFileSync(path, pump, { mode: 0o700 });
  return path;
}

function compiledPump(): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "aoed-pump-"));
  try {
    const path = join(folder, "conformance-pump");
    execFileSync("cc", ["-std=c17", "-O1", "-o", path, PUMP_SOURCE]);
    return readFileSync(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
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
