import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "../errors.ts";
import type { Configuration } from "./configuration.ts";
import {
  ConfigurationError,
  type ConfigurationOptions,
  formatProblem,
  parseConfiguration,
} from "./load.ts";

const FILE = "/etc/aoed/aoed.toml";

function parsed(text: string, options?: ConfigurationOptions): Configuration {
  return parseConfiguration(text, FILE, options);
}

function problemsOf(text: string): readonly string[] {
  try {
    parsed(text);
  } catch (error) {
    if (error instanceof ConfigurationError) {
      return error.problems.map((problem) => formatProblem(problem, FILE));
    }
    throw error;
  }
  return [];
}

const SERVER = '[server]\ninterface = "eth0"\n';
const DISK = '[[target]]\nshelf = 1\nslot = 0\nbackend = "file"\npath = "/data/disk.img"\n';
const MINIMAL = SERVER + DISK;

describe("a valid file", () => {
  test("defaults", () => {
    const { server, targets } = parsed(MINIMAL, { stateDirectory: "/state" });
    expect(server).toEqual({
      interfaces: ["eth0"],
      port: "auto",
      workers: 1,
      bufferCount: 64,
      stateDirectory: "/state",
      controlSocket: "/state/control.sock",
      controlSocketAccess: { mode: 0o600 },
      gc: "auto",
    });
    expect(targets).toEqual([
      {
        shelf: 1,
        slot: 0,
        backend: "file",
        path: "/data/disk.img",
        readOnly: false,
        direct: false,
        durability: "durable",
        writebackIntervalMs: 1000,
        offsetSectors: 0,
        allow: [],
        wireChanges: ["config", "mask", "reserve"],
      },
    ]);
  });

  test("every key of the server", () => {
    const { server } = parsed(`[server]
interfaces = ["eth0", "br-lan.7"]
port = "packet"
workers = 4
buffer_count = 256
busy_poll = "50us"
state_dir = "state"
control_socket = "/run/aoed.sock"
control_socket_owner = "operator"
control_socket_group = "4"
control_socket_mode = "0660"
user = "aoed"
gc = "off"
${DISK}`);
    expect(server).toEqual({
      interfaces: ["eth0", "br-lan.7"],
      port: "packet",
      workers: 4,
      bufferCount: 256,
      busyPollMs: 0.05,
      stateDirectory: "/etc/aoed/state",
      controlSocket: "/run/aoed.sock",
      controlSocketAccess: { owner: "operator", group: "4", mode: 0o660 },
      user: "aoed",
      gc: "off",
    });
  });

  test("every key of a target", () => {
    const { targets } = parsed(`${SERVER}[[target]]
shelf = 65534
slot = 254
backend = "file"
path = "images/disk.img"
size = "10GiB"
read_only = true
direct = true
durability = "writeback"
writeback_interval = "250ms"
offset = "1MiB"
length = 1048576
wire_changes = ["mask"]
allow = ["52:54:00:12:34:56", "52-54-00-12-34-56", "00:00:00:00:00:01"]
config_string = "grün"
`);
    expect(targets).toEqual([
      {
        shelf: 65534,
        slot: 254,
        backend: "file",
        path: "/etc/aoed/images/disk.img",
        sizeBytes: 10 * 2 ** 30,
        readOnly: true,
        direct: true,
        durability: "writeback",
        writebackIntervalMs: 250,
        offsetSectors: 2048,
        lengthSectors: 2048,
        wireChanges: ["mask"],
        allow: [0x525400123456, 1],
        configString: new TextEncoder().encode("grün"),
      },
    ]);
  });

  test("the smallest useful mixture: a volume and a file", () => {
    const text = [
      "[server]",
      'interface = "eth0"',
      "",
      "[[target]]",
      "shelf = 1",
      "slot = 0",
      'backend = "cas"',
      "",
      "[target.cas]",
      'blob_store = "file"',
      'path = "/data/aoe-store"',
      "block_size = 4096",
      "",
      "[[target]]",
      "shelf = 1",
      "slot = 1",
      'backend = "file"',
      'path = "/data/disk.img"',
    ].join("\n");
    expect(parsed(text).targets.map(({ backend, slot }) => [slot, backend])).toEqual([
      [0, "cas"],
      [1, "file"],
    ]);
  });

  test('control_socket = "none" is no socket', () => {
    const text = `[server]\ninterface = "eth0"\ncontrol_socket = "none"\n${DISK}`;
    expect(parsed(text).server.controlSocket).toBeUndefined();
  });

  test("options of the command line win over the file, and add targets", () => {
    const [target] = parsed(MINIMAL).targets;
    const added = { ...target, slot: 7, path: "/data/other.img" };
    const { server, targets } = parsed(MINIMAL, {
      interfaces: ["eth9"],
      port: "tap",
      targets: [added],
    });
    expect(server).toMatchObject({ interfaces: ["eth9"], port: "tap" });
    expect(targets.map(({ slot }) => slot)).toEqual([0, 7]);
  });
});

