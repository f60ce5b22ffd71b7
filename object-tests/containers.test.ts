import { randomBytes } from "node:crypto";
import { describe, test } from "vitest";
import { openAdapter } from "../src/object/open-object-store.ts";
import { describeObjectStore } from "../src/object/object-store.compliance.ts";
import { newBucket, newContainer } from "./services.testing.ts";

/** What is used of testcontainers, which only `make object-test` installs. */
interface Testcontainers {
  GenericContainer: new (image: string) => ContainerBuilder;
  Wait: { forHttp(path: string, port: number): unknown; forListeningPorts(): unknown };
  /** Rejects where no containers can be run. */
  getContainerRuntimeClient(): Promise<unknown>;
}

interface ContainerBuilder {
  withCommand(command: string[]): ContainerBuilder;
  withEnvironment(environment: Record<string, string>): ContainerBuilder;
  withExposedPorts(port: number): ContainerBuilder;
  withWaitStrategy(strategy: unknown): ContainerBuilder;
  start(): Promise<{
    getHost(): string;
    getMappedPort(port: number): number;
    stop(): Promise<unknown>;
  }>;
}

const MINIO = "minio/minio:RELEASE.2025-04-22T22-12-26Z";
const AZURITE = "mcr.microsoft.com/azure-storage/azurite:3.35.0";

const packageName = "testcontainers";
const { module, reason } = await import(packageName)
  .then(
    async (loaded: Testcontainers) => {
      await loaded.getContainerRuntimeClient();
      return { module: loaded, reason: "" };
    },
    (error: unknown) => ({ module: undefined, reason: String(error) }),
  )
  .catch((error: unknown) => ({ module: undefined, reason: String(error) }));

if (module === undefined) {
  console.log(`SKIPPED: stores in containers: ${reason}`);
  describe.skip(`stores in containers: no container runtime (${reason})`, () => {
    test("are not started", () => undefined);
  });
} else {
  const { GenericContainer, Wait } = module;

  describeObjectStore("S3 of MinIO in a container", async () => {
    const [accessKey, secretKey] = ["aoedtest", randomBytes(16).toString("hex")];
    const container = await new GenericContainer(MINIO)
      .withCommand(["server", "/data"])
      .withEnvironment({ MINIO_ROOT_USER: accessKey, MINIO_ROOT_PASSWORD: secretKey })
      .withExposedPorts(9000)
      .withWaitStrategy(Wait.forHttp("/minio/health/ready", 9000))
      .start();
    const endpoint = `http://${container.getHost()}:${container.getMappedPort(9000)}`;
    const { settings, remove } = await newBucket({ endpoint, accessKey, secretKey });
    return {
      open: async () => openAdapter(settings),
      keepsWriteIds: true,
      manyKeys: 1100,
      close: async () => {
        await container.stop();
        await remove();
      },
    };
  });

  describeObjectStore("Azure of Azurite in a container", async () => {
    const key = randomBytes(64).toString("base64");
    const container = await new GenericContainer(AZURITE)
      .withCommand(["azurite-blob", "--blobHost", "0.0.0.0", "--skipApiVersionCheck"])
      .withEnvironment({ AZURITE_ACCOUNTS: `aoedtest:${key}` })
      .withExposedPorts(10000)
      .withWaitStrategy(Wait.forListeningPorts())
      .start();
    const endpoint = `http://${container.getHost()}:${container.getMappedPort(10000)}/aoedtest`;
    const { settings, remove } = await newContainer(
      `DefaultEndpointsProtocol=http;AccountName=aoedtest;AccountKey=${key};BlobEndpoint=${endpoint};`,
    );
    return {
      open: async () => openAdapter(settings),
      keepsWriteIds: true,
      manyKeys: 1100,
      close: async () => {
        await container.stop();
        await remove();
      },
    };
  });
}
