import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openStoreAt, type StorePlace } from "./store-place.ts";

let folder: string;
let place: StorePlace;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aoed-place-"));
  const settings = { kind: "directory" as const, path: join(folder, "bucket") };
  place = { path: join(folder, "front"), remote: { settings, front: {}, readOnly: false } };
});
afterEach(() => rmSync(folder, { recursive: true }));

test("a store whose place cannot be noted down is served, with a warning", async () => {
  mkdirSync(join(place.path, "object-store.json.new"), { recursive: true });
  const warnings: string[] = [];
  const store = await openStoreAt(place, (_, message) => void warnings.push(message));
  expect(warnings.join()).toContain("cannot find the object store by this folder");
  await store.close();
});

test("a folder that cannot be used takes no lock and no lease", async () => {
  writeFileSync(place.path, "a file");
  const open = (): Promise<unknown> => openStoreAt(place, () => {});
  await expect(open()).rejects.toThrow(/cannot be created .* choose another path/);
  rmSync(place.path);
  const store = await openStoreAt(place, () => {});
  expect(store.store.remote?.epoch).toBe(1);
  await store.close();
});
