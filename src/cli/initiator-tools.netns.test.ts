import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Namespace } from "./namespace.testing.ts";
import { ServerPlace } from "./serve-process.testing.ts";

/** copy, bench and sancheck, as typed, against a real server over real interfaces. */

const MIB = 1024 * 1024;
const PATIENCE = { timeout: 90_000 };

let namespace: Namespace;
let server: ServerPlace;
const others: ChildProcess[] = [];

beforeEach(async () => {
  namespace = await Namespace.create();
  server = new ServerPlace(namespace);
});
afterEach(async () => {
  for (const child of others.splice(0)) {
    if (child.exitCode !== null) continue;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
  await server.remove();
  await namespace.remove();
});

/** A disk with some data and many zeros. */
function image(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 300_000) bytes.fill(`place ${at}`, at, at + 5000);
  return bytes;
}

function setMtu(name: string, mtuBytes: number): void {
  namespace.run("ip", "link", "set", name, "mtu", String(mtuBytes));
}

async function serveFile(name: string, sizeBytes: number, slot = 0): Promise<string> {
  const path = server.place.path(name);
  if (!existsSync(path)) writeFileSync(path, Buffer.alloc(sizeBytes));
  await server.serve("-i", "server0", "-e", `1.${slot}=${path}`, "--state-dir", `state-${name}`);
  return path;
}

function readFirst(path: string, lengthBytes: number): string {
  const file = openSync(path, "r");
  try {
    const data = Buffer.alloc(lengthBytes);
    return data.toString("latin1", 0, readSync(file, data));
  } finally {
    closeSync(file);
  }
}

describe("copy", () => {
  test("a file to a target and back is the same, with holes for zeros", async () => {
    await serveFile("disk.img", 8 * MIB);
    const bytes = image(6 * MIB);
    writeFileSync(server.place.path("source.img"), bytes);

    const refused = await server.aoed("copy", "source.img", "e1.0", "-i", "client0");
    expect(refused).toMatchObject({
      code: 2,
      stderr: "aoed: what e1.0 (8.00 MiB) holds now will be lost; add --yes to go on\n",
    });
    const words = ["source.img", "e1.0", "-i", "client0", "--yes", "--verify"];
    expect(await server.did("copy", ...words)).toMatch(
      /^source\.img to e1\.0: 6\.00 MiB in .*, read back and equal\n$/,
    );
    const served = readFileSync(server.place.path("disk.img"));
    expect(Buffer.compare(served.subarray(0, bytes.length), bytes)).toBe(0);

    const answer = await server.did("copy", "e1.0", "back.img", "-i", "client0", "--json");
    expect(JSON.parse(answer)).toMatchObject({ source: "e1.0", sizeBytes: 8 * MIB });
    const back = server.place.path("back.img");
    expect(Buffer.compare(readFileSync(back), served)).toBe(0);
    expect(statSync(back).blocks * 512).toBeLessThan(2 * MIB);

    expect(await server.aoed("copy", "e1.0", "back.img", "-i", "client0")).toMatchObject({
      code: 2,
      stderr:
        "aoed: back.img: cannot be created (EEXIST); choose another name, or add --overwrite\n",
    });
  });

  test("one that is interrupted leaves the old file, and nothing beside it", async () => {
    const disk = server.place.path("disk.img");
    writeFileSync(disk, "data");
    // It would take minutes, holes or not.
    truncateSync(disk, 64 * 1024 * MIB);
    await serveFile("disk.img", 0);
    const path = server.place.path("back.img");
    writeFileSync(path, "the old backup");
    const words = ["copy", "e1.0", "back.img", "-i", "client0", "--overwrite"];
    const copying = server.start(...words);
    let said = "";
    copying.stderr?.on("data", (chunk) => (said += String(chunk)));
    const begins = (): string => readFirst(`${path}.part`, 4);
    await vi.waitFor(() => expect(begins()).toBe("data"), { timeout: 30_000, interval: 10 });
    const ended = once(copying, "close");
    copying.kill("SIGINT");
    expect(await ended).toEqual([130, null]);
    expect(said).toBe("aoed: interrupted; the incomplete file is removed\n");
    expect(readFileSync(path, "utf8")).toBe("the old backup");
    expect(server.place.contents()).not.toContain("back.img.part");
  });

  test("mistakes are one line, with nothing changed", async () => {
    await serveFile("disk.img", MIB);
    writeFileSync(server.place.path("large.img"), image(2 * MIB));
    const before = server.place.contents();
    const mistakes: [words: string[], code: number, line: RegExp][] = [
      [["large.img", "e1.0", "-y"], 2, /e1\.0: has 1048576 octets, the source 2097152; make/],
      [["large.img", "small.img"], 2, /neither large.img nor small.img is a target/],
      [["absent.img", "e1.0"], 2, /absent.img: cannot be read \(ENOENT\); check the path/],
      [["e1.0", "no/folder.img"], 2, /no\/folder.img: cannot be created \(ENOENT\); check/],
      [["e1.9", "out.img"], 1, /e1.9: nobody on client0 answers/],
      [["e1.0", "e1.9"], 1, /e1.9: nobody on client0 answers/],
    ];
    for (const [words, code, line] of mistakes) {
      const outcome = await server.aoed("copy", ...words, "-i", "client0");
      expect({ words, code: outcome.code }).toEqual({ words, code });
      expect(outcome.stderr).toMatch(line);
      expect(outcome.stderr.trimEnd()).not.toContain("\n");
    }
    expect(server.place.contents()).toEqual(before);
  });
});

