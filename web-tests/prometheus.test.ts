import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BlockOperation, BlockStatus } from "../src/storage/block-storage.ts";
import { WatchedServer } from "../src/web/watched-server.testing.ts";

/** The files of docs/monitoring against a real Prometheus that scrapes a real server. */

const MONITORING = join(import.meta.dirname, "../docs/monitoring");

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

interface Rule {
  readonly name: string;
  readonly query: string;
  readonly health: string;
  readonly lastError?: string;
}

const server = new WatchedServer();
const folder = mkdtempSync(join(tmpdir(), "aoed-prometheus-"));
let prometheus: ChildProcess;
let address: string;

async function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const bound = probe.address();
      const port = typeof bound === "object" && bound !== null ? bound.port : 0;
      probe.close(() => resolve(port));
    });
  });
}

async function query<Data>(path: string): Promise<Data> {
  const response = await fetch(`${address}/api/v1/${path}`);
  const answer = (await response.json()) as { status: string; data: Data; error?: string };
  if (answer.status !== "success") throw new Error(`${path}: ${answer.error}`);
  return answer.data;
}

async function instant(expression: string): Promise<readonly unknown[]> {
  const path = `query?query=${encodeURIComponent(expression)}`;
  return (await query<{ result: readonly unknown[] }>(path)).result;
}

async function until(what: string, isDone: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 120_000;
  for (;;) {
    if (await isDone().catch(() => false)) return;
    if (performance.now() > deadline) throw new Error(`${what}: not within two minutes`);
    await delay(200);
  }
}

/** Everything that a panel or a rule may name happens at least once. */
async function exercise(): Promise<void> {
  const volume = await server.initiator.open(1, 0);
  await volume.write(0, new Uint8Array(8192).fill(3));
  await volume.read(0, 16);
  await volume.read(8, 8);
  const bad = await server.initiator.open(1, 2);
  server.faulty?.faults.push({
    operation: BlockOperation.read,
    firstLba: 0,
    lastLba: 0,
    status: BlockStatus.unreadable,
  });
  await bad.read(0, 8).catch(() => undefined);
}

beforeAll(async () => {
  await server.start();
  await exercise();
  const port = await freePort();
  address = `http://127.0.0.1:${port}`;
  // The documented files, but for the server's address and a quick scrape.
  const configuration = readFileSync(join(MONITORING, "prometheus.yml"), "utf8")
    .replace("127.0.0.1:9190", `127.0.0.1:${server.port}`)
    .replace("alerts.yml", join(MONITORING, "alerts.yml"));
  const global = "global: { scrape_interval: 2s, evaluation_interval: 1s }\n";
  writeFileSync(join(folder, "prometheus.yml"), global + configuration);
  prometheus = spawn(
    "prometheus",
    [
      `--config.file=${join(folder, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: "ignore" },
  );
  await until("two scrapes", async () => {
    const counts = await instant("count_over_time(aoe_uptime_seconds[1m]) >= 3");
    return counts.length > 0;
  });
});

afterAll(async () => {
  const ended = new Promise((resolve) => prometheus.once("exit", resolve));
  prometheus.kill();
  await ended;
  await server.remove();
  rmSync(folder, { recursive: true, force: true });
});

test("promtool finds nothing wrong with the metrics, the rules and the configuration", async () => {
  const { text } = await server.ask("/metrics");
  execFileSync("promtool", ["check", "metrics"], { input: text, stdio: "pipe" });
  execFileSync("promtool", ["check", "rules", join(MONITORING, "alerts.yml")], { stdio: "pipe" });
  execFileSync("promtool", ["check", "config", join(MONITORING, "prometheus.yml")], {
    stdio: "pipe",
  });
});

describe("the alert rules", () => {
  test("are evaluated without an error, and the right ones fire", async () => {
    const rules = async (): Promise<Rule[]> => {
      const { groups } = await query<{ groups: { rules: Rule[] }[] }>("rules");
      return groups.flatMap((group) => group.rules);
    };
    await until("evaluation", async () => (await rules()).every(({ health }) => health === "ok"));
    expect((await rules()).length).toBeGreaterThan(10);
    const isActive = async (name: string): Promise<boolean> => {
      const { alerts } = await query<{ alerts: { labels: { alertname: string } }[] }>("alerts");
      return alerts.some(({ labels }) => labels.alertname === name);
    };
    await until("an alert of the bad disk", async () => isActive("AoedUnhealthy"));
    // A scrape that a busy machine made late is forgotten with the next one.
    for (const name of ["AoedDown", "AoedLinkDown"]) {
      await until(`no ${name}`, async () => !(await isActive(name)));
    }
  });

  test("name nothing that is not there", async () => {
    const { groups } = await query<{ groups: { rules: Rule[] }[] }>("rules");
    for (const { name, query: expression } of groups.flatMap((group) => group.rules)) {
      await expectKnown(expression, name);
    }
  });
});

test("each panel of the dashboard names only what is there", async () => {
  const text = readFileSync(join(MONITORING, "grafana-dashboard.json"), "utf8");
  const { panels } = JSON.parse(text) as { panels: readonly Panel[] };
  const expressions = panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({ title, expression: withVariables(expr) })),
  );
  expect(expressions.length).toBeGreaterThan(30);
  for (const { title, expression } of expressions) {
    await instant(expression);
    await expectKnown(expression, title);
  }
});

/** What Grafana puts in place of its variables. */
function withVariables(expression: string): string {
  return expression
    .replaceAll("$__rate_interval", "1m")
    .replaceAll("$instance", ".*")
    .replaceAll("$target", ".*");
}

/** Each metric that is named has series, and each label that is named is on them. */
async function expectKnown(expression: string, where: string): Promise<void> {
  const names = [...new Set(expression.match(/\b(?:aoe|process)_[a-z0-9_]+\b/g))];
  const grouped = [...expression.matchAll(/by \(([^)]*)\)/g)].flatMap((m) => m[1].split(/, */));
  for (const name of names) {
    const series = await query<Record<string, string>[]>(`series?match[]=${name}`);
    expect(series.length, `${where}: ${name}`).toBeGreaterThan(0);
    const selector = new RegExp(`${name}\\{([^}]*)\\}`).exec(expression)?.[1] ?? "";
    const selected = [...selector.matchAll(/([a-z_]+)(=~|=)"([^"]*)"/g)];
    for (const label of [...grouped, ...selected.map((match) => match[1])]) {
      expect(Object.keys(series[0]), `${where}: ${name}`).toContain(label);
    }
    const matching = selected.length === 0 ? name : `${name}{${selector}}`;
    const chosen = await query<unknown[]>(`series?match[]=${encodeURIComponent(matching)}`);
    expect(chosen.length, `${where}: ${matching}`).toBeGreaterThan(0);
  }
}
