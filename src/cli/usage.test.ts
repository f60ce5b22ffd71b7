import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { VERSION } from "../server/version.ts";
import { AOED, type Finished, Workplace } from "./run-aoed.testing.ts";

let place: Workplace;
beforeEach(() => {
  place = new Workplace();
});
afterEach(() => {
  place.remove();
});

async function check(text: string, ...options: string[]): Promise<Finished> {
  writeFileSync(place.path("aoed.toml"), text);
  return place.aoed("check-config", "aoed.toml", ...options);
}

function fileTarget(slot: number, keys: string): string {
  return `[[target]]\nshelf = 1\nslot = ${slot}\nbackend = "file"\n${keys}\n`;
}

const COMMANDS =
  "serve check-config discover ping sancheck copy bench status target reload state snapshot volume import export send receive verify gc".split(
    " ",
  );

describe("help and version", () => {
  test("--version prints the version", async () => {
    expect(await place.aoed("--version")).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: "" });
  });

  test("--help lists the commands", async () => {
    const { code, stdout } = await place.aoed("--help");
    expect(code).toBe(0);
    for (const command of COMMANDS) {
      expect(stdout).toMatch(new RegExp(`^ {2}${command} `, "m"));
    }
  });

  test.each(COMMANDS)("%s --help explains it", async (command) => {
    const { code, stdout, stderr } = await place.aoed(command, "--help");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(`Usage: aoed ${command}`);
  });

  test("no command at all is a mistake, answered with the help", async () => {
    const { code, stdout, stderr } = await place.aoed();
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("Usage: aoed");
  });
});

