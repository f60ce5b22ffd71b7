import { writeFile } from "node:fs/promises";
import { inspect } from "node:util";
import {
  BlobServiceClient,
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
} from "@azure/storage-blob";
import { describe, expect, test } from "vitest";
import { openAdapter, openObjectStore } from "../src/object/open-object-store.ts";
import { describeObjectStore, listed } from "../src/object/object-store.compliance.ts";
import { newContainer, startedAzure } from "./services.testing.ts";

const connectionString = startedAzure();
const warn = (message: string): void => expect.fail(message);

if (connectionString === undefined) {
  describe.skip("Azure of Azurite: AOED_TEST_AZURE_CONNECTION_STRING is not set", () => {
    test("is not started", () => undefined);
  });
} else {
  const service = BlobServiceClient.fromConnectionString(connectionString);

  describeObjectStore("Azure of Azurite", async () => {
    const { settings, remove } = await newContainer(connectionString);
    return {
      open: async () => openAdapter(settings),
      keepsWriteIds: true,
      manyKeys: 1100,
      close: remove,
    };
  });

  test("opened as a server does, it passes the probe and leaves nothing behind", async () => {
    const { settings, secrets, remove } = await newContainer(connectionString);
    const store = await openObjectStore(settings, { warn });
    expect(await listed(store, "")).toEqual([]);
    expect(store.description).toMatch(/^azure container aoed-test-\w+ under lab\/ at 127.0.0.1:/);
    expect(store.description).not.toContain(secrets[0]);
    await store.close();
    await remove();
  });

  test("with an account key, and with a SAS token that allows what the manual says", async () => {
    const { settings, secrets, remove } = await newContainer(connectionString);
    const account = service.accountName;
    const file = settings.connectionStringFile ?? "";
    const common = { ...settings, account, endpoint: service.url, connectionStringFile: undefined };
    await writeFile(file, secrets[0]);
    const withKey = await openObjectStore({ ...common, accountKeyFile: file }, { warn });
    await withKey.putIfAbsent("kept", new Uint8Array([1]));
    await withKey.close();

    const sas = generateBlobSASQueryParameters(
      {
        containerName: settings.container,
        permissions: ContainerSASPermissions.parse("rcwdl"),
        expiresOn: new Date(Date.now() + 3_600_000),
      },
      new StorageSharedKeyCredential(account, secrets[0]),
    ).toString();
    await writeFile(file, sas);
    const withSas = await openObjectStore({ ...common, sasTokenFile: file }, { warn });
    expect(await listed(withSas, "")).toEqual(["kept"]);
    expect(withSas.description).not.toContain("sig=");
    await withSas.close();
    await remove();
  });

  test("a container that is not there, and a wrong key, are one line without a secret", async () => {
    const { settings, secrets, remove } = await newContainer(connectionString);
    const absent = openObjectStore({ ...settings, container: "aoed-absent" }, { warn });
    await expect(absent).rejects.toThrow(
      /^azure container aoed-absent .* cannot be used: .*ContainerNotFound, HTTP 404\): make the/,
    );
    const wrongKey = Buffer.from(`wrong ${secrets[0]}`).toString("base64");
    const file = settings.connectionStringFile ?? "";
    await writeFile(file, connectionString.replace(secrets[0], wrongKey));
    const error: unknown = await openObjectStore(settings, { warn }).catch(
      (reason: unknown) => reason,
    );
    expect(String(error)).toMatch(/cannot be used: .*HTTP 403/);
    expect(inspect(error, { depth: 9 })).not.toContain(wrongKey);

    await writeFile(file, "no connection string at all");
    const unreadable: unknown = await openObjectStore(settings, { warn }).catch(
      (reason: unknown) => reason,
    );
    expect(String(unreadable)).toMatch(/the connection string is not one; copy it anew/);
    await remove();
  });
}