describe("mistakes", () => {
  const target = (lines: string) => `${SERVER}[[target]]\nshelf = 1\nslot = 0\n${lines}\n`;
  const mistakes: [text: string, expected: string[]][] = [
    ["", ["1:1: server.interface: is missing", "1:1: target: is missing"]],
    [
      "server = 1\n[[target]]\n",
      [
        "1:1: server: 1 is not a table",
        "2:1: target[0].shelf: is missing",
        "2:1: target[0].slot: is missing",
        "2:1: target[0].backend: is missing",
      ],
    ],
    [`${SERVER}[target]\nshelf = 1`, ["3:2: target: a table is not a list; write [[target]]"]],
    [`[server]\ninterface = "eth 0"\n${DISK}`, ['2:1: server.interface: "eth 0" is not the name']],
    [
      `[server]\ninterfaces = ["eth0", "eth0"]\n${DISK}`,
      ['2:23: server.interfaces[1]: "eth0" is listed twice'],
    ],
    [`[server]\ninterfaces = []\n${DISK}`, ["1:2: server.interface: is missing"]],
    [
      `[server]\ninterfaces = "eth0"\n${DISK}`,
      ['2:1: server.interfaces: "eth0" is not a list of interfaces'],
    ],
    [
      `${SERVER}interfaces = ["eth1"]\n${DISK}`,
      ["2:1: server.interface: stands beside interfaces"],
    ],
    [
      `${SERVER}port = "pcaket"\n${DISK}`,
      ['3:1: server.port: "pcaket" is not a kind of port; did you mean "packet"?'],
    ],
    [`${SERVER}buffer_count = 1\n${DISK}`, ["3:1: server.buffer_count: 1 is not a buffer count"]],
    [
      `${SERVER}busy_poll = "5ms"\n${DISK}`,
      ['3:1: server.busy_poll: "5ms" is not a duration of at most 1ms'],
    ],
    [
      `${SERVER}${DISK}wire_changes = ["maks"]\n`,
      [
        '8:17: target[0].wire_changes[0]: "maks" is not what initiators may change; did you mean "mask"?',
      ],
    ],
    [
      `${SERVER}metrics = ":9100"\n${DISK}`,
      ['3:1: server.metrics: ":9100" is not an address to listen on; use "127.0.0.1:9190"'],
    ],
    [
      `${SERVER}metrics = ["127.0.0.1:9190", 7]\n${DISK}`,
      ["3:1: server.metrics: an array is not an address to listen on"],
    ],
    [`${SERVER}web_control = true\n${DISK}`, ["3:1: server.web_control: needs metrics"]],
    [
      `${SERVER}metrics = ["127.0.0.1:9190", "10.0.0.1:9190"]\nweb_control = true\n${DISK}`,
      ["4:1: server.web_control: would let the whole network change snapshots"],
    ],
    [`${SERVER}user = "a b"\n${DISK}`, ['3:1: server.user: "a b" is not the name of a user']],
    [
      `${SERVER}control_socket_mode = "0755"\n${DISK}`,
      ['3:1: server.control_socket_mode: "0755" is not a mode for a socket'],
    ],
    [
      `${SERVER}control_socket = "/${"x".repeat(107)}"\n${DISK}`,
      ["3:1: server.control_socket: makes the control socket's path too long"],
    ],
    [
      `${SERVER}buffer-count = 4\n${DISK}`,
      ["3:1: server.buffer-count: is not a key of this version; did you mean buffer_count?"],
    ],
    [
      `${SERVER}[sever]\n${DISK}`,
      ["3:2: sever: is not a key of this version; did you mean server?"],
    ],
    [MINIMAL.replace("shelf = 1", "shelf = 4095"), ["4:1: target[0].shelf: 4095 is not a shelf"]],
    [MINIMAL.replace("shelf = 1", "shelf = 65535"), ["4:1: target[0].shelf: 65535 is not a shelf"]],
    [MINIMAL.replace("slot = 0", "slot = 255"), ["5:1: target[0].slot: 255 is not a slot"]],
    [MINIMAL.replace("slot = 0", "slot = 0.5"), ["5:1: target[0].slot: 0.5 is not a slot"]],
    [
      MINIMAL.replace("slot = 0", "slot = 1979-05-27"),
      ["5:1: target[0].slot: a date is not a slot"],
    ],
    [MINIMAL + DISK.replace("disk", "other"), ["10:1: target[1].slot: e1.0 is defined twice"]],
    [
      MINIMAL + DISK.replace("0", "1").replace("/data/", "/data/./"),
      ['12:1: target[1].path: "/data/disk.img" is already used by e1.0; use another'],
    ],
    [target('backend = "file"'), ["3:1: target[0].path: is missing"]],
    [target('backend = "memory"'), ["3:1: target[0].size: is missing"]],
    [
      target('backend = "memory"\nsize = "1MiB"\npath = "x"'),
      ["8:1: target[0].path: does not apply to a memory target"],
    ],
    [
      target('backend = "device"\npath = "/dev/sdb"\nsize = "1MiB"'),
      ["8:1: target[0].size: does not apply to a device target"],
    ],
    [target('backend = "cas"'), ["3:1: target[0].cas: is missing"]],
    [target('backend = "cas"\n[target.cas]'), ["7:9: target[0].cas.path: is missing"]],
    [
      target('backend = "cas"\n[target.cas]\npath = "s"\nblock_size = 1000'),
      ["9:1: target[0].cas.block_size: 1000 is not a block size"],
    ],
    [
      target('backend = "cas"\n[target.cas]\npath = "s"\nblocksize = 4096'),
      ["9:1: target[0].cas.blocksize: is not a key of this version; did you mean block_size?"],
    ],
    [`${MINIMAL}size = "1000"`, ['8:1: target[0].size: "1000" is not a size in whole sectors']],
    [`${MINIMAL}size = 0`, ["8:1: target[0].size: 0 is not a size"]],
    [`${MINIMAL}offset = -512`, ["8:1: target[0].offset: -512 is not an offset"]],
    [`${MINIMAL}size = 1024\noffset = 1024`, ["9:1: target[0].offset: reaches beyond size"]],
    [
      `${MINIMAL}size = 1024\noffset = 512\nlength = 1024`,
      ["10:1: target[0].length: reaches beyond size"],
    ],
    [`${MINIMAL}read_only = "yes"`, ['8:1: target[0].read_only: "yes" is not true or false']],
    [`${MINIMAL}durability = "remote"`, ['8:1: target[0].durability: "remote" is for cas targets']],
    [`${MINIMAL}writeback_interval = "1s"`, ["8:1: target[0].writeback_interval: has no effect"]],
    [
      `${MINIMAL}durability = "writeback"\nwriteback_interval = 1`,
      ["9:1: target[0].writeback_interval: 1 is not a duration"],
    ],
    [
      `${MINIMAL}allow = ["52:54:00:12:34:56", "eth0"]`,
      ['8:31: target[0].allow[1]: "eth0" is not a MAC address'],
    ],
    [`${MINIMAL}config_string = "${"x".repeat(1025)}"`, ["8:1: target[0].config_string: "]],
    [`${MINIMAL}__proto__ = 1`, ["8:1: target[0].__proto__: is not a key"]],
    ["[server]\ninterface = eth0", ["2:13: not valid TOML: "]],
  ];
  const named = mistakes.map(([text, expected]) => ({ name: expected[0], text, expected }));
  test.each(named)("$name", ({ text, expected }) => {
    const problems = problemsOf(text);
    for (const [index, beginning] of expected.entries()) {
      expect(problems[index]?.slice(0, FILE.length + 1 + beginning.length)).toBe(
        `${FILE}:${beginning}`,
      );
    }
    expect(problems).toHaveLength(expected.length);
  });

  test("the error's own message is the first mistake and how many more there are", () => {
    expect(() => parsed("")).toThrow(
      /^\/etc.*:1:1: server\.interface: .* \(and 1 more: aoed check-config \/etc/,
    );
  });
});

describe("any text", () => {
  const fragment = fc.constantFrom(
    ..."[]{}=.\"'#\n,\\-_ \t".split(""),
    "[[target]]\n",
    "[server]\n",
    'interface = "eth0"\n',
    "shelf = 1\n",
    "size = ",
    "__proto__",
    '"""',
    "1979-05-27",
    "99999999999999999999",
    "\u0000",
    "é",
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(fragment, { maxLength: 30 }).map((all) => all.join("")),
  );

  test("is refused with one line a mistake, or accepted; nothing else is thrown", () => {
    fc.assert(
      fc.property(text, (document) => {
        try {
          parsed(document);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
          for (const problem of (error as ConfigurationError).problems) {
            expect(formatProblem(problem, FILE)).toMatch(
              /^\/etc\/aoed\/aoed\.toml:\d+:\d+: [^\n\r]+$/,
            );
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("an unknown key is reported where it stands, wherever it stands", () => {
    const lines = (
      MINIMAL + "[[target]]\nshelf = 2\nslot = 2\nbackend = 'memory'\nsize = 512"
    ).split("\n");
    const unknown = fc.stringMatching(/^[a-z]{1,9}$/).map((letters) => `zz_${letters}`);
    fc.assert(
      fc.property(
        unknown,
        fc.integer({ min: 1, max: lines.length }),
        fc.nat(8),
        (key, at, indent) => {
          const withKey = lines.toSpliced(at, 0, `${" ".repeat(indent)}${key} = 1`).join("\n");
          const problems = problemsOf(withKey);
          expect(problems).toHaveLength(1);
          expect(problems[0]).toContain(`${FILE}:${at + 1}:${indent + 1}: `);
          expect(problems[0]).toContain(`.${key}: is not a key of this version`);
        },
      ),
    );
  });
});
