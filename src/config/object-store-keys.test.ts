import { describe, expect, test } from "vitest";
import { ConfigurationError, formatProblem, parseConfiguration } from "./load.ts";

const FILE = "/etc/aoed/aoed.toml";
const HEAD = `[server]
interface = "eth0"
[[target]]
shelf = 1
slot = 0
backend = "cas"
[target.cas]
path = "/var/lib/aoed/e1.0"
`;

const parsed = (text: string) => parseConfiguration(HEAD + text, FILE).targets[0].cas;

function problemsOf(text: string): string[] {
  try {
    parsed(text);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return error.problems.map((problem) => formatProblem(problem, FILE));
  }
}

describe("where an object store is", () => {
  test("s3, with nothing but a bucket", () => {
    expect(parsed('blob_store = "s3"\n[target.cas.s3]\nbucket = "disks"')).toMatchObject({
      blobStore: "s3",
      path: "/var/lib/aoed/e1.0",
      objectStore: {
        kind: "s3",
        bucket: "disks",
        prefix: "",
        region: undefined,
        endpoint: undefined,
        pathStyle: false,
        credentialsFile: undefined,
        unsafeSingleWriter: false,
      },
    });
  });

  test("s3 at a service of one's own", () => {
    const text = `blob_store = "s3"
[target.cas.s3]
bucket = "disks"
prefix = "lab/a"
endpoint = "http://127.0.0.1:7480"
profile = "aoed"
credentials_file = "credentials"
unsafe_single_writer = true
`;
    expect(parsed(text)?.objectStore).toEqual({
      kind: "s3",
      bucket: "disks",
      prefix: "lab/a/",
      endpoint: "http://127.0.0.1:7480",
      pathStyle: true,
      profile: "aoed",
      credentialsFile: "/etc/aoed/credentials",
      unsafeSingleWriter: true,
    });
  });

  test("azure and a directory", () => {
    const azure = `blob_store = "azure"
[target.cas.azure]
account = "labdisks"
container = "disks"
prefix = "x/"
account_key_file = "/etc/aoed/azure-key"
`;
    expect(parsed(azure)?.objectStore).toEqual({
      kind: "azure",
      account: "labdisks",
      container: "disks",
      prefix: "x/",
      accountKeyFile: "/etc/aoed/azure-key",
      unsafeSingleWriter: false,
    });
    const directory = 'blob_store = "directory"\n[target.cas.directory]\npath = "nas"';
    expect(parsed(directory)?.objectStore).toEqual({ kind: "directory", path: "/etc/aoed/nas" });
  });
});

describe("mistakes", () => {
  const s3 = 'blob_store = "s3"\n[target.cas.s3]\nbucket = "disks"\n';
  const azure = 'blob_store = "azure"\n[target.cas.azure]\ncontainer = "disks"\n';
  const mistakes: [text: string, expected: string[]][] = [
    ['blob_store = "s3"', ["7:9: target[0].cas.s3: is missing; add a table [target.cas.s3]"]],
    [
      '[target.cas.s3]\nbucket = "disks"',
      ['9:13: target[0].cas.s3: is for another blob store; set blob_store = "s3"'],
    ],
    [
      'blob_store = "directory"\n[target.cas.directory]',
      ["10:13: target[0].cas.directory.path: is missing; name the folder"],
    ],
    ['blob_store = "s3"\n[target.cas.s3]', ["10:13: target[0].cas.s3.bucket: is missing"]],
    [`${s3}buckett = 1`, ["12:1: target[0].cas.s3.buckett: is not a key"]],
    [`${s3}prefix = "/a"`, ['12:1: target[0].cas.s3.prefix: "/a" is not a prefix of keys']],
    [`${s3}region = 1`, ["12:1: target[0].cas.s3.region: 1 is not a region"]],
    [`${s3}endpoint = "ftp://x"`, ["12:1: target[0].cas.s3.endpoint: is not http or https"]],
    [`${s3}endpoint = "nas"`, ["12:1: target[0].cas.s3.endpoint: is not a URL; use"]],
    [
      `${azure}account_key_file = "a"\nsas_token_file = "b"`,
      ["13:1: target[0].cas.azure.sas_token_file: stands beside account_key_file; keep one"],
    ],
    [
      `${s3}[[target]]\nshelf = 1\nslot = 1\nbackend = "cas"\n[target.cas]\npath = "/var/lib/aoed/e1.0"`,
      ['17:1: target[1].cas.path: "/var/lib/aoed/e1.0" belongs to another blob store'],
    ],
  ];
  const named = mistakes.map(([text, expected]) => ({ name: expected[0], text, expected }));

  test.each(named)("$name", ({ text, expected }) => {
    const problems = problemsOf(text);
    expect(problems).toHaveLength(expected.length);
    for (const [index, beginning] of expected.entries()) {
      expect(problems[index]).toContain(`${FILE}:${beginning}`);
    }
  });
});

test("a secret in the wrong place is refused, and no message shows it", () => {
  const secret = "hPz6Vb1tQk4Yw8ErN0sLx3Cg7Ju5Md2Fa9ZiTo+Rv/BeXyWq1KcHn6Gl0PmSj4Uf==";
  const lines = [
    `blob_store = "s3"\n[target.cas.s3]\nbucket = "disks"\nsecret_key = "${secret}"`,
    `blob_store = "s3"\n[target.cas.s3]\nbucket = "disks"\nendpoint = "https://me:${secret.replaceAll("/", "")}@x"`,
    `blob_store = "azure"\n[target.cas.azure]\ncontainer = "disks"\naccount_key = "${secret}"`,
    `blob_store = "azure"\n[target.cas.azure]\ncontainer = "disks"\naccount_key_file = "${secret}"`,
    `blob_store = "azure"\n[target.cas.azure]\ncontainer = "disks"\nconnection_string_file = "AccountName=a;AccountKey=${secret}"`,
    `blob_store = "azure"\n[target.cas.azure]\ncontainer = "disks"\nsas_token_file = "sv=2024&sig=${secret}"`,
    `blob_store = "azure"\n[target.cas.azure]\ncontainer = "disks"\nendpoint = "https://a.example.org/?sig=${secret}"`,
  ];
  for (const text of lines) {
    const problems = problemsOf(text);
    expect(problems, text).toHaveLength(1);
    expect(problems[0]).not.toContain(secret.slice(0, 12));
  }
});
