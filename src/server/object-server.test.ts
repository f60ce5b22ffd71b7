import { existsSync, writeFileSync } from "node:fs";
import { inspect } from "node:util";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { UsageError } from "../errors.ts";
import { healthProblems } from "../control/health.ts";
import { S3Server } from "../object/s3-server.testing.ts";
import { metricFamilies } from "../web/metric-families.ts";
import { CasServer, casTarget } from "./cas-server.testing.ts";

/** A whole server on a strict S3 in this process: what it says of it, and what it never says. */

const SECRET = "planted/Secret+0123456789abcdefghijklmnop";

let server: CasServer;
let s3: S3Server;

beforeEach(async () => {
  server = new CasServer();
  s3 = await S3Server.start();
  const lines = ["[default]", "aws_access_key_id = test", `aws_secret_access_key = ${SECRET}`];
  writeFileSync(server.path("credentials"), lines.join("\n"));
});

afterEach(async () => {
  s3.mishap = () => undefined;
  await server.remove();
  await s3.close();
});

function target(): string {
  const keys = ['blob_store = "s3"', 'upload_interval = "100ms"', 'lease = "10s"'];
  const table = [
    "[target.cas.s3]",
    'bucket = "disks"',
    'prefix = "lab"',
    `endpoint = "${s3.endpoint}"`,
    'credentials_file = "credentials"',
  ];
  return casTarget(0, "front", 'size = "1MiB"', [...keys, ...table].join("\n"));
}

function remote() {
  const { stores } = server.running.core.statusNow();
  if (stores[0]?.remote == null) throw new Error("there is no object store");
  return stores[0].remote;
}

test("says what the object store costs and when it fails, without a secret", async () => {
  await server.start(target());
  await vi.waitFor(() => expect(remote().dirtyBytes).toBe(0), 60_000);
  expect(remote().puts).toBeGreaterThan(3);
  expect(healthProblems(server.running.core.statusNow())).toEqual([]);

  s3.mishap = ({ method }) =>
    method === "PUT" ? { status: 403, code: "AccessDenied" } : undefined;
  await (
    await server.running.api.store({})
  ).createVolume({ name: "another", sizeBytes: 1024 * 1024 });
  await vi.waitFor(() => expect(remote().trouble).toMatch(/AccessDenied/), 60_000);
  const status = server.running.core.statusNow();
  expect(healthProblems(status)).toMatchObject([
    { problem: expect.stringMatching(/^its object store fails, and \d+ bytes wait for it: .*403/) },
  ]);
  const metrics = metricFamilies(status);
  const valueOf = (name: string) => metrics.find((family) => family.name === name)?.values[0].value;
  expect(valueOf("aoe_object_store_up")).toBe(0);
  expect(valueOf("aoe_object_store_unsent_bytes")).toBeGreaterThan(0);
  expect(valueOf("aoe_object_store_requests_total")).toBeGreaterThan(3);

  s3.mishap = () => undefined;
  await vi.waitFor(() => {
    expect(remote()).toMatchObject({ trouble: null, dirtyBytes: 0 });
  }, 60_000);
  const said = [...server.logged, JSON.stringify(status), JSON.stringify(metrics)].join("\n");
  expect(said).toContain("s3 bucket disks under lab/");
  expect(said).not.toContain(SECRET);
}, 240_000);

test("a key that is refused ends the start with one line, without it", async () => {
  s3.mishap = () => ({ status: 403, code: "SignatureDoesNotMatch" });
  const error: unknown = await server.start(target()).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UsageError);
  expect(String(error)).toMatch(
    /target e1.0: s3 bucket disks .* \(SignatureDoesNotMatch, HTTP 403\)/,
  );
  expect(inspect(error, { depth: 9 })).not.toContain(SECRET);
  expect(server.logged.join("")).not.toContain(SECRET);
  expect(existsSync(server.path("front/superblock"))).toBe(false);
}, 60_000);
