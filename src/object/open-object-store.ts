import { UsageError } from "../errors.ts";
import { checkConditionalPuts } from "./conditional-puts.ts";
import { ObjectFault, type ObjectStore } from "./object-store.ts";
import type { ObjectStoreSettings } from "./object-store-settings.ts";
import { type RetryOptions, RetryObjectStore } from "./retry-object-store.ts";

export interface OpenObjectStoreOptions {
  readonly retry?: Partial<RetryOptions>;
  /** The caller will write nothing; its credentials need not allow it. */
  readonly readOnly?: boolean;
  readonly warn: (message: string) => void;
}

/**
 * Opens the store that the settings name, with tries again (RetryObjectStore), and finds out
 * whether it can be used. The client of a service is loaded only here.
 * @throws UsageError when the settings, the credentials or the store are at fault
 * @throws ObjectFault `unavailable` when the store does not answer
 */
export async function openObjectStore(
  settings: ObjectStoreSettings,
  options: OpenObjectStoreOptions,
): Promise<ObjectStore> {
  const store = new RetryObjectStore(await openAdapter(settings), options.retry);
  try {
    await checkAccess(store, settings, options);
    return store;
  } catch (error) {
    await store.close();
    if (!(error instanceof ObjectFault) || error.code === "unavailable") throw error;
    throw new UsageError(`${store.description} cannot be used: ${error.message}`, { cause: error });
  }
}

/** The bare store, without tries again and unchecked. @throws UsageError */
export async function openAdapter(settings: ObjectStoreSettings): Promise<ObjectStore> {
  switch (settings.kind) {
    case "directory": {
      const { DirectoryObjectStore } = await import("./directory-object-store.ts");
      return DirectoryObjectStore.open(settings.path);
    }
    case "s3": {
      const { S3ObjectStore } = await import("./s3-object-store.ts");
      return S3ObjectStore.open(settings);
    }
    case "azure": {
      const { AzureObjectStore } = await import("./azure-object-store.ts");
      return AzureObjectStore.open(settings);
    }
  }
}

async function checkAccess(
  store: ObjectStore,
  settings: ObjectStoreSettings,
  { readOnly = false, warn }: OpenObjectStoreOptions,
): Promise<void> {
  // The first key tells as much as all of them: access, and that the bucket is there.
  for await (const _ of store.list("")) break;
  if (readOnly || settings.kind === "directory") return;
  try {
    await checkConditionalPuts(store);
  } catch (error) {
    if (!(error instanceof ObjectFault) || error.code !== "unsupported") throw error;
    if (!settings.unsafeSingleWriter) {
      throw new ObjectFault(
        "unsupported",
        `${error.message}, so a second writer would destroy the first one's data; ` +
          "use another service, or set unsafe_single_writer = true if there can be no second",
        { cause: error },
      );
    }
    warn(`${error.message}: unsafe_single_writer is set, and nothing keeps a second writer out`);
  }
}
