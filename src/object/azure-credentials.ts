import { readFileSync } from "node:fs";
import type * as AzureSdk from "@azure/storage-blob";
import type { ContainerClient, StoragePipelineOptions } from "@azure/storage-blob";
import { systemErrorCode, UsageError } from "../errors.ts";
import type { AzureSettings } from "./object-store-settings.ts";

type Sdk = typeof AzureSdk;
type Environment = Readonly<Record<string, string | undefined>>;

/**
 * A client of the container, with the first of: connection string, account key, SAS token, each
 * from its file or, when no file is named at all, from the environment (the names that the az
 * command uses).
 * @throws UsageError, without what a secret holds
 */
export function containerClient(
  sdk: Sdk,
  settings: AzureSettings,
  options: StoragePipelineOptions,
  environment: Environment = process.env,
): ContainerClient {
  const secrets = secretsOf(settings, environment);
  try {
    return clientOf(sdk, settings, { ...secrets, options });
  } catch (error) {
    if (error instanceof UsageError) throw error;
    // The client's own message may quote the secret.
    throw new UsageError(
      `azure container ${settings.container}: the ${secrets.kind} is not one; copy it anew from ` +
        `the storage account (${secrets.source})`,
    );
  }
}

interface Secret {
  readonly kind: "connection string" | "account key" | "SAS token";
  readonly text: string;
  /** Where it came from, for people. */
  readonly source: string;
  readonly account: string | undefined;
}

function secretsOf(settings: AzureSettings, environment: Environment): Secret {
  const account = settings.account ?? nonEmpty(environment["AZURE_STORAGE_ACCOUNT"]);
  const kinds = [
    ["connection string", settings.connectionStringFile, "AZURE_STORAGE_CONNECTION_STRING"],
    ["account key", settings.accountKeyFile, "AZURE_STORAGE_KEY"],
    ["SAS token", settings.sasTokenFile, "AZURE_STORAGE_SAS_TOKEN"],
  ] as const;
  for (const [kind, file] of kinds) {
    if (file !== undefined) return { kind, text: secretIn(file), source: file, account };
  }
  for (const [kind, , variable] of kinds) {
    const text = nonEmpty(environment[variable]);
    if (text !== undefined) return { kind, text, source: variable, account };
  }
  throw new UsageError(
    `azure container ${settings.container}: no credentials; name a file with ` +
      "connection_string_file, account_key_file or sas_token_file, or set " +
      kinds.map(([, , variable]) => variable).join(" or "),
  );
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === "" ? undefined : text.trim();
}

/** @throws UsageError */
function secretIn(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new UsageError(
      `${file}: cannot be read (${systemErrorCode(error)}); check the path and its permissions`,
    );
  }
  if (text !== "" && !/[\r\n]/.test(text)) return text;
  throw new UsageError(`${file}: is not one line with a secret; write it alone into the file`);
}

function clientOf(
  sdk: Sdk,
  settings: AzureSettings,
  { kind, text, account, options }: Secret & { options: StoragePipelineOptions },
): ContainerClient {
  const { container } = settings;
  if (kind === "connection string") {
    return sdk.BlobServiceClient.fromConnectionString(text, options).getContainerClient(container);
  }
  if (account === undefined) {
    throw new UsageError(`azure container ${container}: the account is missing; set account`);
  }
  const service = settings.endpoint ?? `https://${account}.blob.core.windows.net`;
  const url = `${service.replace(/\/+$/, "")}/${container}`;
  if (kind === "SAS token") {
    return new sdk.ContainerClient(`${url}?${text.replace(/^\?/, "")}`, undefined, options);
  }
  return new sdk.ContainerClient(url, new sdk.StorageSharedKeyCredential(account, text), options);
}
