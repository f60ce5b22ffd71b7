import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ManagementApi, ServerStatus } from "../control/control-api.ts";
import type { HealthProblem } from "../control/health.ts";
import type { SnapshotStatus } from "../control/store-api.ts";
import { BlockOperation, BlockStatus } from "../storage/block-storage.ts";
import type { Sample } from "./history.ts";
import { metricFamilies } from "./metric-families.ts";
import { WatchedServer } from "./watched-server.testing.ts";
import { WebServer } from "./web-server.ts";

interface Overview {
  readonly status: ServerStatus;
  readonly problems: readonly HealthProblem[];
  readonly samples: readonly Sample[];
  readonly allowsControl: boolean;
  readonly token?: string;
}

let server: WatchedServer;

async function overview(): Promise<Overview> {
  return JSON.parse((await server.ask("/v1/overview")).text) as Overview;
}

async function until(isDone: () => Promise<boolean>): Promise<void> {
  while (!(await isDone())) await new Promise((resolve) => setTimeout(resolve, 50));
}

describe("a server with a page that may change snapshots", () => {
  beforeAll(async () => {
    server = new WatchedServer();
    await server.start({ allowsControl: true });
    const disk = await server.initiator.open(1, 1);
    await disk.write(0, new Uint8Array(8192).fill(7));
    await disk.read(0, 16);
    await disk.read(0, 16);
    const bad = await server.initiator.open(1, 2);
    server.faulty?.faults.push({
      operation: BlockOperation.read,
      firstLba: 8,
      lastLba: 8,
      status: BlockStatus.unreadable,
    });
    await expect(bad.read(0, 16)).rejects.toThrow();
  });
  afterAll(async () => {
    await server.remove();
  });

  test("counts what was asked, by target and command, with how long it took", async () => {
    const { text, status, headers } = await server.ask("/metrics");
    expect(status).toBe(200);
    expect(headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
    const lines = text.split("\n");
    expect(lines).toContain('aoe_commands_total{target="e1.1",command="read"} 2');
    expect(lines).toContain('aoe_commands_total{target="e1.1",command="write"} 1');
    expect(lines).toContain('aoe_read_bytes_total{target="e1.1"} 16384');
    expect(lines).toContain('aoe_errors_total{target="e1.2",reason="uncorrectable"} 1');
    expect(lines).toContain('aoe_request_duration_seconds_count{target="e1.1",command="read"} 2');
    expect(lines).toContain(
      'aoe_request_duration_seconds_bucket{target="e1.1",command="read",le="+Inf"} 2',
    );
    expect(lines).toContain('aoe_initiator_read_bytes_total{initiator="02:00:00:00:00:02"} 16384');
    expect(lines).toContain("# TYPE aoe_request_duration_seconds histogram");
  });

  test("every family has a help, a type, and no name twice", async () => {
    const { text } = await server.ask("/metrics");
    const named = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => match[1]);
    expect(named.length).toBeGreaterThan(40);
    expect(new Set(named).size).toBe(named.length);
    for (const [, name, help] of text.matchAll(/^# HELP (\S+) (.*)$/gm)) {
      expect(help, name).not.toBe("");
    }
    const counters = [...text.matchAll(/^# TYPE (\S+) counter$/gm)].map((match) => match[1]);
    expect(counters.filter((name) => !name.endsWith("_total"))).toEqual([]);
  });

  test("speaks OpenMetrics to whoever asks for it", async () => {
    const accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    const { headers, text } = await server.ask("/metrics", { accept });
    expect(headers["content-type"]).toContain("application/openmetrics-text");
    expect(text.endsWith("# EOF\n")).toBe(true);
    expect(text).toContain("# TYPE aoe_commands counter\n");
    expect(text).toContain('\naoe_commands_total{target="e1.1",command="read"} 2\n');
  });

  test("says what is wrong", async () => {
    const { status, text } = await server.ask("/healthz");
    expect(status).toBe(503);
    const answer = JSON.parse(text) as { status: string; problems: HealthProblem[] };
    expect(answer.status).toBe("degraded");
    expect(answer.problems).toMatchObject([{ subject: "e1.2" }]);
    expect(answer.problems[0].problem).toContain("the disk failed a request");
    expect((await server.ask("/readyz")).status).toBe(200);
  });

  test("keeps samples of the last minutes for the charts", async () => {
    await until(async () => (await overview()).samples.length > 0);
    const disk = await server.initiator.open(1, 1);
    await until(async () => {
      await disk.read(0, 16);
      const { samples } = await overview();
      return samples.some(({ targets }) => (targets["e1.1"].readP99Us ?? 0) > 0);
    });
    const last = (await overview()).samples.at(-1)?.sequence ?? 0;
    const later = await server.ask(`/v1/overview?since=${last}`);
    const { samples } = JSON.parse(later.text) as Overview;
    expect(samples.every(({ sequence }) => sequence > last)).toBe(true);
  });

  test("serves nothing of the disk but its own files, under a strict policy", async () => {
    const page = await server.ask("/");
    expect(page.headers["content-security-policy"]).toContain("default-src 'none'");
    expect(page.text).toContain("<h1>aoed</h1>");
    for (const path of ["/page.js", "/chart.js", "/format.js", "/page.css", "/icon.svg"]) {
      expect((await server.ask(path)).status, path).toBe(200);
    }
    for (const path of ["/../web-server.ts", "/%2e%2e/web-server.ts", "/index.html", "/v1/jobs"]) {
      expect((await server.ask(path)).status, path).toBe(404);
    }
  });

  describe("changes", () => {
    const body = '{"volume":"e1.0","description":"by a test"}';
    const snapshots = async (): Promise<SnapshotStatus[]> =>
      JSON.parse((await server.ask("/v1/snapshots")).text) as SnapshotStatus[];
    const ownHeaders = async (): Promise<Record<string, string>> => ({
      host: `127.0.0.1:${server.port}`,
      origin: `http://127.0.0.1:${server.port}`,
      "content-type": "application/json",
      "x-aoed-token": (await overview()).token ?? "",
    });
    const post = async (change: Record<string, string | undefined>): Promise<number> => {
      const headers = Object.fromEntries(
        Object.entries({ ...(await ownHeaders()), ...change }).filter(
          (entry): entry is [string, string] => entry[1] !== undefined,
        ),
      );
      return (await server.ask("/v1/snapshots", headers, "POST", body)).status;
    };

    test("are made for the own page", async () => {
      expect(await post({})).toBe(200);
      const [taken] = await snapshots();
      expect(taken).toMatchObject({ volume: "e1.0", description: "by a test" });
      const headers = await ownHeaders();
      const clone = await server.ask(
        `/v1/snapshots/${taken.id}/clone`,
        headers,
        "POST",
        '{"volume":"copy"}',
      );
      expect(JSON.parse(clone.text)).toMatchObject({ name: "copy", origin: taken.id });
      const rollback = `/v1/snapshots/${taken.id}/rollback`;
      const back = await server.ask(rollback, headers, "POST", '{"volume":"e1.0"}');
      expect(back.status).toBe(200);
      expect(await snapshots()).toHaveLength(2);
    });

    test("are refused to every other page, and nothing changes", async () => {
      const before = await snapshots();
      const refused: [number, Record<string, string | undefined>][] = [
        [403, { origin: "http://attacker.example" }],
        [403, { origin: undefined }],
        [403, { origin: "null" }],
        [403, { "x-aoed-token": undefined }],
        [403, { "x-aoed-token": "guess" }],
        [403, { "x-aoed-token": "x".repeat(43) }],
        [415, { "content-type": "text/plain" }],
        [421, { host: "attacker.example", origin: "http://attacker.example" }],
      ];
      for (const [status, headers] of refused) {
        expect(await post(headers), JSON.stringify(headers)).toBe(status);
      }
      expect(await snapshots()).toEqual(before);
    });

    test("are no more than the page needs", async () => {
      const headers = await ownHeaders();
      for (const [method, path] of [
        ["DELETE", "/v1/snapshots/1"],
        ["DELETE", "/v1/volumes/e1.0"],
        ["DELETE", "/v1/targets/1.0"],
        ["POST", "/v1/volumes"],
        ["POST", "/v1/jobs/gc"],
      ]) {
        const sent = method === "POST" ? "{}" : undefined;
        expect((await server.ask(path, headers, method, sent)).status, path).toBe(404);
      }
    });

    test("that are wrong are answered with one line", async () => {
      const answer = await server.ask(
        "/v1/snapshots",
        await ownHeaders(),
        "POST",
        '{"volume":"nothing"}',
      );
      expect(answer.status).toBe(400);
      expect(JSON.parse(answer.text)).toMatchObject({ error: expect.stringContaining("nothing") });
    });
  });

  test("a name that was made to mean this machine is told nothing", async () => {
    for (const path of ["/", "/v1/overview", "/metrics"]) {
      const answer = await server.ask(path, { host: `rebound.example:${server.port}` });
      expect(answer.status, path).toBe(421);
    }
    for (const host of ["localhost", `localhost:${server.port}`, `[::1]:${server.port}`]) {
      expect((await server.ask("/v1/overview", { host })).status, host).toBe(200);
    }
  });
});

test("a page that only shows has no token and changes nothing", async () => {
  const shown = new WatchedServer();
  try {
    await shown.start();
    const { text } = await shown.ask("/v1/overview");
    expect(JSON.parse(text)).toMatchObject({ allowsControl: false });
    expect(text).not.toContain('"token"');
    const headers = {
      host: `127.0.0.1:${shown.port}`,
      origin: `http://127.0.0.1:${shown.port}`,
      "content-type": "application/json",
    };
    const answer = await shown.ask("/v1/snapshots", headers, "POST", '{"volume":"e1.0"}');
    expect(answer.status).toBe(403);
    expect((await shown.ask("/v1/snapshots")).text).toBe("[]\n");
    // There was no fault, so all is well.
    expect(await shown.ask("/healthz")).toMatchObject({ status: 200 });
  } finally {
    await shown.remove();
  }
});

test("a client that does not read what it asked for is not kept", async () => {
  const web = await WebServer.listen({} as ManagementApi, {
    addresses: [{ host: "127.0.0.1", port: 0 }],
    allowsControl: false,
    silenceTimeoutMs: 200,
  });
  const client = connect(web.ports[0], "127.0.0.1");
  let isGone = false;
  client.on("error", () => (isGone = true));
  client.on("close", () => (isGone = true));
  client.pause();
  try {
    // More answers than the buffers between the two hold.
    client.write("GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(40_000));
    await until(async () => {
      // Whoever writes to a connection that is gone is told, even without reading.
      client.write("GET / HTTP/1.1\r\n");
      return Promise.resolve(isGone);
    });
  } finally {
    client.destroy();
    await web.close();
  }
}, 240_000);

test("metrics have series of the busiest initiators only", async () => {
  const watched = new WatchedServer();
  try {
    await watched.start();
    const { status } = JSON.parse((await watched.ask("/v1/overview")).text) as Overview;
    const initiators = Array.from({ length: 1000 }, (_, index) => ({
      mac: `02:00:00:00:${Math.floor(index / 256)}:${index % 256}`,
      firstSeen: new Date(0).toISOString(),
      lastSeen: new Date(0).toISOString(),
      rates: status.targets[0].rates,
      outstanding: 0,
      answered: index === 500 ? 2 : 1,
      errors: 0,
      readBytes: 0,
      writtenBytes: 0,
      retransmissions: 0,
    }));
    const families = metricFamilies({ ...status, initiators });
    const valuesOf = (name: string) => families.find((family) => family.name === name)?.values;
    const requests = valuesOf("aoe_initiator_requests_total");
    expect(requests).toHaveLength(64);
    expect(requests?.[0]).toEqual({ labels: { initiator: initiators[500].mac }, value: 2 });
    expect(valuesOf("aoe_initiator_last_seen_timestamp_seconds")).toHaveLength(64);
    expect(valuesOf("aoe_initiators")).toEqual([{ labels: {}, value: 1000 }]);
  } finally {
    await watched.remove();
  }
});

test("takes the socket of a dead server, and not that of one that answers", async () => {
  const folder = mkdtempSync(join(tmpdir(), "aoed-web-"));
  const socketPath = join(folder, "metrics.sock");
  const options = { addresses: [{ socketPath }], allowsControl: false };
  // Nobody asks it for anything.
  const api = {} as ManagementApi;
  try {
    execFileSync(process.execPath, [
      "-e",
      `require("net").createServer().listen(${JSON.stringify(socketPath)}, () => process.kill(process.pid, "SIGKILL"))`,
    ]);
  } catch {
    // It was killed.
  }
  expect(statSync(socketPath).isSocket()).toBe(true);
  const web = await WebServer.listen(api, options);
  await expect(WebServer.listen(api, options)).rejects.toThrow(/another server answers here/);
  await web.close();
  rmSync(folder, { recursive: true });
});

test("docs/monitoring.md lists each metric", () => {
  const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");
  const names = read("metric-families.ts").match(/(?<=")(?:aoe|process)_[a-z0-9_]+(?=")/g) ?? [];
  const documented = read("../../docs/monitoring.md");
  expect(names.length).toBeGreaterThan(50);
  expect(names.filter((name) => !documented.includes(`\`${name}\``))).toEqual([]);
});
