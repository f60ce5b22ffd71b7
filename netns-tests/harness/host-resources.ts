import { execFileSync } from "node:child_process";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * What a test leaves on the host, written down in its folder before it is used, so that any process
 * can remove it later: the test itself, or, when that was killed, the sweep of the next run.
 * Everything is named by something that cannot mean another's: a process by its start time too.
 */
export type HostResource =
  | { kind: "process group"; leader: number; startedAt: string }
  | { kind: "namespace"; name: string }
  | { kind: "loop device"; device: string; file: string }
  | { kind: "mount"; path: string }
  | { kind: "module"; name: string };

const LEDGER = "host-resources.jsonl";
const KILL_PATIENCE_MS = 60_000;

export function recordHostResource(folder: string, resource: HostResource): void {
  appendFileSync(join(folder, LEDGER), `${JSON.stringify(resource)}\n`);
}

/** Removes all that was recorded in the folder, newest first. Calling it again does no harm. */
export function removeHostResources(folder: string): void {
  const ledger = join(folder, LEDGER);
  if (!existsSync(ledger)) return;
  const resources = readFileSync(ledger, "utf8")
    .split("\n")
    .filter((line) => line.endsWith("}"))
    .map((line) => JSON.parse(line) as HostResource)
    .toReversed();
  // A namespace or loop device is free only when no process uses it any more.
  const processes = resources.filter((resource) => resource.kind === "process group");
  for (const { leader, startedAt } of processes) killGroup(leader, startedAt);
  for (const { leader } of processes) waitForEnd(leader);
  for (const resource of resources) removeOne(resource);
}

/** The kernel's start time of a process, which tells it from a later one with the same number. */
export function processStart(pid: number): string | undefined {
  return statusFields(pid)?.startedAt;
}

function removeOne(resource: HostResource): void {
  switch (resource.kind) {
    case "process group":
      return;
    case "namespace":
      if (existsSync(`/run/netns/${resource.name}`)) quietly("ip", "netns", "del", resource.name);
      return;
    case "loop device":
      if (loopFile(resource.device) === resource.file) quietly("losetup", "-d", resource.device);
      return;
    case "mount":
      if (isMounted(resource.path)) quietly("umount", "--lazy", resource.path);
      return;
    case "module":
      if (existsSync(`/sys/module/${resource.name}`)) quietly("rmmod", resource.name);
      return;
  }
}

/** The file behind a loop device, as the kernel names it. */
function loopFile(device: string): string | undefined {
  const file = `/sys/block/${device.replace("/dev/", "")}/loop/backing_file`;
  return existsSync(file) ? readFileSync(file, "utf8").trimEnd() : undefined;
}

function isMounted(path: string): boolean {
  return readFileSync("/proc/mounts", "utf8").includes(` ${path} `);
}

function killGroup(leader: number, startedAt: string): void {
  const start = processStart(leader);
  // While members live on without their leader, the kernel does not give its number away.
  if (start !== undefined && start !== startedAt) return;
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // All have ended.
  }
}

function waitForEnd(pid: number): void {
  const end = Date.now() + KILL_PATIENCE_MS;
  while (Date.now() < end) {
    const status = statusFields(pid);
    if (status === undefined || status.state === "Z") return;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
}

function statusFields(pid: number): { state: string; startedAt: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command's name stands in parentheses and may hold anything; proc(5), fields 3 and 22.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0] ?? "", startedAt: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}

function quietly(program: string, ...args: string[]): void {
  try {
    execFileSync(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    console.error(`netns-tests: could not clean up: ${String(error)}`);
  }
}
