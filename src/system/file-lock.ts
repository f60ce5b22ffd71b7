import { readFileSync, type Stats } from "node:fs";
import { callLibc, errnoName, LibcType } from "./libc.ts";

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Locks an open file against other processes, and other opens of this one (flock(2)); it does not
 * wait. The lock ends when the descriptor is closed.
 * @param shared whether others may hold it as well, if they share it too
 * @returns false when somebody else holds it; file systems without locks count as locked by us
 */
export function lockFile(descriptor: number, shared: boolean): boolean {
  const operation = (shared ? LOCK_SH : LOCK_EX) | LOCK_NB;
  const result = callLibc("flock", [LibcType.int, descriptor], [LibcType.int, operation]);
  if (result >= 0) return true;
  return !["EAGAIN", "EWOULDBLOCK"].includes(errnoName(result));
}

/**
 * Who holds a lock on the file, in words: "process 1234 (vblade)", "this process"; undefined when
 * the kernel does not say.
 */
export function lockHolder(file: Stats): string | undefined {
  let locks: string;
  try {
    locks = readFileSync("/proc/locks", "utf8");
  } catch {
    return undefined;
  }
  for (const line of locks.split("\n")) {
    // 1: FLOCK  ADVISORY  WRITE 1234 fe:00:1310723 0 EOF
    const match = /^\d+: \S+\s+\S+\s+\S+\s+(\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) /.exec(line);
    if (match === null) continue;
    const [, pid = "", major = "", minor = "", inode = ""] = match;
    if (Number(inode) !== file.ino || deviceNumber(major, minor) !== file.dev) continue;
    return Number(pid) === process.pid ? "this process" : describeProcess(pid);
  }
  return undefined;
}

/** The kernel's major:minor in hexadecimal as the st_dev of stat(2). */
function deviceNumber(majorHex: string, minorHex: string): number {
  const major = parseInt(majorHex, 16);
  const minor = parseInt(minorHex, 16);
  return (minor & 0xff) + major * 256 + (minor >>> 8) * 2 ** 20;
}

/** Names a process: "process 1234 (vblade)". */
function describeProcess(pid: string): string {
  try {
    const name = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
    return `process ${pid} (${name})`;
  } catch {
    return `process ${pid}`;
  }
}
