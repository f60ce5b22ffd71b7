import { resolve } from "node:path";
import * as v from "valibot";
import type { ObjectStoreSettings } from "../object/object-store-settings.ts";
import { BLOB_STORES } from "./configuration.ts";
import { frontEntries } from "./front-keys.ts";
import { flag, oneOf, pathSuchAs, readWith } from "./values.ts";

/**
 * The tables of object stores in [target.cas]: where a store is, and which files hold secrets. No
 * message shows a value that may be a secret in the wrong place.
 */

const MAX_PREFIX_LENGTH = 256;

function textLike(pattern: RegExp, wrong: string, right: string) {
  const read = (input: unknown) =>
    typeof input === "string" && pattern.test(input) ? input : undefined;
  return readWith(read, wrong, right);
}

const prefix = readWith(
  (input) => {
    if (typeof input !== "string" || input.length > MAX_PREFIX_LENGTH) return undefined;
    if (input === "") return "";
    const isPrefix = /^[\w-][\w.-]*(?:\/[\w-][\w.-]*)*\/?$/.test(input);
    return isPrefix ? `${input.replace(/\/$/, "")}/` : undefined;
  },
  "is not a prefix of keys",
  'use letters, digits, "-", "_", "." and slashes between them, such as "lab/disks"',
);

/** Accepts what `isWrong` has nothing to say against; its words replace the value. */
function unlessSecret(isWrong: (input: unknown) => string | undefined) {
  return v.pipe(
    v.custom<string>(
      (input) => isWrong(input) === undefined,
      ({ input }) => isWrong(input) ?? "",
    ),
  );
}

const endpoint = unlessSecret((input) => {
  const right = 'use the URL of a service such as "https://s3.example.org"';
  if (typeof input !== "string" || !URL.canParse(input)) return `is not a URL; ${right}`;
  const url = new URL(input);
  if (!["http:", "https:"].includes(url.protocol)) return `is not http or https; ${right}`;
  const { username, password, search, hash } = url;
  if (username + password + search + hash === "") return undefined;
  return "has more in it than the place of a service; remove user, password and what follows a ?";
});

const secretFile = unlessSecret((input) => {
  if (typeof input !== "string" || input === "" || input.includes("\0")) {
    return "is not a path; name the file that holds the secret";
  }
  const isSecret = /AccountKey=|SharedAccessSignature=|sig=|^[A-Za-z0-9+/]{40,}=*$/.test(input);
  return isSecret ? "is a secret itself; write it into a file, and name that file here" : undefined;
});

export const directorySchema = v.object({
  path: v.optional(pathSuchAs("/mnt/nas/aoed")),
});

export const s3Schema = v.object({
  bucket: v.optional(
    textLike(/^[\w.-]{3,255}$/, "is not a bucket", 'use the name of one such as "disks"'),
  ),
  prefix: v.optional(prefix, ""),
  region: v.optional(textLike(/^[\w-]{1,64}$/, "is not a region", 'use one such as "eu-west-1"')),
  endpoint: v.optional(endpoint),
  path_style: v.optional(flag),
  profile: v.optional(
    textLike(/^[^\p{Cc}[\]]{1,128}$/u, "is not a profile", 'use a section such as "aoed"'),
  ),
  credentials_file: v.optional(secretFile),
  unsafe_single_writer: v.optional(flag, false),
});

export const azureSchema = v.object({
  account: v.optional(
    textLike(/^[a-z0-9]{3,24}$/, "is not an account", 'use a storage account such as "labdisks"'),
  ),
  container: v.optional(
    textLike(
      /^[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]$/,
      "is not a container",
      'use the name of one such as "disks"',
    ),
  ),
  prefix: v.optional(prefix, ""),
  endpoint: v.optional(endpoint),
  connection_string_file: v.optional(secretFile),
  account_key_file: v.optional(secretFile),
  sas_token_file: v.optional(secretFile),
  unsafe_single_writer: v.optional(flag, false),
});

