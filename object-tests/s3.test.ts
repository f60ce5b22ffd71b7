import { describe, expect, test } from "vitest";
import { openAdapter, openObjectStore } from "../src/object/open-object-store.ts";
import { describeObjectStore, listed } from "../src/object/object-store.compliance.ts";
import { newBucket, startedS3 } from "./services.testing.ts";

const service = startedS3();
if (service === undefined) {
  describe.skip("S3 of a Ceph object gateway: AOED_TEST_S3_ENDPOINT is not set", () => {
    test("is not started", () => undefined);
  });
} else {
  describeObjectStore("S3 of a Ceph object gateway", async () => {
    const { settings, remove } = await newBucket(service);
    return {
      open: async () => openAdapter(settings),
      keepsWriteIds: true,
      manyKeys: 1100,
      close: remove,
    };
  });

  test("opened as a server does, it passes the probe and leaves nothing behind", async () => {
    const { settings, remove } = await newBucket(service);
    const store = await openObjectStore(settings, { warn: (message) => expect.fail(message) });
    expect(await listed(store, "")).toEqual([]);
    expect(store.description).toBe(
      `s3 bucket ${settings.bucket} under lab/ at ${settings.endpoint}`,
    );
    await store.close();
    await remove();
  });

  test("a bucket that is not there, and a wrong key, are one line without a secret", async () => {
    const { settings, secrets, remove } = await newBucket(service);
    const warn = (): void => undefined;
    const absent = openObjectStore({ ...settings, bucket: "aoed-absent" }, { warn });
    await expect(absent).rejects.toThrow(
      /^s3 bucket aoed-absent .* cannot be used: .*NoSuchBucket, HTTP 404\): make the bucket/,
    );
    const wrong = await newBucket(service);
    const { writeFile } = await import("node:fs/promises");
    const file = wrong.settings.credentialsFile ?? "";
    await writeFile(
      file,
      `[default]\naws_access_key_id = ${service.accessKey}\naws_secret_access_key = wrong/${secrets[0]}\n`,
    );
    const denied = openObjectStore(wrong.settings, { warn });
    const error: unknown = await denied.catch((reason: unknown) => reason);
    expect(String(error)).toMatch(/cannot be used: .*SignatureDoesNotMatch, HTTP 403/);
    const { inspect } = await import("node:util");
    expect(inspect(error, { depth: 9 })).not.toContain(secrets[0]);
    await Promise.all([remove(), wrong.remove()]);
  });
}
