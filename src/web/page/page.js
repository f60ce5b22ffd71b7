import { chart } from "./chart.js";
import { bytes, count, duration, element, percent, rate, span } from "./format.js";
import { ask, state } from "./server.js";
import { connectDialogs, drawSnapshots, loadSnapshots, volumesServed } from "./snapshots.js";
import {
  initiatorsTable,
  interfacesTable,
  storesTable,
  targetName,
  targetsTable,
} from "./tables.js";

/** The page: asks the server once a second what there is, and draws it. */

const POLL_MS = 1000;
const SLOWEST_POLL_MS = 5000;
const SNAPSHOTS_EVERY = 5;
const KEPT_SAMPLES = 300;

const byId = (id) => document.getElementById(id);

async function poll() {
  const since = state.samples.at(-1)?.sequence ?? 0;
  try {
    let overview = await ask(`v1/overview?since=${since}`);
    if (state.instance !== undefined && state.instance !== overview.instance) {
      state.samples = [];
      overview = await ask("v1/overview?since=0");
    }
    state.instance = overview.instance;
    overview.status.targets.sort((a, b) => a.shelf - b.shelf || a.slot - b.slot);
    state.overview = overview;
    state.samples = [...state.samples, ...overview.samples].slice(-KEPT_SAMPLES);
    if (state.polls++ % SNAPSHOTS_EVERY === 0) await loadSnapshots();
    state.failures = 0;
    state.lastAnswerMs = Date.now();
    draw();
  } catch {
    state.failures++;
    drawGone();
  }
  const waitMs = Math.min(POLL_MS * Math.max(1, state.failures), SLOWEST_POLL_MS);
  setTimeout(poll, waitMs);
}

function drawGone() {
  const banner = byId("gone");
  const seen = state.lastAnswerMs;
  const since = seen === undefined ? "" : ` It last did ${span((Date.now() - seen) / 1000)} ago.`;
  banner.textContent = `The server does not answer.${since} Trying again…`;
  banner.hidden = false;
  byId("content").classList.add("stale");
  pill("bad", "Not connected");
  for (const button of document.querySelectorAll("section button")) button.disabled = true;
}

function pill(kind, text) {
  const health = byId("health");
  if (health.textContent === text) return;
  health.className = `pill ${kind}`;
  health.textContent = text;
}

function draw() {
  const { status, problems, allowsControl } = state.overview;
  byId("gone").hidden = true;
  byId("content").classList.remove("stale");
  document.title = `aoed: ${status.targets.length} targets`;
  byId("about").textContent = `version ${status.version}, up ${span(status.uptimeSeconds)}`;
  const isWell = problems.length === 0;
  pill(
    isWell ? "good" : "warn",
    isWell ? "Healthy" : problems.length === 1 ? "1 problem" : `${problems.length} problems`,
  );
  drawProblems(problems);
  drawChoice(status.targets);
  drawTiles(status);
  drawCharts();
  byId("targets").replaceChildren(targetsTable(status));
  byId("initiators").replaceChildren(...initiatorsTable(status.initiators));
  byId("stores").replaceChildren(storesTable(status.stores));
  byId("interfaces").replaceChildren(interfacesTable(status.ports));
  const hasVolumes = volumesServed().length > 0;
  byId("create").hidden = !allowsControl || !hasVolumes;
  byId("create").disabled = false;
  byId("read-only").hidden = allowsControl || status.stores.length === 0;
  drawSnapshots();
}

function drawProblems(problems) {
  const banner = byId("problems");
  const lines = problems.map(({ subject, problem }) => `${subject}: ${problem}`);
  const text = lines.join("\n");
  if (banner.dataset.text === text) return;
  banner.dataset.text = text;
  banner.hidden = lines.length === 0;
  banner.replaceChildren(element("ul", {}, ...lines.map((line) => element("li", {}, line))));
}

function drawChoice(targets) {
  const select = byId("chart-target");
  const names = targets.map(targetName);
  if (select.dataset.names === names.join()) return;
  select.dataset.names = names.join();
  const chosen = select.value;
  const options = names.map((name) => element("option", { value: name }, name));
  select.replaceChildren(element("option", { value: "" }, "all targets"), ...options);
  if (names.includes(chosen)) select.value = chosen;
}

function drawTiles(status) {
  const sum = (read) => status.targets.reduce((total, target) => total + read(target), 0);
  const busiest = Math.max(...status.eventLoops.map(({ utilization }) => utilization));
  const tiles = [
    [rate(sum((target) => target.rates.readBytes)), "read"],
    [rate(sum((target) => target.rates.writtenBytes)), "written"],
    [count(sum((target) => target.rates.operations)), "requests a second"],
    [String(sum((target) => target.outstanding)), "outstanding"],
    [
      bytes(sum((target) => target.storageStatistics.unsyncedSectors * 512)),
      "answered, not synced",
    ],
    [percent(busiest), "busy"],
  ];
  byId("tiles").replaceChildren(
    ...tiles.map(([value, name]) =>
      element("div", { class: "tile" }, element("b", {}, value), element("span", {}, name)),
    ),
  );
}

/** What the charts show of one sample: of the chosen target, or of all together. */
function pointOf({ atMs, targets }, chosen) {
  const shown = chosen === "" ? Object.values(targets) : [targets[chosen]].filter(Boolean);
  const total = (key) => shown.reduce((sum, sample) => sum + sample[key], 0);
  const worst = (key) => {
    const values = shown.map((sample) => sample[key]).filter((value) => value !== null);
    return values.length === 0 ? null : Math.max(...values);
  };
  return {
    throughput: { atMs, read: total("readBytes"), write: total("writtenBytes") },
    latency: { atMs, read: worst("readP99Us"), write: worst("writeP99Us") },
  };
}

function drawCharts() {
  const chosen = byId("chart-target").value;
  const points = state.samples.map((sample) => pointOf(sample, chosen));
  const nowMs = state.samples.at(-1)?.atMs ?? Date.now();
  const throughput = chart(
    points.map((point) => point.throughput),
    nowMs,
    {
      name: "Throughput",
      format: rate,
      least: 1024,
      binary: true,
      width: byId("throughput").clientWidth,
    },
  );
  const latency = chart(
    points.map((point) => point.latency),
    nowMs,
    {
      name: "Latency",
      format: duration,
      least: 100,
      binary: false,
      width: byId("latency").clientWidth,
    },
  );
  byId("throughput").replaceChildren(throughput, legend());
  byId("latency").replaceChildren(latency, legend());
}

function legend() {
  return element(
    "div",
    { class: "legend" },
    element("span", { class: "read" }, "reads"),
    element("span", { class: "write" }, "writes"),
  );
}

byId("chart-target").addEventListener("change", drawCharts);
window.addEventListener("resize", drawCharts);
connectDialogs();
void poll();
