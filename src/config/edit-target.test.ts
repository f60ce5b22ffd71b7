import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "../errors.ts";
import { withTargetAdded, withTargetChanged, withTargetRemoved } from "./edit-target.ts";
import { parseConfiguration } from "./load.ts";

const FILE = "/etc/aoed/aoed.toml";
const TEXT = `# The disks of the lab.

[server]
interface = "eth0"   # the storage network

# Two machines boot from this.
[[target]]
shelf = 1
slot = 0
  backend = "cas"
size = "1TiB"
[target.cas]   # big
path = "/data/store"
snapshots = { every = "1h", keep = 3 }

# scratch
[[target]]
shelf = 1
slot = 1
backend = "file"     # a plain one
path = "/data/[scratch].img"
allow = [
  "52:54:00:12:34:56", # the first
]

# the end
`;
const FIRST = { shelf: 1, slot: 0 };
const SECOND = { shelf: 1, slot: 1 };

describe("a target in the text of a configuration file", () => {
  test("is added at the end", () => {
    const keys = {
      shelf: 2,
      slot: 0,
      backend: "cas",
      read_only: true,
      cas: { path: "/s", volume: "v" },
    };
    expect(withTargetAdded(TEXT, FILE, keys)).toBe(
      `${TEXT}\n[[target]]\nshelf = 2\nslot = 0\nbackend = "cas"\nread_only = true\n\n[target.cas]\npath = "/s"\nvolume = "v"\n`,
    );
    expect(() => withTargetAdded(TEXT, FILE, { ...keys, shelf: 1 })).toThrow(
      /e1\.0 is there already/,
    );
  });

  test("is removed with its tables and the comment right above it", () => {
    const [head, rest] = TEXT.split("# Two machines boot from this.\n");
    expect(withTargetRemoved(TEXT, FILE, FIRST)).toBe(head + rest.slice(rest.indexOf("# scratch")));
    const ahead = TEXT.slice(0, TEXT.indexOf("# scratch"));
    expect(withTargetRemoved(TEXT, FILE, SECOND)).toBe(ahead);
  });

  test("gets other values, new keys, and loses some; comments stay", () => {
    const changes = { size: "2TiB", durability: "writeback", cas: { cache: "1GiB" } };
    const edited = withTargetChanged(TEXT, FILE, FIRST, changes);
    expect(edited).toBe(
      TEXT.replace('size = "1TiB"', 'size = "2TiB"\ndurability = "writeback"').replace(
        "keep = 3 }\n",
        'keep = 3 }\ncache = "1GiB"\n',
      ),
    );
    const freed = withTargetChanged(TEXT, FILE, SECOND, { allow: null, direct: true });
    expect(freed).toBe(TEXT.replace(/allow = \[[^]*?\]\n/, "direct = true\n"));
  });

  test("a table that is not there yet is made", () => {
    const text =
      '[server]\ninterface = "a"\n[[target]]\nshelf = 1\nslot = 0\nbackend = "cas"\n[target.cas]\npath = "/s"';
    const changes = { cas: { snapshots: { every: "1h" } } };
    const edited = withTargetChanged(text, FILE, FIRST, changes);
    expect(edited).toBe(`${text}\n[target.cas.snapshots]\nevery = "1h"\n`);
  });

  test("what cannot be edited safely, or is not there, is refused", () => {
    const inline = '[server]\ninterface = "a"\n';
    const listed = `target = [{ shelf = 1, slot = 0, backend = "memory", size = 512 }]\n${inline}`;
    expect(() => withTargetRemoved(listed, FILE, FIRST)).toThrow(/change it in an editor/);
    expect(() => withTargetRemoved(TEXT, FILE, { shelf: 9, slot: 9 })).toThrow(
      /e9\.9 is not in the file/,
    );
    expect(() => withTargetChanged(TEXT, FILE, FIRST, { size: "1" })).toThrow(UsageError);
  });

  test("whatever strings hold, they are read back as they were", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40, unit: "binary" }), (text) => {
        fc.pre(text.isWellFormed() && text !== "");
        const edited = withTargetChanged(TEXT, FILE, SECOND, { config_string: text });
        const [, second] = parseConfiguration(edited, FILE).targets;
        expect(Buffer.from(second.configString ?? []).toString()).toBe(text);
        const without = withTargetChanged(edited, FILE, SECOND, { config_string: null });
        expect(without).toBe(TEXT);
      }),
    );
  });
});
