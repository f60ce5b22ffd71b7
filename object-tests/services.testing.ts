import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { BlobServiceClient } from "@azure/storage-blob";
import type { AzureSettings, S3Settings } from "../src/object/object-store-settings.ts";

/** What object-test.sh started, and containers that a test starts, as settings of a new bucket. */

export interface S3Service {
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

/** The gateway that object-test.sh started; undefined where there is none. */
export function startedS3(environment = process.env): S3Service | undefined {
  const endpoint = environment["AOED_TEST_S3_ENDPOINT"];
  const accessKey = environment["AOED_TEST_S3_ACCESS_KEY"];
  const secretKey = environment["AOED_TEST_S3_SECRET_KEY"];
  if (endpoint === undefined || accessKey === undefined || secretKey === undefined) {
    return undefined;
  }
  return { endpoint, accessKey, secretKey };
}

export function startedAzure(environment = process.env): string | undefined {
  return environment["AOED_TEST_AZURE_CONNECTION_STRING"];
}

export interface PreparedStore<Settings> {
  readonly settings: Settings;
  /** Files with what must never be shown. */
  readonly secrets: readonly string[];
  readonly remove: () => Promise<void>;
}

const newName = (): string => `aoed-test-${randomBytes(6).toString("hex")}`;

export async function newBucket(service: S3Service): Promise<PreparedStore<S3Settings>> {
  const { endpoint, accessKey, secretKey } = service;
  const bucket = newName();
  const client = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
  });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
  const folder = await mkdtemp(join(tmpdir(), "aoed-s3-"));
  const credentialsFile = join(folder, "credentials");
  const lines = [
    "[default]",
    `aws_access_key_id = ${accessKey}`,
    `aws_secret_access_key = ${secretKey}`,
  ];
  await writeFile(credentialsFile, `${lines.join("\n")}\n`, { mode: 0o600 });
  const settings: S3Settings = {
    kind: "s3",
    bucket,
    prefix: "lab/",
    region: undefined,
    endpoint,
    pathStyle: true,
    profile: undefined,
    credentialsFile,
    unsafeSingleWriter: false,
  };
  return { settings, secrets: [secretKey], remove: async () => rm(folder, { recursive: true }) };
}

export async function newContainer(
  connectionString: string,
): Promise<PreparedStore<AzureSettings>> {
  const container = newName();
  await BlobServiceClient.fromConnectionString(connectionString).createContainer(container);
  const folder = await mkdtemp(join(tmpdir(), "aoed-azure-"));
  const connectionStringFile = join(folder, "connection-string");
  await writeFile(connectionStringFile, `${connectionString}\n`, { mode: 0o600 });
  const settings: AzureSettings = {
    kind: "azure",
    account: undefined,
    container,
    prefix: "lab/",
    endpoint: undefined,
    connectionStringFile,
    accountKeyFile: undefined,
    sasTokenFile: undefined,
    unsafeSingleWriter: false,
  };
  const key = /AccountKey=([^;]+)/.exec(connectionString)?.[1] ?? "";
  return { settings, secrets: [key], remove: async () => rm(folder, { recursive: true }) };
}