/** A file that says where a store is, for commands: the keys of [target.cas] that do so. */
export const storeFileSchema = v.object({
  blob_store: v.optional(oneOf(BLOB_STORES, "a blob store"), "file"),
  path: v.optional(pathSuchAs("/data/aoe-store")),
  read_only: v.optional(flag, false),
  ...frontEntries,
  directory: v.optional(directorySchema),
  s3: v.optional(s3Schema),
  azure: v.optional(azureSchema),
});

/** The tables, by the `blob_store` that each is for. */
export const objectStoreSchemas = {
  directory: directorySchema,
  s3: s3Schema,
  azure: azureSchema,
} as const;

export type ObjectStoreKind = keyof typeof objectStoreSchemas;

export interface ObjectStoreTables {
  readonly blob_store: ObjectStoreKind | "file";
  readonly directory?: v.InferOutput<typeof directorySchema> | undefined;
  readonly s3?: v.InferOutput<typeof s3Schema> | undefined;
  readonly azure?: v.InferOutput<typeof azureSchema> | undefined;
}

interface TableViolation {
  /** Within [target.cas]. */
  readonly key: string;
  readonly message: string;
}

/** A blob store has its own table, and no other. */
export function objectStoreRules(cas: ObjectStoreTables): TableViolation[] {
  const violations: TableViolation[] = [];
  for (const kind of Object.keys(objectStoreSchemas) as ObjectStoreKind[]) {
    const isThere = cas[kind] !== undefined;
    if (isThere && cas.blob_store !== kind) {
      const right = `set blob_store = "${kind}", or remove it`;
      violations.push({ key: kind, message: `is for another blob store; ${right}` });
    }
    if (!isThere && cas.blob_store === kind) {
      const message = `is missing; add a table [target.cas.${kind}] that says where it is`;
      violations.push({ key: kind, message });
    }
  }
  const missing = (key: string, what: string) =>
    violations.push({ key, message: `is missing; name ${what}` });
  if (cas.directory !== undefined && cas.directory.path === undefined) {
    missing("directory.path", "the folder of the store");
  }
  if (cas.s3 !== undefined && cas.s3.bucket === undefined) missing("s3.bucket", "one that exists");
  if (cas.azure !== undefined && cas.azure.container === undefined) {
    missing("azure.container", "one that exists");
  }
  const files = ["connection_string_file", "account_key_file", "sas_token_file"] as const;
  const named = files.filter((file) => cas.azure?.[file] !== undefined);
  for (const file of named.slice(1)) {
    const message = `stands beside ${named[0]}; keep one of the two`;
    violations.push({ key: `azure.${file}`, message });
  }
  return violations;
}

/** @param folder what relative paths are relative to */
export function objectStoreOf(
  cas: ObjectStoreTables,
  folder: string,
): ObjectStoreSettings | undefined {
  const file = (path: string | undefined) =>
    path === undefined ? undefined : resolve(folder, path);
  if (cas.blob_store === "directory" && cas.directory?.path !== undefined) {
    return { kind: "directory", path: resolve(folder, cas.directory.path) };
  }
  if (cas.blob_store === "s3" && cas.s3?.bucket !== undefined) {
    const { bucket, region, profile, endpoint: url, path_style: pathStyle } = cas.s3;
    return {
      kind: "s3",
      bucket,
      prefix: cas.s3.prefix,
      region,
      endpoint: url,
      // Services of one's own seldom have a host's name for each bucket.
      pathStyle: pathStyle ?? url !== undefined,
      profile,
      credentialsFile: file(cas.s3.credentials_file),
      unsafeSingleWriter: cas.s3.unsafe_single_writer,
    };
  }
  if (cas.blob_store === "azure" && cas.azure?.container !== undefined) {
    const { account, container, endpoint: url } = cas.azure;
    return {
      kind: "azure",
      account,
      container,
      prefix: cas.azure.prefix,
      endpoint: url,
      connectionStringFile: file(cas.azure.connection_string_file),
      accountKeyFile: file(cas.azure.account_key_file),
      sasTokenFile: file(cas.azure.sas_token_file),
      unsafeSingleWriter: cas.azure.unsafe_single_writer,
    };
  }
  return undefined;
}
