import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { beforeEach, expect, test } from "vitest";
import { buildPrograms, type Programs } from "../../bench/build.ts";
import type { ServerStatus } from "../control/control-api.ts";
import { exchange } from "./control-client.ts";
import type { Workplace } from "./run-aoed.testing.ts";
import { type Served, type ServerPlace, withServerPlace } from "./serve-process.testing.ts";

const FLOOD_PER_SECOND = 200_000;
const HOSTILE = "02:bb:00:00:00:01";
/** Flood, load and server share the cores with whatever else runs: one round in which it shows. */
const MOST_ROUNDS = 20;

let server: ServerPlace;
let place: Workplace;
let programs: Programs;

withServerPlace((given) => {
  server = given;
  ({ place } = given);
});
beforeEach(async () => {
  programs = await buildPrograms(new URL("../../bench/", import.meta.url).pathname, place.folder);
});

async function inNamespace(...words: string[]): Promise<string> {
  const [program, ...rest] = [...server.namespace.entrance, ...words];
  const { code, stdout, stderr } = await place.run(program, ...rest);
  // The load ends with 1 when something was still unanswered, and says how much it had.
  if (code !== 0 && !stdout.startsWith("{"))
    throw new Error(`${words.join(" ")} ended with ${code}: ${stderr}`);
  return stdout;
}

/** Requests a second that an initiator with 64 outstanding gets answered. */
async function throughput(): Promise<number> {
  const load = [programs.generator, "load", "--interface", "client0", "--window", "64"];
  const answer = await inNamespace(...load, "--seconds", "1", "--warm-up", "0.2", "--random");
  return (JSON.parse(answer) as { operationsPerSecond: number }).operationsPerSecond;
}

async function flooded(): Promise<number> {
  const mac = server.namespace.run("ip", "-br", "link", "show", "server0").split(/\s+/)[2];
  const rate = String(FLOOD_PER_SECOND);
  const flood = inNamespace(programs.flood, "client0", mac, HOSTILE, "1", "0", rate, "2");
  const [operations] = await Promise.all([throughput(), flood]);
  return operations;
}

function residentKilobytes(served: Served): number {
  const text = readFileSync(`/proc/${served.process.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1]);
}

test(
  "a flood from one host takes less than half from another, and neither memory nor log grow",
  {
    timeout: 300_000,
  },
  async () => {
    writeFileSync(place.path("disk.img"), "");
    truncateSync(place.path("disk.img"), 64 * 2 ** 20);
    const served = await server.serve(
      "-i",
      "server0",
      "-e",
      "1.0=disk.img",
      "--state-dir",
      "state",
    );
    const shares: number[] = [];
    let residentBefore = 0;
    while (shares.length < MOST_ROUNDS && !shares.some((share) => share >= 0.5)) {
      const alone = await throughput();
      shares.push((await flooded()) / alone);
      residentBefore ||= residentKilobytes(served);
    }
    console.log(
      `with the flood, of what it is alone: ${shares.map((share) => share.toFixed(2)).join(", ")}`,
    );
    expect(Math.max(...shares)).toBeGreaterThanOrEqual(0.5);
    await flooded();

    const request = { method: "GET", path: "/v1/status" } as const;
    const status = (await exchange(place.path("state/control.sock"), request)) as ServerStatus;
    expect(status.ports[0].drops.over_share).toBeGreaterThan(1000);
    expect(residentKilobytes(served) - residentBefore).toBeLessThan(64 * 1024);
    expect(served.stderr.split("\n").length).toBeLessThan(30);
    expect(served.stderr).toContain(`"mac":"${HOSTILE}"`);
  },
);
