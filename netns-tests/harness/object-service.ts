import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { processStart, recordHostResource } from "./host-resources.ts";
import type { Lab } from "./lab.ts";

export type ObjectServiceKind = "s3" | "azure";

/** An object store of the test, on the loopback interface of the server's namespace. */
export interface ObjectService {
  /** What a target says of it: keys of [target.cas], and its table. */
  readonly keys: readonly string[];
  readonly table: readonly string[];
  /** What nobody may ever be shown. */
  readonly secret: string;
}

const PROJECT = dirname(dirname(import.meta.dirname));
const BUCKET = "disks";

/** Starts Ceph's object gateway or Azurite, and makes a bucket; it ends with the test. */
export function startObjectService(lab: Lab, kind: ObjectServiceKind): ObjectService {
  const name = kind === "s3" ? "radosgw" : "azurite";
  const folder = join(lab.folder, name);
  const { command } = inServerNamespace(lab);
  command(join(PROJECT, `scripts/start-${name}.sh`), folder);
  recordProcesses(lab, kind === "s3" ? join(folder, "run") : folder);
  const settings = join(folder, `${name}.env`);
  const make = `. ${settings}; bin/node object-tests/make-bucket.ts ${BUCKET}`;
  command("bash", "-c", make);
  return kind === "s3" ? s3Service(lab, settings) : azureService(lab, settings);
}

function inServerNamespace(lab: Lab) {
  const namespace = lab.namespace("server");
  return {
    command: (...words: string[]): void => {
      const [program = "", ...args] = namespace.command(...words);
      execFileSync(program, args, { cwd: PROJECT, stdio: ["ignore", "ignore", "inherit"] });
    },
  };
}

function recordProcesses(lab: Lab, folder: string): void {
  for (const file of readdirSync(folder).filter((each) => each.endsWith(".pid"))) {
    const leader = Number(readFileSync(join(folder, file), "utf8"));
    const startedAt = processStart(leader) ?? "";
    recordHostResource(lab.folder, { kind: "process group", leader, startedAt });
  }
}

/** The value of a line `export NAME='…'`. */
function valueIn(file: string, name: string): string {
  const value = new RegExp(`^export ${name}='(.*)'$`, "m").exec(readFileSync(file, "utf8"))?.[1];
  if (value === undefined) throw new Error(`${file} does not set ${name}`);
  return value;
}

function s3Service(lab: Lab, settings: string): ObjectService {
  const secret = valueIn(settings, "AOED_TEST_S3_SECRET_KEY");
  const credentials = join(lab.folder, "s3-credentials");
  const access = valueIn(settings, "AOED_TEST_S3_ACCESS_KEY");
  writeFileSync(
    credentials,
    `[default]\naws_access_key_id = ${access}\naws_secret_access_key = ${secret}\n`,
    { mode: 0o600 },
  );
  return {
    secret,
    keys: ['blob_store = "s3"'],
    table: [
      "[target.cas.s3]",
      `bucket = "${BUCKET}"`,
      'prefix = "lab"',
      `endpoint = "${valueIn(settings, "AOED_TEST_S3_ENDPOINT")}"`,
      `credentials_file = ${JSON.stringify(credentials)}`,
    ],
  };
}

function azureService(lab: Lab, settings: string): ObjectService {
  const connectionString = valueIn(settings, "AOED_TEST_AZURE_CONNECTION_STRING");
  const file = join(lab.folder, "azure-connection-string");
  writeFileSync(file, connectionString, { mode: 0o600 });
  return {
    secret: /AccountKey=([^;]+)/.exec(connectionString)?.[1] ?? "",
    keys: ['blob_store = "azure"'],
    table: [
      "[target.cas.azure]",
      `container = "${BUCKET}"`,
      `connection_string_file = ${JSON.stringify(file)}`,
    ],
  };
}