describe("mistakes end with code 2, one line, and nothing on disk", () => {
  const mistakes: [words: string[], line: RegExp][] = [
    [["srve"], /unknown command 'srve' \(Did you mean serve\?\)/],
    [["serve", "--interfce", "eth0"], /unknown option '--interfce' \(Did you mean --interface\?\)/],
    [["serve"], /--interface is missing; name one: this (machine has|network namespace has none)/],
    [["serve", "-i", "no/name"], /--interface: "no\/name" is no name/],
    [["serve", "-i", "lo", "-i", "lo"], /--interface: lo is given twice/],
    [["serve", "-i", "aoed-absent0"], /interface aoed-absent0 does not exist; this/],
    [["serve", "-i", "lo", "--port", "afxdp"], /'afxdp' is invalid. Allowed choices are auto/],
    [["serve", "-i", "lo", "-e", "1.0"], /--export: "1.0" names no path; use SHELF.SLOT=PATH/],
    [["serve", "-i", "lo", "-e", "4095.0=x"], /--export: "4095.0" is not a target address/],
    [["serve", "-i", "lo", "-e", "1.255=x"], /--export: "1.255" is not a target address/],
    [
      ["serve", "-i", "lo", "--size", "1MiB", "-e", "1.0=/dev/aoed-absent"],
      /e1.0: path: "\/dev\/aoed-absent" does not exist; check the path/,
    ],
    [["serve", "-i", "lo", "-e", "1.0=absent.img"], /e1.0: path: ".*absent.img" does not exist/],
    [["serve", "-i", "lo", "-e", "1.0=no/a.img", "--size", "1MiB"], /cannot be created \(ENOENT\)/],
    [["serve", "-i", "lo", "-e", "1.0=a", "--size", "1"], /--size: "1" is not a size in sectors/],
    [
      ["serve", "-i", "lo", "-e", "1.0=/"],
      /e1.0: cas.path: "\/" has other files in it, and no store/,
    ],
    [["serve", "-i", "lo", "-e", "1.0=/#a/b"], /--export: "a\/b" is not the name of a volume/],
    [["serve", "-i", "lo", "-e", "1.0=/dev/null"], /"\/dev\/null" is not a regular file/],
    [
      ["serve", "-i", "lo", "--size", "1MiB", "-e", "1.0=a", "-e", "1.0=b"],
      /--export: e1.0 is defined twice/,
    ],
    [
      ["serve", "-i", "lo", "--size", "1MiB", "-e", "1.0=a", "-e", "1.1=./a"],
      /--export: ".*\/a" is already used by e1.0/,
    ],
    [["serve", "--config", "absent.toml"], /absent.toml: cannot be read \(ENOENT\)/],
    [
      ["serve", "--config", "x", "--size", "1MiB"],
      /--size goes with --export; set it in x instead/,
    ],
    [["serve", "--log-level", "loud"], /'loud' is invalid/],
    [["check-config"], /missing required argument 'file'/],
    [["check-config", "absent.toml"], /absent.toml: cannot be read \(ENOENT\)/],
    [["check-config", "/"], /\/: cannot be read \(EISDIR\)/],
    [["status", "--socket", "absent.sock"], /no server answers at absent.sock \(ENOENT\)/],
    [["state", "show", "1"], /"1" is not a target address/],
    [["state", "show", "1.0", "--state-dir", "."], /e1.0: no server runs and there is no state in/],
    [["state", "clear", "1.0"], /say what to clear/],
    [["state", "clear", "1.0", "--mask", "--socket", "absent.sock"], /no server answers at absent/],
    [["target", "add", "1.0"], /name what to serve: --file PATH, .* or --snapshot ID, one of them/],
    [["target", "remove", "1"], /"1" is not a target address/],
    [["target", "list", "--socket", "absent.sock"], /no server answers at absent.sock \(ENOENT\)/],
    [["snapshot", "list"], /no server answers at .* --store$/m],
    [["snapshot", "list", "--store", "absent"], /there is no store in .*absent; check the path/],
    [["snapshot", "create", "x", "--store", "."], /there is no store in /],
    [["volume", "create", "x"], /required option '--size <size>' not specified/],
    [["volume", "create", "x", "--size", "5", "--store", "s"], /"5" is not a size in sectors/],
    [["volume", "create", "a/b", "--size", "1MiB", "--store", "s"], /"a\/b" is not the name of/],
    [
      ["volume", "create", "x", "--size", "1MiB", "--block-size", "3KiB", "--store", "s"],
      /--block-size: "3KiB" is not a block size/,
    ],
    [["import", "absent.img", "--into", "s", "--volume", "v"], /absent.img: cannot be read/],
    [["export", "v", "--from", "absent", "x.img"], /there is no store in .*absent/],
    [["send", "1", "--from", "absent", "--to", "s"], /there is no store in .*absent/],
    [["receive", "1", "--from", "absent", "--to", "s"], /there is no store in .*absent/],
    [["verify", "--rate", "fast", "--store", "s"], /--rate: "fast" is not a rate/],
    [["gc", "--store", "absent"], /there is no store in .*absent/],
    [["ping"], /missing required argument 'shelf.slot'/],
    [["ping", "1.x", "--interface", "lo"], /"1.x" is not a target address/],
    [["discover", "--interface", "lo", "--timeout", "soon"], /--timeout: "soon" is not a duration/],
    [["discover", "--interface", "aoed-absent0"], /aoed-absent0/],
  ];
  const named = mistakes.map(([words, line]) => ({ name: words.join(" "), words, line }));
  test.each(named)("aoed $name", async ({ words, line }) => {
    const { code, stdout, stderr } = await place.aoed(...words);
    expect(stderr).toMatch(/^aoed: [^\n]*\n$/);
    expect(stderr).toMatch(line);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(place.contents()).toEqual([]);
  });
});

test("what may not be opened is one line that says who may", async () => {
  mkdirSync(place.path("closed"));
  chmodSync(place.path("closed"), 0);
  // Even root may not without its capabilities.
  const isRoot = process.geteuid?.() === 0;
  const plain = isRoot ? ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] : ["env"];
  const denied: [words: string[], line: RegExp][] = [
    [["status", "--socket", "closed/c.sock"], /^aoed: closed\/c.sock: permission denied; run/],
    [["gc", "--store", "closed/s"], /^aoed: \/.*closed\/s: permission denied; run this as root/],
  ];
  const [program = "", ...rest] = plain;
  for (const [words, line] of denied) {
    const { code, stderr } = await place.run(program, ...rest, AOED, ...words);
    expect({ code, lines: stderr.trimEnd().split("\n").length }).toEqual({ code: 2, lines: 1 });
    expect(stderr).toMatch(line);
  }
  chmodSync(place.path("closed"), 0o700);
});

