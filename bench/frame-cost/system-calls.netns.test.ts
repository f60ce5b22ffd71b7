import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { limits } from "./limits.ts";

const SERVER = "cost0";
const CLIENT = "cost1";
const ROUNDS = 60;
const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : "/tmp", "aoed-calls-"));
const ip = (...words: string[]): void => void execFileSync("ip", words);

beforeAll(() => {
  ip("link", "add", SERVER, "mtu", "9000", "type", "veth", "peer", "name", CLIENT, "mtu", "9000");
  for (const name of [SERVER, CLIENT]) ip("link", "set", name, "up");
});
afterAll(() => {
  spawnSync("ip", ["link", "delete", SERVER]);
  rmSync(folder, { recursive: true, force: true });
});

/** What the client in the same process needs for a round. */
const OF_THE_CLIENT: Record<string, number> = { sendmmsg: 1, recvmmsg: 1 };
/** The calls that the limits name; preadv2 is preadv where nothing may wait. */
const NAMED = ["recvmmsg", "sendmmsg", "preadv", "pwritev"];
/** Of the timers and the turns of both ends: only the timing of the rounds decides how many. */
const IGNORED = ["epoll_pwait", "epoll_pwait2", "epoll_ctl", "io_uring_enter"];

/** Calls of the event loop's thread by name, for each round. */
function roundsOf(trace: string): Map<string, number>[] {
  const rounds: Map<string, number>[] = [];
  for (const line of trace.split("\n")) {
    if (line.includes("/aoed-round-")) {
      rounds.push(new Map());
      continue;
    }
    const name = /^(\w+)\(/.exec(line)?.[1].replace(/v2$/, "v");
    const round = rounds.at(-1);
    if (name !== undefined && !IGNORED.includes(name)) round?.set(name, (round.get(name) ?? 0) + 1);
  }
  // What comes after the last mark is the end of the process.
  return rounds.slice(0, -1);
}

describe.each(["read", "write"] as const)("a batch of 16 frames to %s", (kind) => {
  test("takes no more system calls than it did", { timeout: 120_000 }, (context) => {
    const trace = join(folder, kind);
    const program = join(import.meta.dirname, "batches.ts");
    const image = join(folder, `${kind}.img`);
    const words = [program, SERVER, CLIENT, image, kind, String(ROUNDS)];
    // Without -f: the event loop's thread alone.
    const command = ["-qq", "-o", trace, process.execPath, ...words];
    const { error, status, stderr } = spawnSync("strace", command, { encoding: "utf8" });
    if (error !== undefined) context.skip(`strace cannot be run: ${error.message}`);
    if (stderr.includes("PTRACE")) context.skip("strace may not trace here");
    expect(status, stderr).toBe(0);
    const rounds = roundsOf(readFileSync(trace, "utf8"));
    expect(rounds.length).toBe(ROUNDS);
    // A busy machine splits a batch now and then; the best round shows what a batch takes.
    const least = (name: string): number =>
      Math.min(...rounds.map((round) => (round.get(name) ?? 0) - (OF_THE_CLIENT[name] ?? 0)));
    const others = Math.min(
      ...rounds.map((round) =>
        [...round].reduce((sum, [name, count]) => sum + (NAMED.includes(name) ? 0 : count), 0),
      ),
    );
    for (const [name, limit] of Object.entries(limits.systemCalls[kind])) {
      const found = name === "others" ? others : least(name);
      console.log(`${kind}: ${name} ${found} of ${limit} allowed`);
      expect(
        found,
        `${name} for a batch of 16: ${found}, and bench/frame-cost/limits.ts allows ${limit}`,
      ).toBeLessThanOrEqual(limit);
    }
  });
});
