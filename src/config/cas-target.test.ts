import { describe, expect, test } from "vitest";
import { ConfigurationError, formatProblem, parseConfiguration } from "./load.ts";

const FILE = "/etc/aoed/aoed.toml";
const SERVER = '[server]\ninterface = "eth0"\n';

function parsed(text: string): ReturnType<typeof parseConfiguration> {
  return parseConfiguration(text, FILE);
}

describe("a valid cas target", () => {
  test("a volume in a local blob store: defaults", () => {
    const text = `${SERVER}[[target]]\nshelf = 1\nslot = 0\nbackend = "cas"\n[target.cas]\npath = "/data/aoe-store"\n`;
    expect(parsed(text).targets[0]).toMatchObject({
      backend: "cas",
      readOnly: false,
      cas: {
        blobStore: "file",
        path: "/data/aoe-store",
        volume: "e1.0",
        createsVolume: true,
        cacheBytes: 256 * 2 ** 20,
      },
    });
  });

  test("a volume with every key, and a snapshot beside it", () => {
    const { targets } = parsed(`${SERVER}[[target]]
shelf = 1
slot = 0
backend = "cas"
size = "1TiB"
[target.cas]
blob_store = "file"
path = "store"
block_size = 8192
volume = "databases"
cache = "64MiB"
[target.cas.snapshots]
every = "1h"
keep = 48
[[target]]
shelf = 1
slot = 1
backend = "cas"
[target.cas]
path = "store"
snapshot = "17"
`);
    expect(
      targets.map(({ cas, readOnly, sizeBytes }) => ({ ...cas, readOnly, sizeBytes })),
    ).toEqual([
      {
        blobStore: "file",
        path: "/etc/aoed/store",
        blockSizeBytes: 8192,
        volume: "databases",
        createsVolume: true,
        cacheBytes: 64 * 2 ** 20,
        snapshots: { everyMs: 3_600_000, keep: 48 },
        readOnly: false,
        sizeBytes: 2 ** 40,
      },
      {
        blobStore: "file",
        path: "/etc/aoed/store",
        volume: "e1.1",
        createsVolume: false,
        snapshot: "17",
        cacheBytes: 256 * 2 ** 20,
        readOnly: true,
      },
    ]);
  });
});

describe("mistakes in a cas target", () => {
  const target = (lines: string) => `${SERVER}[[target]]\nshelf = 1\nslot = 0\n${lines}\n`;
  const mistakes: [text: string, expected: string[]][] = [
    [
      target('backend = "cas"\n[target.cas]\npath = "s"\nvolume = "a/b"'),
      ['9:1: target[0].cas.volume: "a/b" is not the name of a volume'],
    ],
    [
      target('backend = "cas"\n[target.cas]\npath = "s"\ncache = "1KiB"'),
      ['9:1: target[0].cas.cache: "1KiB" is not a cache size'],
    ],
    [
      target('backend = "cas"\n[target.cas]\npath = "s"\nsnapshot = "17"\nvolume = "a"'),
      ["10:1: target[0].cas.volume: does not apply to a target of a snapshot"],
    ],
    [
      target('backend = "cas"\nsize = "1GiB"\n[target.cas]\npath = "s"\nsnapshot = "17"'),
      ["7:1: target[0].size: does not apply to a target of a snapshot"],
    ],
    [
      target('backend = "cas"\n[target.cas]\npath = "s"\n[target.cas.snapshots]\nkeep = 3'),
      ["9:13: target[0].cas.snapshots.every: is missing"],
    ],
    [
      target('backend = "cas"\n[target.cas]\npath = "s"\n[target.cas.snapshots]\nevry = "1h"'),
      [
        "9:13: target[0].cas.snapshots.every: is missing",
        "10:1: target[0].cas.snapshots.evry: is not a key of this version; did you mean every?",
      ],
    ],
    [
      target('backend = "cas"\n[target.cas]\npath = "s"\nvolume = "a"') +
        '\n[[target]]\nshelf = 2\nslot = 0\nbackend = "cas"\n[target.cas]\npath = "./s"\nvolume = "a"',
      ["17:1: target[1].cas.volume: the volume a is already used by e1.0"],
    ],
  ];
  const named = mistakes.map(([text, expected]) => ({ name: expected[0], text, expected }));
  test.each(named)("$name", ({ text, expected }) => {
    let problems: readonly string[] = [];
    try {
      parsed(text);
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      problems = error.problems.map((problem) => formatProblem(problem, FILE));
    }
    expect(problems).toHaveLength(expected.length);
    for (const [index, beginning] of expected.entries()) {
      expect(problems[index]).toContain(`${FILE}:${beginning}`);
    }
  });
});