describe("check-config", () => {
  const good = `[server]
interface = "lo"

[[target]]
shelf = 1
slot = 1
backend = "file"
path = "disk.img"
size = "1MiB"
allow = ["02:00:00:00:00:01"]
config_string = "boot"
`;

  test("a valid file: code 0 and a table, and the disk is not created", async () => {
    const { code, stdout, stderr } = await check(good);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("aoed.toml: valid\n");
    expect(stdout).toMatch(/^e1\.1 +file +1MiB +durable +02:00:00:00:00:01 +\/.*disk\.img$/m);
    expect(place.contents()).toEqual(["aoed.toml"]);
  });

  test("a valid file in JSON", async () => {
    const { code, stdout } = await check(good, "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      valid: true,
      problems: [],
      server: { interfaces: ["lo"], bufferCount: 64 },
      targets: [{ shelf: 1, slot: 1, sizeBytes: 1048576, configString: "Ym9vdA==" }],
    });
  });

  test("every mistake on a line of its own, with its place", async () => {
    const { code, stdout, stderr } = await check(
      good.replace("slot = 1", "slot = 300").replace("size", "sizes"),
    );
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr.split("\n")).toEqual([
      "aoed.toml:6:1: target[0].slot: 300 is not a slot; use a whole number from 0 to 254 (255 means every slot)",
      "aoed.toml:9:1: target[0].sizes: is not a key of this version; did you mean size?",
      "",
    ]);
  });

  test("mistakes in JSON", async () => {
    const { code, stdout } = await check(good.replace("interface", "interfce"), "--json");
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({
      valid: false,
      problems: [
        { line: 1, column: 2, key: "server.interface" },
        { line: 2, column: 1, key: "server.interfce" },
      ],
    });
  });

  test("what cannot be served on this machine is located as well", async () => {
    mkdirSync(place.path("folder"));
    const { code, stderr } = await check(`[server]
interface = "aoed-absent0"
port = "xdp"
[[target]]
shelf = 1
slot = 0
backend = "cas"
[target.cas]
path = "aoed.toml"
[[target]]
shelf = 1
slot = 1
backend = "file"
path = "absent.img"
[[target]]
shelf = 1
slot = 2
backend = "device"
path = "folder"
`);
    expect(code).toBe(2);
    const lines = stderr.trimEnd().split("\n");
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatch(
      /^aoed.toml:9:1: target\[0\].cas.path: ".*aoed.toml" is not a folder; /,
    );
    expect(lines[1]).toMatch(/^aoed.toml:14:1: target\[1\].path: ".*absent.img" does not exist; /);
    expect(lines[2]).toMatch(
      /^aoed.toml:19:1: target\[2\].path: ".*folder" is not a block device; /,
    );
    expect(lines[3]).toMatch(/^aoed.toml: warning: interface aoed-absent0 does not exist; /);
    expect(place.contents()).toEqual(["aoed.toml", "folder"]);
  });

  test("files that are too short, of a broken size, or too small for the range", async () => {
    writeFileSync(place.path("short.img"), Buffer.alloc(512));
    writeFileSync(place.path("odd.img"), Buffer.alloc(700));
    writeFileSync(place.path("small.img"), Buffer.alloc(512));
    const { code, stderr } = await check(
      '[server]\ninterface = "lo"\n' +
        fileTarget(0, 'path = "short.img"\nsize = 1024') +
        fileTarget(1, 'path = "odd.img"') +
        fileTarget(2, 'path = "small.img"\nread_only = true\noffset = 512') +
        fileTarget(3, 'path = "absent.img"\nread_only = true\nsize = 512'),
    );
    expect(code).toBe(2);
    const lines = stderr.trimEnd().split("\n");
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatch(
      /^aoed.toml:8:1: target\[0\].size: .*short.img has 512 bytes, which is/,
    );
    expect(lines[1]).toMatch(
      /^aoed.toml:13:1: target\[1\].path: .*odd.img has 700 bytes, which is no/,
    );
    expect(lines[2]).toMatch(/^aoed.toml:18:1: target\[2\].path: .*offset 512 is beyond its end/);
    expect(lines[3]).toMatch(/^aoed.toml:25:1: target\[3\].path: .*does not exist and may not be/);
  });

  test("a store in the cloud is not asked, and what is before it is looked at", async () => {
    const text = (path: string): string =>
      `[server]\ninterface = "lo"\n[[target]]\nshelf = 1\nslot = 0\nbackend = "cas"\n[target.cas]\npath = "${path}"\nblob_store = "s3"\n[target.cas.s3]\nbucket = "disks"\n`;
    expect((await check(text("s"))).code).toBe(0);
    const { code, stderr } = await check(text("aoed.toml"));
    expect(code).toBe(2);
    expect(stderr).toMatch(/^aoed.toml:8:1: target\[0\].cas.path: .*aoed.toml" is not a folder/);
  });
});