describe("bench", () => {
  test("measures every combination, and asks before it writes", async () => {
    await serveFile("disk.img", 4 * MIB);
    const common = ["-i", "client0", "--duration", "200ms", "--warmup", "50ms"];
    const lists = ["--size", "512,1KiB", "--window", "1,8"];
    const answer = await server.did("bench", "1.0", ...common, ...lists, "--json");
    const rows = JSON.parse(answer) as { requestBytes: number; operations: number }[];
    expect(rows).toHaveLength(4);
    expect(rows.every(({ operations }) => operations > 0)).toBe(true);

    const writing = ["bench", "1.0", ...common, "--size", "1KiB", "--load", "write"];
    expect(await server.aoed(...writing)).toMatchObject({ code: 2 });
    const table = await server.did(...writing, "--window", "4", "--range", "1MiB", "--yes");
    expect(table).toMatch(/^TARGET +LOAD +ORDER +SIZE +WINDOW +OPS\/S/);
    expect(table).toMatch(/^e1\.0 +write +random +1\.00 KiB +4 +\d+/m);
    const disk = readFileSync(server.place.path("disk.img"));
    expect(disk.subarray(0, MIB).some((octet) => octet !== 0)).toBe(true);
    expect(disk.subarray(MIB).every((octet) => octet === 0)).toBe(true);
  });

  test.each([
    [
      ["--size", "8KiB"],
      /e1\.0 takes at most 1024 octets at once over client0; use less, or raise/,
    ],
    [["--size", "1000"], /"1000" is not a size of requests/],
    [["--window", "0"], /"0" is not a count/],
    [["--window", "9999"], /9999 is too many; use at most 512/],
    [["--load", "70/40"], /"70\/40" is not a kind of load/],
    [["--range", "512", "--size", "1KiB"], /has no room for one request of 1024 octets/],
  ])("refuses %j", async (words, line) => {
    await serveFile("disk.img", MIB);
    const { code, stderr } = await server.aoed("bench", "1.0", "-i", "client0", ...words);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(line) as string });
  });
});

describe("sancheck", () => {
  test("nothing is wrong with a good segment", async () => {
    await serveFile("disk.img", MIB);
    // On a busy machine answers may be so late that they count as lost: then it is asked again.
    const report = async () => (await server.aoed("sancheck", "-i", "client0")).stdout;
    await expect
      .poll(report, PATIENCE)
      .toMatch(/^e1\.0 +client0 +\S+ +1500 +1500 +1024 +0 %[^]*nothing is wrong\n$/m);
  });

  test("a server with a smaller MTU is a problem, with the size that passes", async () => {
    setMtu("client0", 9000);
    await serveFile("disk.img", MIB);
    const findings =
      /^problem: e1\.0: .*packets of more than 15\d\d octets do not arrive[^]*^warning: e1\.0: .*the server takes 2 sectors at once/m;
    const checked = async () => server.aoed("sancheck", "-i", "client0", "--pings", "5");
    await expect
      .poll(checked, PATIENCE)
      .toMatchObject({ code: 1, stdout: expect.stringMatching(findings) as string });
  });

  test("two servers for one address are found", async ({ skip }) => {
    try {
      execFileSync("which", ["vblade"]);
    } catch {
      skip("vblade is not installed");
    }
    await serveFile("disk.img", MIB);
    namespace.run("ip", "link", "add", "link", "server0", "name", "second0", "type", "macvlan");
    namespace.run("ip", "link", "set", "second0", "up");
    const path = server.place.path("other.img");
    writeFileSync(path, Buffer.alloc(2 * MIB));
    const [program, ...rest] = [...namespace.entrance, "vblade", "1", "0", "second0", path];
    const vblade = spawn(program, rest, { stdio: ["ignore", "pipe", "pipe"] });
    others.push(vblade);
    await serversAnswer(2);
    const words = ["sancheck", "-i", "client0", "--pings", "5", "--json"];
    const result = async () => {
      const { code, stdout } = await server.aoed(...words);
      const { findings } = JSON.parse(stdout || '{"findings":[]}') as {
        findings: { severity: string; message: string }[];
      };
      const problems = findings.filter(({ severity }) => severity === "problem");
      return { code, problems: problems.map(({ message }) => message) };
    };
    await expect.poll(result, PATIENCE).toMatchObject({
      code: 1,
      problems: expect.arrayContaining([
        expect.stringContaining("different disks answer"),
      ]) as string[],
    });
  });

  test("an interface that hands its frames to a bridge is refused, and left out by itself", async () => {
    await serveFile("disk.img", MIB);
    namespace.run("ip", "link", "add", "bridge0", "type", "bridge");
    namespace.run("ip", "link", "set", "client0", "master", "bridge0");
    namespace.run("ip", "link", "set", "bridge0", "up");
    try {
      for (const words of [["discover"], ["ping", "1.0"], ["sancheck"]]) {
        expect(await server.aoed(...words, "--interface", "client0")).toEqual({
          code: 2,
          stdout: "",
          stderr: expect.stringMatching(
            /^aoed: client0 is a part of the bridge bridge0, .*; use --interface bridge0\n$/,
          ) as string,
        });
      }
      // The bridge may still be learning that its port is up.
      let code = 1;
      for (let attempt = 0; attempt < 50 && code !== 0; attempt++) {
        ({ code } = await server.aoed("ping", "1.0", "--count", "1", "--timeout", "300ms"));
      }
      expect(code).toBe(0);
    } finally {
      namespace.run("ip", "link", "del", "bridge0");
    }
  });

  test("nobody there is told", async () => {
    const { code, stderr } = await server.aoed("sancheck", "-i", "client0", "--timeout", "100ms");
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining("nobody answered"),
    });
  });
});

/** Waits until so many servers answer. */
async function serversAnswer(count: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const found = await server.did("discover", "-i", "client0", "--timeout", "200ms", "--json");
    if ((JSON.parse(found) as unknown[]).length >= count) return;
  }
  throw new Error(`not ${count} servers answer`);
}
