import { join } from "node:path";
import { expect } from "vitest";
import { Child } from "./harness/child.ts";
import { execute, run, until } from "./harness/command.ts";
import type { Lab } from "./harness/lab.ts";
import type { Segment } from "./harness/network.ts";
import { scenario } from "./harness/scenario.ts";

/** The tools take no reply for an answer that is shorter than an Ethernet frame may be. */
const MIN_FRAME_BYTES = 60;
/** Where they run: the client's end of the segment. They use raw sockets and no driver. */
const INTERFACE = "bridge0";
const ANSWER_TIMEOUT_MS = 5000;
/** A busy machine may be late: then it is asked again. */
const PATIENCE = { timeout: 120_000 };
const beyond = { vblade: "its Config replies are not padded, so the tools drop them" };

scenario(
  "aoeping reads what a target says of itself",
  { withoutDriver: true, beyond },
  async (lab) => {
    const { segment, capture } = await serveTwoTargets(lab);
    const aoeping = (...args: string[]) =>
      execute(segment.client.command("aoeping", ...args, INTERFACE), ANSWER_TIMEOUT_MS);

    const answer = async (...args: string[]) => {
      await expect.poll(async () => (await aoeping(...args)).status, PATIENCE).toBe(0);
      return aoeping(...args);
    };

    const fields = await answer("-I", "1", "0");
    expect(fields.stdout).toMatch(/^serial_number: \S/m);
    expect(fields.stdout).toMatch(/^model: aoed\s*$/m);

    const dump = await answer("-i", "-v", "7", "3");
    const identify = octetsAfter(dump.stdout, "device identify response:");
    expect(identify).toHaveLength(512);
    // Words 100 to 103: the size in sectors; words 83 and 86 bit 10: 48-bit addresses.
    expect(identify.readBigUInt64LE(200)).toBe(BigInt(SECOND_BYTES / 512));
    expect(identify.readUInt16LE(2 * 83) & (1 << 10)).not.toBe(0);
    expect(identify.readUInt16LE(2 * 86) & (1 << 10)).not.toBe(0);

    const nobody = await aoeping("7", "4");
    expect(nobody.status, "nobody answers for e7.4").not.toBe(0);
    const smart = async () => {
      const { stdout, stderr } = await aoeping("-S", "0xd0", "1", "0");
      return stdout + stderr;
    };
    await expect.poll(smart, PATIENCE).toContain("does not support SMART");
    await capture.expectSoundReplies(5);
  },
);

scenario("aoecfg reads and sets config strings", { withoutDriver: true, beyond }, async (lab) => {
  const { segment, capture } = await serveTwoTargets(lab);
  const aoecfg = async (...args: string[]) => {
    const command = ["timeout", "60", "aoecfg", "-t", "1", ...args, INTERFACE];
    return (await run(segment.client.command(...command))).trimEnd();
  };
  const long = "a string that makes the reply longer than the shortest frame";

  /** It waits for a second; a busy machine is asked again. */
  const said = (...args: string[]) => expect.poll(async () => aoecfg(...args), PATIENCE);

  expect(await aoecfg("1", "0"), "none yet").toBe("");
  await said("-c", "set", "-s", "first", "1", "0").toBe("first");
  await said("-c", "set", "-s", "first", "1", "0").toBe("first");
  await said("-c", "set", "-s", "other", "1", "0").toBe("*badcfg*");
  await said("1", "0").toBe("first");
  await said("-c", "test", "-s", "first", "1", "0").toBe("first");
  expect(await aoecfg("-c", "test", "-s", "firs", "1", "0"), "not equal: silence").toBe("");
  await said("-c", "prefix", "-s", "firs", "1", "0").toBe("first");
  expect(await aoecfg("-c", "prefix", "-s", "irst", "1", "0"), "no prefix: silence").toBe("");
  await said("-c", "fset", "-s", long, "1", "0").toBe(long);
  const everybody = async () => {
    const lines = (await aoecfg()).split("\n");
    return lines.map((line) => line.trim()).toSorted();
  };
  await expect.poll(everybody, PATIENCE).toEqual([`1.0\t${long}`, "7.3"]);
  // A config string is the target's, not the process's.
  await segment.restart();
  await said("1", "0").toBe(long);
  await capture.expectSoundReplies(10);
});

const FIRST_BYTES = 16 * 2 ** 20;
const SECOND_BYTES = 3 * 2 ** 20;

async function serveTwoTargets(lab: Lab) {
  const segment = lab.segment({ mtuBytes: 1500, port: "packet" });
  const capture = new Capture(lab, segment);
  await capture.start();
  const server = await lab.server(
    [segment],
    [
      { shelf: 1, slot: 0, backend: "file", path: lab.image("first.img", FIRST_BYTES) },
      { shelf: 7, slot: 3, backend: "file", path: lab.image("second.img", SECOND_BYTES) },
    ],
  );
  const restart = async () => {
    await server.kill();
    await server.start();
  };
  return { segment: { ...segment, restart }, capture };
}

/** What passes on the segment, as Wireshark's dissector understands it. */
class Capture {
  readonly #file: string;
  readonly #child: Child;

  constructor(lab: Lab, segment: Segment) {
    this.#file = join(lab.folder, "segment.pcap");
    const capture = ["tshark", "-i", INTERFACE, "-f", "ether proto 0x88a2", "-w", this.#file];
    const command = segment.client.command(...capture);
    this.#child = new Child(lab.folder, command, join(lab.folder, "tshark.log"));
  }

  async start(): Promise<void> {
    await until("tshark to capture", () => /Capturing on/.test(this.#child.log));
  }

  /** Every reply is long enough, and none is malformed. */
  async expectSoundReplies(leastReplies: number): Promise<void> {
    // What has passed may not be in the file yet.
    const count = async () => (await this.#replies("frame.len")).length;
    await expect.poll(count, PATIENCE).toBeGreaterThanOrEqual(leastReplies);
    this.#child.signal("SIGINT");
    await this.#child.end(60_000);
    const replies = await this.#replies("frame.len", "aoe.version", "_ws.malformed");
    expect(replies.length).toBeGreaterThanOrEqual(leastReplies);
    for (const reply of replies) {
      const [lengthBytes, version, malformed] = reply.split("\t");
      expect(Number(lengthBytes)).toBeGreaterThanOrEqual(MIN_FRAME_BYTES);
      expect([version, malformed]).toEqual(["1", ""]);
    }
  }

  /** The fields of each reply in the file, whose end may be missing while it is written. */
  async #replies(...fields: string[]): Promise<string[]> {
    const words = fields.flatMap((field) => ["-e", field]);
    const show = ["tshark", "-r", this.#file, "-Y", "aoe.response == 1", "-T", "fields", ...words];
    return (await execute(show)).stdout.split("\n").filter((line) => line !== "");
  }
}

function octetsAfter(text: string, heading: string): Buffer {
  const dump = text.slice(text.indexOf(heading) + heading.length);
  return Buffer.from(dump.replaceAll(/[^0-9a-f]/g, ""), "hex");
}
