import { openFileStore } from "../blob/open-file-store.ts";
import { CasStore, type CasStoreOptions } from "./cas-store.ts";

/** The store in a folder, for this process alone. Made when it is not there. @throws UsageError */
export function openCasStore(
  folder: string,
  options: Omit<CasStoreOptions, "open"> = {},
): Promise<CasStore> {
  return CasStore.open({ ...options, open: (reader) => openFileStore(folder, reader) });
}
