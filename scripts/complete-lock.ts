/**
 * Completes package-lock.json after `npm install`: a registry that does not carry the binaries of
 * every platform makes npm leave those out of the lock, and then refuse the lock in `npm ci`. Each
 * optional package that a locked package names gets an entry with its version and the platform
 * that its name tells; one for another platform is never fetched.
 *
 *   bin/node scripts/complete-lock.ts
 */
import { readFileSync, writeFileSync } from "node:fs";

interface LockedPackage {
  version?: string;
  dev?: boolean;
  optionalDependencies?: Record<string, string>;
  [field: string]: unknown;
}

const LOCK = new URL("../package-lock.json", import.meta.url);
const SYSTEMS = ["android", "darwin", "freebsd", "linux", "openharmony", "win32"];
const PROCESSORS = ["arm", "arm64", "ia32", "ppc64", "riscv64", "s390x", "x64"];

/** "@oxfmt/binding-linux-arm64-musl" is for linux, arm64, musl. */
function platformOf(name: string): Record<string, string[]> {
  const words = (name.split("/").at(-1) ?? "").split("-");
  const os = words.filter((word) => SYSTEMS.includes(word));
  const cpu = words.filter((word) => PROCESSORS.includes(word));
  if (os.length !== 1 || cpu.length !== 1) {
    throw new Error(`${name}: its name does not tell its platform; add its entry by hand`);
  }
  const isMusl = words.some((word) => word.startsWith("musl"));
  return { os, cpu, ...(os[0] === "linux" && { libc: [isMusl ? "musl" : "glibc"] }) };
}

const lock = JSON.parse(readFileSync(LOCK, "utf8")) as {
  packages: Record<string, LockedPackage>;
};
let added = 0;
for (const entry of Object.values({ ...lock.packages })) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`;
    if (path in lock.packages) continue;
    const dev = entry.dev === true ? { dev: true } : {};
    lock.packages[path] = { version, ...dev, optional: true, ...platformOf(name) };
    added++;
  }
}
const sorted = Object.entries(lock.packages).toSorted(([left], [right]) => (left < right ? -1 : 1));
lock.packages = Object.fromEntries(sorted);
writeFileSync(LOCK, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${added} entries added`);
