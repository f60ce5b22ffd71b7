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
const ANSWER_TIMEOUT_MS = 3000;
const beyond = { vblade: "its Config replies are not padded, so the tools drop them" };

scenario(
  "aoeping reads what a target says of itself",
  { withoutDriver: true, beyond },
  async (lab) => {
    const { segment, capture } = await serveTwoTargets(lab);
    const aoeping = (...args: string[]) =>
      execute(segment.client.command("aoeping", ...args, INTERFACE), ANSWER_TIMEOUT_MS);

    const fields = await aoeping("-I", "1", "0");
    expect(fields.status).toBe(0);
    expect(fields.stdout).toMatch(/^serial_number: \S/m);
    expect(fields.stdout).toMatch(/^model: aoed\s*$/m);

    const dump = await aoeping("-i", "-v", "7", "3");
    expect(dump.status).toBe(0);
    const identify = octetsAfter(dump.stdout, "device identify response:");
    expect(identify).toHaveLength(512);
    // Words 100 to 103: the size in sectors; words 83 and 86 bit 10: 48-bit addresses.
    expect(identify.readBigUInt64LE(200)).toBe(BigInt(SECOND_BYTES / 512));
    expect(identify.readUInt16LE(2 * 83) & (1 << 10)).not.toBe(0);
    expect(identify.readUInt16LE(2 * 86) & (1 << 10)).not.toBe(0);

    const nobody = await aoeping("7", "4");
    expect(nobody.status, "nobody answers for e7.4").not.toBe(0);
    const smart = await aoeping("-S", "0xd0", "1", "0");
    expect(smart.stdout + smart.stderr).toContain("does not support SMART");
    await capture.expectSoundReplies(5);
  },
);

scenario("aoecfg reads and sets config strings", { withoutDriver: true, beyond }, async (lab) => {
  const { segment, capture } = await serveTwoTargets(lab);
  const aoecfg = async (...args: string[]) => {
    const command = ["timeout", "3", "aoecfg", "-t", "1", ...args, INTERFACE];
    return (await run(segment.client.command(...command))).trimEnd();
  };
  const long = "a string that makes the reply longer than the shortest frame";

  expect(await aoecfg("1", "0"), "none yet").toBe("");
  expect(await aoecfg("-c", "set", "-s", "first", "1", "0")).toBe("first");
  expect(await aoecfg("-c", "set", "-s", "first", "1", "0"), "the same again").toBe("first");
  expect(await aoecfg("-c", "set", "-s", "other", "1", "0"), "taken").toBe("*badcfg*");
  expect(await aoecfg("1", "0")).toBe("first");
  expect(await aoecfg("-c", "test", "-s", "first", "1", "0")).toBe("first");
  expect(await aoecfg("-c", "test", "-s", "firs", "1", "0"), "not equal: silence").toBe("");
  expect(await aoecfg("-c", "prefix", "-s", "firs", "1", "0")).toBe("first");
  expect(await aoecfg("-c", "prefix", "-s", "irst", "1", "0"), "no prefix: silence").toBe("");
  expect(await aoecfg("-c", "fset", "-s", long, "1", "0")).toBe(long);
  const everybody = (await aoecfg()).split("\n");
  expect(everybody.map((line) => line.trim()).toSorted()).toEqual([`1.0\t${long}`, "7.3"]);
  // A config string is the target's, not the process's.
  await segment.restart();
  expect(await aoecfg("1", "0")).toBe(long);
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
    this.#child.signal("SIGINT");
    await this.#child.end(5000);
    const fields = ["frame.len", "aoe.version", "_ws.malformed"].flatMap((field) => ["-e", field]);
    const show = ["tshark", "-r", this.#file, "-Y", "aoe.response == 1", "-T", "fields", ...fields];
    const replies = (await run(show)).split("\n").filter((line) => line !== "");
    expect(replies.length).toBeGreaterThanOrEqual(leastReplies);
    for (const reply of replies) {
      const [lengthBytes, version, malformed] = reply.split("\t");
      expect(Number(lengthBytes)).toBeGreaterThanOrEqual(MIN_FRAME_BYTES);
      expect([version, malformed]).toEqual(["1", ""]);
    }
  }
}

function octetsAfter(text: string, heading: string): Buffer {
  const dump = text.slice(text.indexOf(heading) + heading.length);
  return Buffer.from(dump.replaceAll(/[^0-9a-f]/g, ""), "hex");
}
