/**
 * Where an object store is and how it is reached, as the configuration says it. No secret is in
 * it, only the names of files that hold one; what is not named comes from the environment.
 */
export type ObjectStoreSettings = DirectorySettings | S3Settings | AzureSettings;

export interface DirectorySettings {
  readonly kind: "directory";
  /** Absolute. */
  readonly path: string;
}

interface ServiceSettings {
  /** Before every key: "" or text that ends with a slash. */
  readonly prefix: string;
  /** Instead of the service's own: "http://127.0.0.1:9000". */
  readonly endpoint: string | undefined;
  /** Use a store that ignores conditions: nothing keeps a second writer out then. */
  readonly unsafeSingleWriter: boolean;
}

export interface S3Settings extends ServiceSettings {
  readonly kind: "s3";
  readonly bucket: string;
  /** Undefined: as the SDK finds it (AWS_REGION, the profile); "us-east-1" with an endpoint. */
  readonly region: string | undefined;
  /** The bucket in the path and not in the host's name. */
  readonly pathStyle: boolean;
  /** A section of the credentials file. */
  readonly profile: string | undefined;
  /** In the form of ~/.aws/credentials; undefined: the SDK's chain. */
  readonly credentialsFile: string | undefined;
}

export interface AzureSettings extends ServiceSettings {
  readonly kind: "azure";
  /** Undefined: AZURE_STORAGE_ACCOUNT, or what the connection string says. */
  readonly account: string | undefined;
  readonly container: string;
  /** Files with one line each; the first that is there is used, else the environment. */
  readonly connectionStringFile: string | undefined;
  readonly accountKeyFile: string | undefined;
  readonly sasTokenFile: string | undefined;
}
